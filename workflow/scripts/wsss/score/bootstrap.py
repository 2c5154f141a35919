"""How sure a difference between two methods is: a paired bootstrap over images.

The scored images are drawn with replacement, as many as there are, and both methods are scored on the same draw. That says
what other images of the same kind would have given; it says nothing of another seed of a training.
"""

from dataclasses import dataclass

import numpy as np

from wsss.errors import UserError
from wsss.score.confusion import ratio

DRAWS, SEED, CHUNK = 1000, 0, 50


@dataclass(frozen=True)
class Difference:
    """Percent points of mIoU: that of all images, and the interval that holds 95 % of the draws."""

    points: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def difference(a: tuple[float, np.ndarray], b: tuple[float, np.ndarray]) -> Difference:
    """Of two methods' `scored`, drawn alike."""
    low, high = np.nanpercentile(a[1] - b[1], [2.5, 97.5])
    return Difference(a[0] - b[0], float(low), float(high))


def scored(counts: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> tuple[float, np.ndarray]:
    """mIoU of all images, and of each draw; see `drawn_mious`."""
    return float(miou(counts.sum(0))), drawn_mious(counts, draws, seed)


def drawn_mious(counts: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """(draws,) mIoU in percent on as many draws of images; the draws depend on `seed` and the number of images alone.

    counts: (N, n, 3). Raises UserError for fewer than two images.
    """
    number = len(counts)
    if number < 2:
        raise UserError(f"bootstrap: {number} scored image{'' if number == 1 else 's'}; at least two are needed to draw from")
    rng, flat = np.random.default_rng(seed), counts.reshape(number, -1).astype(np.float64)
    found = []
    for start in range(0, draws, CHUNK):
        times = rng.multinomial(number, np.full(number, 1 / number), size=min(CHUNK, draws - start))
        found.append(miou((times @ flat).reshape(-1, *counts.shape[1:])))
    return np.concatenate(found)


def miou(counts: np.ndarray) -> np.ndarray:
    """(..., n, 3) tp, fp, fn -> mIoU in percent over the labels that are there."""
    iou = ratio(counts[..., 0], counts.sum(-1))
    return 100.0 * np.nanmean(iou, axis=-1)
