"""One image, stage by stage, side by side: the picture one looks at to judge a method."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss.data.text import shown
from wsss.engine.atomic import write_bytes
from wsss.errors import UserError
from wsss.io.masks import VOC_PALETTE

TILE_HEIGHT, GAP, BAR = 190, 8, 24
INK, PAPER, UNSURE = (31, 41, 55), (255, 255, 255), (214, 209, 190)
COLUMNS = {
    "ground_truth": "ground truth",
    "cam": "CAM",
    "seed": "seed",
    "refined_seed": "refined seed",
    "ir_label": "IR label",
    "pseudo_mask": "pseudo-mask",
    "prediction": "prediction",
}


def write_panel(path, image: np.ndarray, columns: dict, classes, title: str = "") -> None:
    """Write one panel as PNG.

    image: (H, W, 3) uint8; columns: any of COLUMNS (their order is kept, absent or None ones are left out):
    "cam" is (K, H, W) or (H, W) float in [0, 1] and is shown as the maximum over its classes, the others are
    (H, W) uint8 labels, 255 = unsure; classes: foreground names for the legend. Raises UserError for an
    unknown column or one of another size.
    """
    there = {name: np.asarray(columns[name]) for name in COLUMNS if columns.get(name) is not None}
    _check(path, image, {**{k: None for k in columns}, **there})
    tiles = [("image", image)] + [
        (title_of, _heat(image, there[name]) if name == "cam" else overlay(image, there[name]))
        for name, title_of in COLUMNS.items()
        if name in there
    ]
    labels = np.unique(np.concatenate([[0], *(v.ravel() for k, v in there.items() if k != "cam")]))
    canvas = _with_legend(tiles_in_a_row(tiles), labels, classes, shown(title))
    data = io.BytesIO()
    canvas.save(data, "PNG", optimize=True)
    write_bytes(Path(path), data.getvalue())


def overlay(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Labels in their palette colours over the greyed image, outlined; 255 hatched. -> (H, W, 3) uint8."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    colour = VOC_PALETTE[label].astype(np.float64)
    out = np.where((label > 0)[..., None], 0.35 * grey + 0.65 * colour, 0.6 * grey)
    stripe = (np.add.outer(*map(np.arange, label.shape)) // 4) % 2 == 0
    out[(label == 255) & stripe] = UNSURE
    out[(label == 255) & ~stripe] = 0.5 * out[(label == 255) & ~stripe] + 0.5 * np.array(UNSURE)
    out[edges(label)] = 255
    return out.clip(0, 255).astype(np.uint8)


def _heat(image, cam):
    score = cam if cam.ndim == 2 else cam.max(axis=0, initial=0.0)
    colour = matplotlib.colormaps["turbo"](score.clip(0, 1))[..., :3] * 255
    grey = image.mean(axis=2, keepdims=True)
    share = 0.15 + 0.55 * score.clip(0, 1)[..., None]  # where the score is low the photo shows
    return ((1 - share) * grey + share * colour).clip(0, 255).astype(np.uint8)


def edges(label):
    """Pixels whose right or lower neighbour has another label, but not towards unsure ones."""
    edge = np.zeros(label.shape, bool)
    sure = label != 255
    edge[:, :-1] |= (label[:, :-1] != label[:, 1:]) & sure[:, :-1] & sure[:, 1:]
    edge[:-1] |= (label[:-1] != label[1:]) & sure[:-1] & sure[1:]
    return edge


def _check(path, image, columns):
    for name, value in columns.items():
        if name not in COLUMNS:
            raise UserError(f"{path}: panel column '{name}' is unknown; choose from {', '.join(COLUMNS)}")
        if value is not None and value.shape[-2:] != image.shape[:2]:
            raise UserError(f"{path}: {COLUMNS[name]} is {value.shape[-2:]}, the image {image.shape[:2]}")


def tiles_in_a_row(tiles: list[tuple[str, np.ndarray]], height: int = TILE_HEIGHT) -> Image.Image:
    """Tiles, (H, W, 3) uint8 each, at one height, each under its title."""
    own_height, own_width = tiles[0][1].shape[:2]
    size = (max(72, round(height * own_width / own_height)), height)
    canvas = Image.new("RGB", (len(tiles) * (size[0] + GAP) + GAP, size[1] + BAR), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (title, pixels) in enumerate(tiles):
        left = GAP + i * (size[0] + GAP)
        draw.text((left, 5), title, fill=INK, font=font(13))
        canvas.paste(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), (left, BAR))
    return canvas


def _with_legend(row, labels, classes, title):
    entries = [(tuple(VOC_PALETTE[v].tolist()), shown(classes[v - 1])) for v in labels if 0 < v <= len(classes)]
    entries += [(UNSURE, "unsure (ignored)")] if 255 in labels else []
    small = font(13)
    widths = [22 + small.getlength(name) + 18 for _, name in entries]
    title_width = small.getlength(title) + 18 if title else 0
    # A line break where the next entry would leave the picture; the title stands first.
    places, x, y = [], GAP + title_width, 0
    for width in widths:
        if x + width > row.width and x > GAP:
            x, y = GAP, y + BAR
        places.append((x, y))
        x += width
    width = int(max(row.width, GAP + title_width, *(GAP + w for w in [0, *widths])))
    canvas = Image.new("RGB", (width, row.height + y + BAR + GAP), PAPER)
    canvas.paste(row, (0, 0))
    draw, top = ImageDraw.Draw(canvas), row.height + 8
    draw.text((GAP, top), title, fill=(107, 114, 128), font=small)
    for (x, y), (colour, name) in zip(places, entries, strict=True):
        draw.rectangle((x, top + y + 1, x + 14, top + y + 15), fill=colour, outline=INK)
        draw.text((x + 22, top + y), name, fill=INK, font=small)
    return canvas


def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
