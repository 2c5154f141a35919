"""Seeds of one recipe, filled up with another's where its maps leave a class out. Our own, for photos of people's own.

Saliency maps teach EPS what stands out, and what does not, furniture, its maps call background. Such a class is seen
without ground truth: it wins on far fewer pixels than it does with a method that knows no saliency.
"""

from collections.abc import Sequence

import numpy as np

from wsss.data.manifest import Record
from wsss.errors import UserError
from wsss.io.cams import CamFolder
from wsss.io.images import image_size
from wsss.score.cuts import BINS, Scores, bins_of
from wsss.score.sweep import winner


def class_areas(cams: CamFolder, records: Sequence[Record], num_classes: int, name: str) -> np.ndarray:
    """How much of a photo each class covers: where it wins above the cut that these CAMs' scores say (`Scores.cut`).

    Returns:
        (num_classes,) float64 in [0, 1], the mean over the photos that have the class; NaN for a class that none has.

    Raises:
        UserError: the CAMs, which it calls `name`, hold numbers that are none, or all scores are alike, so that no cut can be found.
    """
    scores, shares, photos = Scores(), np.zeros((num_classes, BINS)), np.zeros(num_classes)
    for record in records:
        cam = cams.at(record, image_size(record.image))
        first, score = winner(cam)
        scores.add(score[None], record.id)
        for row, label in enumerate(record.labels):
            shares[label] += np.bincount(bins_of(score[first == row]), minlength=BINS) / score.size
            photos[label] += 1
    cut = scores.cut()
    if cut is None:
        raise UserError(f"{name}: all CAMs have the same score everywhere, so nothing says which classes they leave out; train the classifier longer")
    above = shares[:, round(cut * BINS) :].sum(1)
    return np.divide(above, photos, out=np.full(num_classes, np.nan), where=photos > 0)


def left_out(own: np.ndarray, other: np.ndarray, below: float) -> tuple[int, ...]:
    """The classes, from 0, whose area in `own` is less than `below` times that in `other`; both as `class_areas` gives them."""
    return tuple(int(c) for c in np.flatnonzero(own < below * other))


def filled(own: np.ndarray, other: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """`own` (H, W) uint8 class ids with `other`'s pixels of `classes` (from 0) wherever it says background (0)."""
    wanted = (own == 0) & np.isin(other, [c + 1 for c in classes])
    return np.where(wanted, other, own)
