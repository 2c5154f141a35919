"""The dense CRF on our own lattice, compiled by numba; no compiler needed."""

from collections.abc import Sequence

import numpy as np

from wsss.refine.crf import CrfParams
from wsss.refine.lattice.mean_field import mean_field
from wsss.refine.lattice.table import build


def marginals(image: np.ndarray, energies: Sequence[np.ndarray], params: CrfParams) -> list[np.ndarray]:
    """See `wsss.refine.crf.Backend`; two lattices, of place and of place and colour, for all problems.

    Raises:
        UserError: kernel widths too small for the image's size.
    """
    lattices = build(image, params.sxy_gaussian), build(image, params.sxy_bilateral, params.srgb)
    return mean_field(lattices, (params.compat_gaussian, params.compat_bilateral), energies, params.iterations)
