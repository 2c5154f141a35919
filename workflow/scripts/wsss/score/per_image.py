"""`per_image.csv`: what each scored image adds to a figure, for statistics over images.

One row per figure, image and label that is in its ground truth or prediction: pixels hit (tp), wrongly predicted (fp)
and missed (fn), predicted 255 counting as background. Figures are named as the columns of the report's table are.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wsss.data.text import as_cell
from wsss.engine.atomic import write_text

NAME = "per_image.csv"
HEAD = ("figure", "image", "label", "tp", "fp", "fn")


def counts_of(conf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, n + 1) confusion matrix of one image -> labels (n,), and (n, 3) tp, fp, fn; predicted 255 is background."""
    square = conf[:, :-1].copy()
    square[:, 0] += conf[:, -1]
    hit = np.diag(square)
    return np.arange(len(square)), np.stack([hit, square.sum(0) - hit, square.sum(1) - hit], axis=1)


class PerImage:
    """Rows of the file, figure by figure: `add` every image, then `write`."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self._table = csv.writer(self._out, lineterminator="\n")
        self._table.writerow(HEAD)

    def add(self, figure: str, item_id: str, labels: Iterable[int], counts: np.ndarray) -> None:
        """One image; labels (L,) and counts (L, 3): tp, fp, fn. Labels without a pixel are left out."""
        for label, row in zip(labels, counts.tolist(), strict=True):
            if any(row):
                self._table.writerow([figure, as_cell(item_id), label, *row])

    def write(self, path: str | Path) -> None:
        """Write the file."""
        write_text(path, self._out.getvalue())
