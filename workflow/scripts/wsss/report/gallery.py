"""The pictures of the pages: image by image, all methods side by side, each layer over the photo."""

from pathlib import Path

import numpy as np

from wsss.data.text import as_cell, shown
from wsss.engine.atomic import write_bytes
from wsss.io.masks import VOC_PALETTE
from wsss.report import layers
from wsss.report.cells import Table
from wsss.report.panels import COLUMNS
from wsss.report.per_image import last_ious
from wsss.report.tables import COLUMNS as FIGURES

TRUTH = "ground_truth"
EXTREMES = 5  # images named as worst and as best of each method


def images(out: Path, classes, panels: dict, ious: dict) -> list[dict]:
    """Write the pictures of all methods below `out`; returns what the pages show, image by image.

    panels: method -> {image id: file of layers}; ious: method -> figure -> id as a cell -> IoU in percent. Each image is
    {"id", "size", "photo", "truth", "legend", "columns", "rows": [{"method", "iou", "figure", "tiles": {layer: path}}]}.
    """
    found: dict[str, dict] = {}
    for method, files in panels.items():
        last = last_ious(ious.get(method, {}))
        for item_id, path in files.items():
            arrays = layers.read_layers(Path(path))
            image = found.setdefault(item_id, _image(out, item_id, arrays))
            image["labels"] |= _labels(arrays)
            tiles = {name: f"panels/{method}/{item_id}.{name}.png" for name in COLUMNS if name in arrays and name != TRUTH}
            for name, picture in tiles.items():
                write_bytes(out / picture, layers.layer_png(name, arrays[name]))
            if tiles:  # else the method made nothing of it yet
                image["rows"].append({"method": method, "tiles": tiles, **_score(last, item_id)})
    return [_finished(image, classes) for image in found.values() if image["rows"]]


def of_method(gallery: list[dict], method: str) -> list[dict]:
    """The images with the row of one method alone."""
    kept = [{**image, "rows": [row for row in image["rows"] if row["method"] == method]} for image in gallery]
    return [_with_columns(image) for image in kept if image["rows"]]


def few(gallery: list[dict], count: int) -> list[dict]:
    """`count` images for a first look: from the worst mean IoU to the best, evenly, or the first where none is known."""
    known = [(value, i) for i in gallery if (value := mean_iou(i)) is not None]
    ranked = [image for _, image in sorted(known, key=lambda pair: pair[0])]
    if len(ranked) < count:
        return gallery[:count]
    return [ranked[k] for k in np.linspace(0, len(ranked) - 1, count).round().astype(int)]


def mean_iou(image: dict) -> float | None:
    """Of an image over its methods."""
    known = [row["iou"] for row in image["rows"] if row["iou"] is not None]
    return sum(known) / len(known) if known else None


def extremes_table(ious: dict) -> Table | None:
    """Of all scored images, with pictures or not, each method's worst and best; None where nothing is scored. ious: as `images` has it."""
    rows = []
    for method, by_figure in ious.items():
        ranked = sorted(last_ious(by_figure).items(), key=lambda one: one[1][1])
        lines = [f"{shown(item_id)}: {iou:.1f} ({FIGURES[figure][0]})" for item_id, (figure, iou) in ranked]
        if lines:
            rows.append([method, len(lines), lines[:EXTREMES], lines[::-1][:EXTREMES]])
    return Table("worst and best of all scored images", ["method", "scored images", "worst IoU", "best IoU"], rows, is_words=True) if rows else None


def _image(out, item_id, arrays):
    photo = f"photos/{item_id}.jpg"
    write_bytes(out / photo, layers.photo_jpeg(arrays[layers.PHOTO]))
    truth = f"truth/{item_id}.png" if TRUTH in arrays else None
    if truth:
        write_bytes(out / truth, layers.layer_png(TRUTH, arrays[TRUTH]))
    height, width = arrays[layers.PHOTO].shape[:2]
    return {"id": item_id, "size": (width, height), "photo": photo, "truth": truth, "rows": [], "labels": set()}


def _labels(arrays):
    return {int(v) for name, array in arrays.items() if name not in (layers.PHOTO, "cam") for v in np.unique(array)}


def _score(last, item_id):
    """IoU of the last figure that the image has."""
    if as_cell(item_id) not in last:
        return {"iou": None, "figure": ""}
    figure, iou = last[as_cell(item_id)]
    return {"iou": round(iou, 1), "figure": FIGURES[figure][0]}


def _finished(image, classes):
    labels = sorted(v for v in image.pop("labels") if 0 < v <= len(classes))
    legend = [{"name": shown(classes[v - 1]), "colour": "rgb({}, {}, {})".format(*VOC_PALETTE[v])} for v in labels]
    return _with_columns({**image, "legend": legend})


def _with_columns(image):
    there = {name for row in image["rows"] for name in row["tiles"]}
    return {**image, "columns": [{"name": name, "title": title} for name, title in COLUMNS.items() if name in there]}
