"""What `per_image.csv` says of single images: counts for the bootstrap, and an IoU each for the pictures."""

import numpy as np
import pandas as pd

from wsss.errors import UserError
from wsss.report.reading import read_table
from wsss.report.tables import COLUMNS
from wsss.score.per_image import HEAD, NAME

TYPES = {"figure": str, "image": str, **dict.fromkeys(HEAD[2:], np.int64)}


def read_per_image(path) -> pd.DataFrame:
    """The file as a table of HEAD; UserError where it is missing, cut short or no such file."""
    return read_table(path, usecols=list(HEAD), dtype=TYPES, keep_default_na=False)


def image_counts(table: pd.DataFrame, figure: str, labels: int) -> tuple[list[str], np.ndarray]:
    """Of one figure: the images in the file's order, and their counts (N, labels, 3): tp, fp, fn.

    Raises UserError when the file has a label beyond these.
    """
    rows = table[table["figure"] == figure]
    if len(rows) and not 0 <= rows["label"].min() <= rows["label"].max() < labels:
        raise UserError(f"{NAME}: {figure} has label {rows['label'].max()}, the dataset has 0 to {labels - 1}; score the method again")
    places, images = pd.factorize(rows["image"])
    counts = np.zeros((len(images), labels, 3), np.int64)
    counts[places, rows["label"]] = rows[["tp", "fp", "fn"]].to_numpy()
    return list(images), counts


def image_ious(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """figure -> image -> mean IoU of the image in percent, over the labels in its ground truth or prediction."""
    iou = 100.0 * table["tp"] / (table["tp"] + table["fp"] + table["fn"])
    means = iou.groupby([table["figure"], table["image"]], sort=False).mean()
    found: dict[str, dict[str, float]] = {}
    for (figure, image), value in zip(means.index.to_list(), means.to_numpy(), strict=True):
        found.setdefault(figure, {})[image] = float(value)
    return found


def last_ious(ious: dict[str, dict[str, float]]) -> dict[str, tuple[str, float]]:
    """Image -> the last figure that it has, in the order of the report's table, and its IoU there; ious: of `image_ious`."""
    return {image: (figure, iou) for figure in COLUMNS for image, iou in ious.get(figure, {}).items()}
