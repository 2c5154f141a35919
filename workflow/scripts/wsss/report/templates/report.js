// The pictures: how strong the overlay is, in which order images stand, and one of them enlarged.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function setOverlay(value) {
  document.documentElement.style.setProperty("--overlay", value / 100);
  for (const slider of all("input.overlay")) slider.value = value;
}

function sortImages(controls) {
  const order = controls.querySelector(".order").value;
  const method = controls.querySelector(".by").value;
  const gallery = controls.nextElementSibling;
  const iou = (article) => {
    const known = JSON.parse(article.dataset.ious);
    const values = method ? [known[method]] : Object.values(known);
    const there = values.filter((value) => typeof value === "number");
    return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
  };
  const listed = (a, b) => a.dataset.place - b.dataset.place;
  const ranked = (a, b) => {
    const [x, y] = [iou(a), iou(b)];
    if (x === null || y === null) return (x === null) - (y === null) || listed(a, b);
    return (order === "worst" ? x - y : y - x) || listed(a, b);
  };
  gallery.append(...[...gallery.children].sort(order ? ranked : listed));
}

function enlarge(tile) {
  const dialog = document.getElementById("large");
  const pictures = all("img", tile).map((picture) => picture.cloneNode());
  pictures.forEach((picture) => { picture.loading = "eager"; });
  const stack = dialog.querySelector(".stack");
  stack.style.maxWidth = `calc(66vh * ${pictures[0].getAttribute("width") / pictures[0].getAttribute("height")})`;
  stack.replaceChildren(...pictures);
  dialog.querySelector(".caption").textContent = tile.dataset.caption;
  dialog.tile = tile;
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const tiles = all("a.tile");
  const place = tiles.indexOf(document.getElementById("large").tile) + by;
  enlarge(tiles[(place + tiles.length) % tiles.length]);
}

function start() {
  for (const slider of all("input.overlay")) slider.addEventListener("input", () => setOverlay(slider.value));
  for (const controls of all(".controls")) {
    controls.hidden = false;
    for (const choice of all("select", controls)) choice.addEventListener("change", () => sortImages(controls));
  }
  for (const gallery of all(".gallery")) [...gallery.children].forEach((article, place) => { article.dataset.place = place; });
  for (const tile of all("a.tile")) {
    tile.addEventListener("click", (event) => { event.preventDefault(); enlarge(tile); });
  }
  const dialog = document.getElementById("large");
  if (!dialog) return;
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.querySelector(".before").addEventListener("click", () => step(-1));
  dialog.querySelector(".next").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input") || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    step(event.key === "ArrowLeft" ? -1 : 1);
  });
  dialog.addEventListener("close", () => dialog.tile.focus());
  setOverlay(70);
}

start();
