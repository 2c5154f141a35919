"""The cut of CAMs whose network learned where objects are: the one at which masks agree best with what it learned.

The measure is the IoU of objects. The background is left out: it is one label of many in a score, and most of the pixels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wsss.data.manifest import Record
from wsss.found import BY_LABELS, BY_SALIENCY
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.score.cuts import BINS, CUTS, bins_of, cut_bins
from wsss.score.sweep import Sweep, winner

FileOf = Callable[[Record], Path]
LEVELS = 256  # of a saliency map


class WithLabels:
    """Of a network that learned IR labels (AMN): the mean IoU of the classes that these show. Their unsure pixels (255) are left out."""

    by = BY_LABELS

    def __init__(self, label: FileOf, num_classes: int) -> None:
        self.label, self.sweep = label, Sweep(num_classes, values=CUTS)

    def add(self, cam: np.ndarray, record: Record, name: str) -> None:
        """Take in the (K, H, W) CAM of one photo; UserError where its label cannot be read, or `name` is damaged."""
        self.sweep.add(cam, record.labels, read_mask(self.label(record)), name)

    def agreement(self) -> np.ndarray | None:
        """(99,) in [0, 1], at each of CUTS; None where the labels show no object, or no background."""
        result = self.sweep.result()
        pixels = result.confusion[0].sum(1)  # by label
        shown = pixels[1:] > 0
        return result.per_class[:, 1:][:, shown].mean(1) / 100.0 if pixels[0] and shown.any() else None


class WithSaliency:
    """Of a network that learned from saliency maps (EPS): IoU of objects with what is salient, whatever the class.

    A pixel is salient above half of what maps usually reach, the median of their largest values: some makers of maps give paler ones.
    Photos whose map is blank are left out: it says nothing of where their objects are.
    """

    by = BY_SALIENCY

    def __init__(self, saliency: FileOf) -> None:
        self.saliency = saliency
        self.pixels = np.zeros((LEVELS, BINS), np.int64)  # by saliency and winning score
        self.largest: list[int] = []  # of each map

    def add(self, cam: np.ndarray, record: Record, name: str) -> None:
        """Take in the (K, H, W) CAM of one photo; UserError where its map cannot be read."""
        saliency = read_saliency(self.saliency(record))
        if not saliency.any():
            return
        cells = saliency.astype(np.int64) * BINS + bins_of(winner(cam)[1])
        self.pixels += np.bincount(cells.ravel(), minlength=LEVELS * BINS).reshape(LEVELS, BINS)
        self.largest.append(int(saliency.max()))

    def agreement(self) -> np.ndarray | None:
        """(99,) in [0, 1], at each of CUTS; None where nothing is salient."""
        if not self.largest:
            return None
        is_salient = np.arange(LEVELS) > np.median(self.largest) / 2
        counts = self.pixels.sum(0), self.pixels[is_salient].sum(0)
        objects, hit = (count[::-1].cumsum()[::-1][cut_bins()] for count in counts)
        salient = counts[1].sum()
        return hit / (salient + objects - hit) if salient else None


def best_cut(agreement: np.ndarray | None, start: float) -> float | None:
    """The cut of CUTS with the largest agreement (99,); of equal ones the nearest to `start`.

    None where there is no agreement, or it is largest at an end of CUTS: it then says that all is an object, or nothing.
    """
    if agreement is None:
        return None
    best = np.flatnonzero(agreement == agreement.max())
    at = best[np.abs(CUTS[best] - start).argmin()]
    return float(CUTS[at]) if 0 < at < len(CUTS) - 1 else None
