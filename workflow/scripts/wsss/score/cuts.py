"""The cut of a method's CAMs, found without ground truth from the winning scores of many images."""

import numpy as np

from wsss.errors import UserError
from wsss.score.sweep import winner

BINS = 1000
RULE = "minimum cross-entropy of the winning scores"


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
        self.images += 1
        self.histogram += np.bincount(bins_of(score).ravel(), minlength=BINS)

    def cut(self) -> float | None:
        """The cut, a multiple of 0.01 within (0, 1); None where the scores are all alike, so that none can be found."""
        return find_cut(self.histogram)


def bins_of(score: np.ndarray) -> np.ndarray:
    """Scores in [0, 1] -> their bin of BINS."""
    return np.clip(score * BINS, 0, BINS - 1).astype(np.int64)


def find_cut(histogram: np.ndarray) -> float | None:
    """Minimum cross-entropy (Li & Lee, 1993).

    Over the winning scores of all images, pooled, the cut t maximises m_b ln(mu_b) + m_f ln(mu_f), with m the
    sum and mu the mean of the scores on either side.

    Args:
        histogram: (BINS,) pixels by winning score.

    Returns:
        The cut, a multiple of 0.01 within (0, 1); None where all scores lie in one bin.
    """
    if np.count_nonzero(histogram) < 2:
        return None
    centres = (np.arange(BINS) + 0.5) / BINS
    moment, pixels = np.cumsum(histogram * centres), np.cumsum(histogram)
    below, above = _x_log_mean(moment, pixels), _x_log_mean(moment[-1] - moment, pixels[-1] - pixels)
    cut = (int((below + above)[:-1].argmax()) + 1) / BINS
    return round(min(max(cut, 0.01), 0.99), 2)


def _x_log_mean(moment: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """moment * ln(moment / pixels), 0 where there is nothing."""
    mean = np.divide(moment, pixels, out=np.ones_like(moment), where=(pixels > 0) & (moment > 1e-12))
    return moment * np.log(mean)
