"""The dense CRF on our own lattice, compiled by numba; no compiler needed."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from wsss.refine.crf import CrfParams
from wsss.refine.lattice.mean_field import Kernel, mean_field, normalised
from wsss.refine.lattice.table import build

_KEPT_PIXELS = 1 << 20  # larger images do not keep their kernel of places: 30 bytes a pixel


def marginals(image: np.ndarray, energies: Sequence[np.ndarray], params: CrfParams) -> list[np.ndarray]:
    """See `wsss.refine.crf.Backend`; two lattices, of place and of place and colour, for all problems.

    Raises:
        UserError: kernel widths too small for the image's size.
    """
    height, width = image.shape[:2]
    of_places = kernel_of_places if height * width <= _KEPT_PIXELS else kernel_of_places.__wrapped__
    places = of_places(height, width, params.sxy_gaussian, params.compat_gaussian)
    colours = normalised(build(image, params.sxy_bilateral, params.srgb), params.compat_bilateral)
    return mean_field((places, colours), energies, params.iterations)


@lru_cache(maxsize=4)
def kernel_of_places(height: int, width: int, sxy: float, compat: float) -> Kernel:
    """The same for all images of a size; kept for the few last sizes."""
    return normalised(build(np.zeros((height, width, 3), np.uint8), sxy), compat)
