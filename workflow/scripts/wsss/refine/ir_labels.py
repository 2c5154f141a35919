"""Two seeds -> IR labels, the supervision of IRN and AMN (IRN, CVPR 2019)."""

import numpy as np

from wsss.constants import IGNORE


def merge(confident: np.ndarray, unsure: np.ndarray) -> np.ndarray:
    """IR label: the confident class where there is one, else 0 where both say background, else 255.

    Args:
        confident, unsure: (H, W) uint8 class ids. A confident class stands even if the unsure pass disagrees.

    Returns:
        (H, W) uint8, 255 = ignore.
    """
    out = confident.copy()
    out[(confident == 0) & (unsure != 0)] = IGNORE
    return out
