"""The cut of CAMs whose network learned image labels alone, found from the winning scores of many images."""

import numpy as np

from wsss.errors import UserError
from wsss.score.sweep import winner

BINS = 1000
CUTS = np.arange(1, 100) / 100
USUAL_SHARE = 0.25  # of an image that its objects cover


class Scores:
    """Winning scores of images, pooled: `add` every image, then `cut`. Images without classes say nothing and are left out."""

    def __init__(self) -> None:
        self.images = 0
        self.histogram = np.zeros(BINS, np.int64)

    def add(self, cam: np.ndarray, name: str = "CAM") -> None:
        """Take in one image.

        Args:
            cam: (K, H, W) float32 in [0, 1] at image size.
            name: what an error calls it.

        Raises:
            UserError: the scores are not numbers.
        """
        if len(cam) == 0:
            return
        score = winner(cam)[1]
        if not np.isfinite(score).all():
            raise UserError(f"{name}: the CAM holds NaN or infinite scores; remake it")
        self.add_histogram(np.bincount(bins_of(score).ravel(), minlength=BINS))

    def add_histogram(self, histogram: np.ndarray) -> None:
        """Take in one image by its (BINS,) pixels by winning score."""
        self.images += 1
        self.histogram += histogram

    def cut(self) -> float | None:
        """`find_cut` of them; None where the scores are all alike, so that none can be found."""
        return find_cut(self.histogram)


def bins_of(score: np.ndarray) -> np.ndarray:
    """Scores in [0, 1] -> their bin of BINS."""
    return np.clip(score * BINS, 0, BINS - 1).astype(np.int64)


def find_cut(histogram: np.ndarray) -> float | None:
    """The cut above which a share sqrt(s * USUAL_SHARE) of the pixels lies.

    1. `least_cross_entropy` gives a first cut. s is the share of pixels above it.
    2. The wanted share is half way, in the logarithm, between s and the usual share of objects.
    3. The cut whose share is nearest to it is taken; of equal ones, the one nearest to the first cut.

    Why not the first cut: maps that are broad, or stretched to [0, 1] (SEAM, CPN), are high everywhere. A rule that
    looks at their values alone calls too much an object, and objects seldom cover more than a part of a photo.
    docs/evaluation.md has the figures.

    Args:
        histogram: (BINS,) pixels by winning score.

    Returns:
        One of CUTS; None where all scores lie in one bin.
    """
    if np.count_nonzero(histogram) < 2:
        return None
    start = least_cross_entropy(histogram)
    shares = 1.0 - np.cumsum(histogram)[cut_bins() - 1] / histogram.sum()
    wanted = np.sqrt(shares[np.abs(CUTS - start).argmin()] * USUAL_SHARE)
    order = np.lexsort((np.abs(CUTS - start), np.abs(shares - wanted)))
    return float(CUTS[order[0]])


def cut_bins() -> np.ndarray:
    """(99,) first bin above each of CUTS."""
    return np.rint(CUTS * BINS).astype(np.int64)


def least_cross_entropy(histogram: np.ndarray) -> float:
    """Minimum cross-entropy (Li & Lee, 1993), for a histogram of two bins or more.

    Over the winning scores of all images, pooled, the cut t maximises m_b ln(mu_b) + m_f ln(mu_f), with m the
    sum and mu the mean of the scores on either side. Winning scores pile up near 0 and thin out towards 1, so their
    spread grows with their mean; cross-entropy weighs deviations relative to the mean.

    Returns:
        In (0, 1); the middle where no pixel lies between the best ones.
    """
    centres = (np.arange(BINS) + 0.5) / BINS
    moment, pixels = np.cumsum(histogram * centres), np.cumsum(histogram)
    below, above = _x_log_mean(moment, pixels), _x_log_mean(moment[-1] - moment, pixels[-1] - pixels)
    gain = (below + above)[:-1]
    best = np.flatnonzero(gain == gain.max())
    return (int(best[0] + best[-1]) / 2 + 1) / BINS


def _x_log_mean(moment: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """moment * ln(moment / pixels), 0 where there is nothing."""
    mean = np.divide(moment, pixels, out=np.ones_like(moment), where=(pixels > 0) & (moment > 1e-12))
    return moment * np.log(mean)
