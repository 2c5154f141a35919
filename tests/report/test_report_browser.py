"""The report as people see it, in a real browser: pictures load, nothing complains, slider, order and enlarged view work."""

import numpy as np
import pytest
from browser import chromium
from test_report import CLASSES, make_diagnosis, make_scores
from wsss.engine.atomic import write_text
from wsss.report import layers, pages

WIDTHS = {"desktop": 1280, "phone": 390}
IDS = ("first #1", "zweites ü", "third")


def write_counts(path, ious):
    """A per_image.csv whose images have these IoU (percent) as pseudo-mask, and the same as segmentation."""
    rows = [f"{figure},{i},0,{iou},{100 - iou},0" for figure in ("pseudo_mask", "segmentation") for i, iou in ious.items()]
    write_text(path, "\n".join(["figure,image,label,tp,fp,fn", *rows]) + "\n")


def make_site(folder):
    """Two methods and three images; `zweites ü` is the worst, `first #1` the best of cam, the other way round for amn."""
    rng = np.random.default_rng(0)
    entries = [make_scores(folder, name, seed) for seed, name in enumerate(("cam", "amn"))]
    for entry, ious in zip(entries, ((90, 10, 50), (5, 95, 80)), strict=True):
        entry["per_image"] = folder / f"{entry['name']}.per_image.csv"
        write_counts(entry["per_image"], dict(zip(IDS, ious, strict=True)))
        entry["diagnosis"] = make_diagnosis(folder, entry["name"])
        entry["panels"] = {}
        for number, item_id in enumerate(IDS):
            path = folder / f"{entry['name']}{number}.npz"
            label = rng.choice(np.array([0, 1, 2, 255], np.uint8), (40, 60))
            columns = {"ground_truth": label, "cam": rng.random((2, 40, 60)), "seed": label, "pseudo_mask": label}
            layers.write_layers(path, rng.integers(0, 255, (40, 60, 3)).astype(np.uint8), columns)
            entry["panels"][item_id] = path
        (folder / "stage").mkdir(exist_ok=True)
        write_text(folder / "stage.tsv", "s\tmax_rss\tcpu_time\n1.5\t200\t1.2\n")
        entry["chain"] = [{"stage": "cam", "method": entry["name"], "folder": str(folder / "stage"), "log": str(folder / "stage.tsv")}]
    pages.build({"dataset": "photos & co", "classes": CLASSES, "methods": entries}, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def opened(browser, path, width=WIDTHS["desktop"], scheme="light"):
    """A page at a width; what it complains of goes into its list `complaints`."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: page.complaints.append(request.url))
    page.goto(path.as_uri())
    return page


def load_pictures(page):
    """Bring every picture into view; returns how many have loaded, and the sources of those that have not."""
    return page.evaluate("""async () => {
        document.querySelectorAll("details").forEach((one) => { one.open = true; });
        const pictures = [...document.images];
        for (const one of pictures) { one.loading = "eager"; one.scrollIntoView(); }
        await Promise.all(pictures.map((one) => one.decode().catch(() => null)));
        const failed = pictures.filter((one) => !one.complete || one.naturalWidth === 0);
        return [pictures.length - failed.length, failed.map((one) => one.src)];
    }""")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_every_picture_loads_nothing_complains_and_the_page_fits(browser, site, width, scheme):
    for path in sorted(site.glob("*.html")):
        page = opened(browser, path, width, scheme)
        loaded, failed = load_pictures(page)
        assert loaded > 2 and failed == [] and page.complaints == [], path.name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.evaluate("[...document.images].filter((one) => !one.alt).length") == 0, path.name
        page.close()


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)`, as WCAG has it."""
    parts = [int(v) / 255 for v in colour[4:-1].split(",")]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, site, scheme):
    page = opened(browser, site / "index.html", scheme=scheme)
    ground = luminance(page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("section p", ".soft", "section a", "thead th", "summary"):
        text = luminance(page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).color"))
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5, selector  # WCAG 2, AA
    page.close()


def test_the_slider_lays_the_layer_over_the_photo(browser, site):
    page = opened(browser, site / "side-by-side.html")
    opacity = "getComputedStyle(document.querySelector('.stack .layer')).opacity"
    assert float(page.evaluate(opacity)) == pytest.approx(0.7)
    page.locator("main .overlay").first.focus()
    page.keyboard.press("Home")
    assert float(page.evaluate(opacity)) == 0
    page.keyboard.press("End")
    assert float(page.evaluate(opacity)) == 1
    page.close()


def test_images_go_into_the_order_of_their_iou(browser, site):
    page = opened(browser, site / "side-by-side.html")
    first, second, third = IDS

    def order(how, method):
        page.select_option(".order", how)
        page.select_option(".by", method)
        return page.locator("article h3").all_text_contents()

    assert order("worst", "cam") == [second, third, first]
    assert order("best", "cam") == [first, third, second]
    assert order("best", "amn") == [second, third, first]
    assert order("worst", "") == [first, second, third]  # means 47.5, 52.5, 65
    assert order("", "cam") == [first, second, third]
    page.close()


def test_worst_and_best_are_of_all_scored_images_and_said_to_be_so(browser, site):
    page = opened(browser, site / "side-by-side.html")
    assert "sorts these images" in page.locator("#images").text_content()
    worst, best = page.locator("#extremes tbody tr", has_text="amn").locator("td").nth(1), page.locator("#extremes tbody tr", has_text="amn").locator("td").nth(2)
    assert worst.inner_text().splitlines()[0] == f"{IDS[0]}: 5.0 (segmentation)"
    assert best.inner_text().splitlines()[0] == f"{IDS[1]}: 95.0 (segmentation)"
    page.close()


def test_a_picture_is_enlarged_by_click_and_by_key_and_closes_again(browser, site):
    page = opened(browser, site / "side-by-side.html", WIDTHS["phone"])
    page.locator("a.tile").nth(2).click()
    caption = page.locator("#large .caption")
    assert page.locator("#large").is_visible() and caption.text_content() == "CAM of cam, first #1"
    large, small = page.locator("#large .photo").bounding_box(), page.locator("a.tile").nth(2).bounding_box()
    assert large["width"] > 2 * small["width"] and large["width"] <= WIDTHS["phone"] and large["height"] <= 900
    page.keyboard.press("ArrowRight")
    assert caption.text_content() == "seed of cam, first #1"
    page.keyboard.press("ArrowLeft")
    page.locator("#large .before").click()
    assert caption.text_content() == "ground truth, first #1"
    page.keyboard.press("Escape")
    assert not page.locator("#large").is_visible()
    page.locator("a.tile").nth(3).focus()
    page.keyboard.press("Enter")
    assert caption.text_content() == "seed of cam, first #1" and page.complaints == []
    page.close()


def test_where_figures_come_from_is_folded_and_opens_by_key(browser, site):
    page = opened(browser, site / "index.html")
    note = page.locator(".notes li").first
    assert not note.is_visible()
    page.locator("summary", has_text="Where each figure comes from").focus()
    page.keyboard.press("Enter")
    assert note.is_visible()
    page.close()


def test_without_scripts_the_pictures_are_links(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "side-by-side.html").as_uri())
    assert not page.locator(".controls").first.is_visible()
    page.locator("a.tile").nth(3).click()
    assert page.url.endswith(".seed.png")
    context.close()
