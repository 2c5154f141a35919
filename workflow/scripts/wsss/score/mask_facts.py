"""What masks say of themselves, without ground truth. Percent throughout; 255 = unsure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.constants import IGNORE
from wsss.data.held_out import sample
from wsss.io.masks import read_mask
from wsss.score.confusion import check_labels, confusion

ALL_OF_A_PHOTO = 98.0  # percent of a photo's sure pixels from which on it counts as all foreground, or all background
MOST = 2000  # masks that are read, 2 ms each


def facts_of(items: Sequence[Any], classes: Sequence[str], path: Callable[[Any], Path]) -> dict[str, Any]:
    """`MaskFacts.result` of the masks at `path(item)`, of at most MOST photos; `of` says out of how many.

    items: records, or whatever has an id and no labels.
    """
    found = MaskFacts(classes)
    for item in sample(items, MOST, 0):
        found.add(read_mask(path(item)), getattr(item, "labels", None), str(path(item)))
    return {**found.result(), "of": len(items)}


class MaskFacts:
    """Adds up the masks of one stage.

    classes: foreground names. Labels of a photo are 0-based classes; None where they are not known.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.pixels = np.zeros(256, np.int64)
        self.photos = self.labelled = self.all_foreground = self.all_background = 0
        self.asked, self.found = np.zeros(len(classes), np.int64), np.zeros(len(classes), np.int64)

    def add(self, mask: np.ndarray, labels: Sequence[int] | None, name: str = "mask") -> None:
        """Count one photo's mask, (H, W) uint8."""
        counts = np.bincount(mask.ravel(), minlength=256)
        check_labels(counts, len(self.classes) + 1, name)
        self.pixels += counts
        self.photos += 1
        sure = int(counts[:IGNORE].sum())
        foreground = 100.0 * (sure - counts[0]) / sure if sure else 50.0  # all unsure is neither
        self.all_foreground += foreground > ALL_OF_A_PHOTO
        self.all_background += foreground < 100 - ALL_OF_A_PHOTO and bool(labels)
        self.labelled += bool(labels)
        for k in range(len(self.classes)) if labels is None else labels:
            self.asked[k] += labels is not None
            self.found[k] += counts[k + 1] > 0

    def result(self) -> dict[str, Any]:
        """photos, labelled; foreground (of the sure pixels) and unsure (of all); all_foreground (of photos) and
        all_background (of labelled ones); found: class -> share of its photos, or of all where no labels are known, in
        which it has a pixel; never: labelled classes without a pixel in any photo that has them."""
        total, sure = int(self.pixels.sum()), int(self.pixels[:IGNORE].sum())
        of = np.where(self.asked > 0, self.asked, 0 if self.labelled else self.photos)
        shown = [k for k in range(len(self.classes)) if of[k]]
        return {
            "photos": self.photos,
            "foreground": _percent(sure - int(self.pixels[0]), sure),
            "unsure": _percent(total - sure, total),
            "all_foreground": _percent(self.all_foreground, self.photos),
            "all_background": _percent(self.all_background, self.labelled),
            "found": {self.classes[k]: _percent(int(self.found[k]), int(of[k])) for k in shown},
            "never": [self.classes[k] for k in shown if self.asked[k] and not self.found[k]],
        }


class Agreement:
    """Mean IoU between two masks of the same photos, over the classes (background too) that either has."""

    def __init__(self, num_classes: int) -> None:
        self.labels = num_classes + 1
        self.pairs = np.zeros((self.labels, self.labels), np.int64)

    def add(self, one: np.ndarray, other: np.ndarray, name: str = "mask") -> None:
        """Count the pixels of a photo of which both are sure."""
        self.pairs += confusion(one, other, self.labels, name)[:, : self.labels]

    def result(self) -> float | None:
        """Percent; None where nothing was compared."""
        both = np.diag(self.pairs)
        either = self.pairs.sum(0) + self.pairs.sum(1) - both
        present = either > 0
        return round(100 * float(np.mean(both[present] / either[present])), 2) if present.any() else None


def _percent(part: int, whole: int) -> float | None:
    return round(100 * int(part) / whole, 2) if whole else None
