"""Differences between methods, each with the interval that a paired bootstrap over images gives it."""

from typing import Any

import numpy as np
import pandas as pd

from wsss.errors import UserError
from wsss.report.cells import Cell, Table
from wsss.report.per_image import image_counts
from wsss.report.tables import COLUMNS
from wsss.score.bootstrap import difference, scored

COMPARED = ("seed_best", "pseudo_mask", "segmentation", "segmentation_crf")  # a seed at one's own threshold compares thresholds


def comparisons(tables: dict[str, pd.DataFrame], labels: int) -> list[dict[str, Any]]:
    """{"heading", "images", "table"} of each figure that two methods have; "table" is None with fewer than two images.

    tables: method -> per_image.csv of its first seed; labels: classes and background. Raises UserError when two methods
    were scored on other images.
    """
    found = []
    for figure in COMPARED:
        counts = {method: image_counts(table, figure, labels) for method, table in tables.items()}
        counts = {method: pair for method, pair in counts.items() if pair[0]}
        if len(counts) > 1:
            images = _same_images(figure, {method: ids for method, (ids, _) in counts.items()})
            table = _table(COLUMNS[figure][0], {m: of for m, (_, of) in counts.items()}) if images > 1 else None
            found.append({"heading": COLUMNS[figure][0], "images": images, "table": table})
    return found


def _same_images(figure: str, ids: dict[str, list[str]]) -> int:
    first = next(iter(ids))
    for method, own in ids.items():
        if own != ids[first]:
            raise UserError(
                f"the {COLUMNS[figure][0]} of {method} is scored on {len(own)} images, that of {first} on {len(ids[first])}, "
                "not the same ones; score both again"
            )
    return len(ids[first])


def _table(heading: str, counts: dict[str, np.ndarray]) -> Table:
    figures = {method: scored(of) for method, of in counts.items()}
    rows = [[name, *(_cell(figures[name], figures[other]) if other != name else "" for other in figures)] for name in figures]
    return Table(f"{heading}: mIoU of the row less that of the column", ["", *figures], rows)


def _cell(a: tuple[float, np.ndarray], b: tuple[float, np.ndarray]) -> Cell:
    found = difference(a, b)
    tone = ("better" if found.points > 0 else "worse") if found.is_sure else ""
    return Cell(f"{found.points:+.1f}", soft=f"{found.low:+.1f} to {found.high:+.1f}", tone=tone)
