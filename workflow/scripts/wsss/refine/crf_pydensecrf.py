"""The dense CRF by pydensecrf, the package that published methods use."""

from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from wsss.errors import UserError
from wsss.refine.crf import CrfParams


def marginals(image: np.ndarray, energies: Sequence[np.ndarray], params: CrfParams) -> list[np.ndarray]:
    """See `wsss.refine.crf.Backend`; one lattice for all problems.

    Raises:
        UserError: pydensecrf is not installed.
    """
    (height, width), labels = image.shape[:2], len(energies[0])
    crf = _densecrf().DenseCRF2D(width, height, labels)
    crf.addPairwiseGaussian(sxy=params.sxy_gaussian, compat=params.compat_gaussian)
    crf.addPairwiseBilateral(
        sxy=params.sxy_bilateral, srgb=params.srgb, rgbim=image, compat=params.compat_bilateral
    )
    found = []
    for energy in energies:
        crf.setUnaryEnergy(np.ascontiguousarray(energy, np.float32))
        found.append(np.array(crf.inference(params.iterations)))
    return found


def require() -> None:
    """Raises UserError where pydensecrf is not installed."""
    if find_spec("pydensecrf") is None:
        raise UserError(
            "pydensecrf: missing, and crf.backend asks for it; run: pip install pydensecrf2==1.1 (it needs a C++ compiler), or set crf.backend: auto"
        )


def _densecrf() -> ModuleType:
    require()
    import pydensecrf.densecrf as densecrf

    return densecrf
