"""A picture that moves the threshold over the CAMs of several methods: at a glance, how much each cares where it is cut."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageDraw

from wsss.engine.atomic import write_bytes
from wsss.report.layers import PHOTO, read_layers
from wsss.report.panels import BAR, GAP, INK, PAPER, edges, font
from wsss.report.plots import COLOURS

TILE, CURVE = 170, 74  # pixels: height of a photo; of the curves below
FROM, TO, STEP = 5, 95, 5  # thresholds in percent
MILLISECONDS = 220
QUALITY = 70
MOST = 4  # methods side by side
INSIDE = np.array([86, 180, 233])  # what is above the threshold


def write_moving(path: Path, panels: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Write the animation of the first image of which two methods or more have CAMs that differ; returns the methods, none where there is no such image.

    `path` gets the animation, the same name with .png one picture of it, for readers who want nothing to move.

    Args:
        panels: method -> image id -> file of `wsss.report.layers`.
    """
    for item_id in dict.fromkeys(i for files in panels.values() for i in files):
        found = {method: read_layers(Path(files[item_id])) for method, files in panels.items() if item_id in files}
        cams = _differing({method: arrays["cam"] for method, arrays in found.items() if "cam" in arrays})
        if len(cams) > 1:
            first = found[next(iter(cams))]
            drawn = list(frames(first[PHOTO], cams, first.get("ground_truth")))
            write_bytes(path, animated(drawn))
            write_bytes(path.with_suffix(".png"), imageio.imwrite("<bytes>", drawn[len(drawn) // 3], extension=".png"))
            return list(cams)
    return []


def _differing(cams: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first MOST that are not another's too (irn's are cam's)."""
    kept: dict[str, np.ndarray] = {}
    for method, cam in cams.items():
        if len(kept) < MOST and not any(np.array_equal(cam, other) for other in kept.values()):
            kept[method] = cam
    return kept


def animated(up: list[np.ndarray]) -> bytes:
    """Frames (H, W, 3) uint8 as a WebP without end, up and down."""
    both = np.stack(up + up[-2:0:-1])
    return imageio.imwrite("<bytes>", both, extension=".webp", plugin="pillow", duration=MILLISECONDS, loop=0, quality=QUALITY, method=4)


def frames(photo: np.ndarray, cams: Mapping[str, np.ndarray], truth: np.ndarray | None) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 for each threshold.

    Args:
        photo: (h, w, 3) uint8.
        cams: method -> (h, w) uint8, 255 times the maximum over the image's classes.
        truth: (h, w) uint8 labels, 255 = ignored; None: no curves below.
    """
    thresholds = np.arange(FROM, TO + 1, STEP)
    found = {name: [cam > 2.55 * t for t in thresholds] for name, cam in cams.items()}
    ious = {name: [object_iou(inside, truth) for inside in of] for name, of in found.items()} if truth is not None else {}
    for k, threshold in enumerate(thresholds):
        tiles = [("image", photo), *((name, _cut(photo, of[k])) for name, of in found.items())]
        yield _frame(tiles, ious, k, threshold / 100)


def object_iou(inside: np.ndarray, truth: np.ndarray) -> float:
    """IoU in [0, 1] of (h, w) bool with all objects of (h, w) uint8 labels, where they are not 255; 0 where both are empty."""
    known, objects = truth != 255, (truth > 0) & (truth != 255)
    either = int(((inside | objects) & known).sum())
    return float((inside & objects).sum() / either) if either else 0.0


def _cut(photo: np.ndarray, inside: np.ndarray) -> np.ndarray:
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2)
    out = np.where(inside[..., None], 0.45 * photo + 0.55 * INSIDE, 0.55 * grey)
    out[edges(inside.astype(np.uint8))] = 255
    return out.astype(np.uint8)


def _frame(tiles: list[tuple[str, np.ndarray]], ious: dict[str, list[float]], k: int, threshold: float) -> np.ndarray:
    height, width = tiles[0][1].shape[:2]
    size = (max(110, round(TILE * width / height)), TILE)
    canvas = Image.new("RGB", (len(tiles) * (size[0] + GAP) + GAP, BAR + TILE + (CURVE if ious else 0) + BAR), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (title, pixels) in enumerate(tiles):
        left = GAP + i * (size[0] + GAP)
        if title in ious:
            title = f"{title}: {ious[title][k]:.0%}"
        draw.text((left, 5), title, fill=COLOURS[i - 1] if ious and i else INK, font=font(13))
        canvas.paste(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), (left, BAR))
    _scale(draw, ious, k, (GAP + size[0] + GAP, BAR + TILE + 8, canvas.width - GAP - 8, canvas.height - BAR))
    said = f"cut at {threshold:.2f}"
    draw.text((GAP, canvas.height - BAR + 2), said, fill=INK, font=font(13))
    if ious:
        draw.text((GAP, BAR + TILE + 10), "IoU with\nall objects", fill=INK, font=font(12))
    return np.array(canvas)


def _scale(draw: ImageDraw.ImageDraw, ious: dict[str, list[float]], k: int, box: tuple[int, int, int, int]) -> None:
    """The threshold as a knob on a line, and above it IoU against threshold: the whole curve, a dot where it is now."""
    left, top, right, bottom = box
    count = (TO - FROM) // STEP
    places = [left + (right - left) * i / count for i in range(count + 1)]
    for (_, values), colour in zip(ious.items(), COLOURS, strict=False):
        heights = [bottom - (bottom - top) * value for value in values]
        draw.line(list(zip(places, heights, strict=True)), fill=colour, width=2)
        draw.ellipse((places[k] - 4, heights[k] - 4, places[k] + 4, heights[k] + 4), fill=colour)
    line = bottom + BAR // 2 - 2
    draw.line([(left, line), (right, line)], fill="#9CA3AF", width=2)
    draw.ellipse((places[k] - 6, line - 6, places[k] + 6, line + 6), fill=INK)
