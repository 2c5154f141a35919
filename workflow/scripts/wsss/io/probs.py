"""CRF probabilities of an image: `{id}.npz`, one uint8 array (2, K+1, H, W) = round(255 p), deflated.

First the confident pass, then the unsure one; rows are background and the image's classes in ascending order.
"""

from pathlib import Path

import numpy as np

from wsss.engine.atomic import atomic_path
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.archives import NotAnArchive, read_arrays

SUFFIX, NAME = ".npz", "probs"
MEND = for_people("set seeds.crf_params as published (docs/config.md)")
SLACK = 1e-3  # what rounding may put outside [0, 1]


def write_probs(path: str | Path, confident: np.ndarray, unsure: np.ndarray) -> None:
    """Write two stacks of probabilities (K+1, H, W) in [0, 1] atomically; equal content gives equal bytes.

    Raises:
        UserError: a value is no number in [0, 1].
    """
    stacks = np.stack([confident, unsure])
    low, high = stacks.min(initial=0), stacks.max(initial=0)
    if not (low >= -SLACK and high <= 1 + SLACK):  # false for nan too
        raise UserError(f"{path}: not written, the CRF gives no probabilities (from {low:g} to {high:g}); {MEND}")
    values = np.rint(stacks.clip(0, 1) * 255).astype(np.uint8)
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        np.savez_compressed(handle, **{NAME: values})


def read_probs(path: str | Path) -> np.ndarray:
    """Read them as (2, K+1, H, W) uint8.

    Raises:
        UserError: missing, damaged, or something else.
    """
    try:
        values = read_arrays(path)[NAME]
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing CRF probabilities; {remedy(path)}") from error
    except (NotAnArchive, KeyError) as error:
        raise UserError(f"{path}: not CRF probabilities of this workflow ({error}); {remedy(path)}") from error
    if values.ndim != 4 or len(values) != 2 or values.dtype != np.uint8:
        raise UserError(f"{path}: CRF probabilities are uint8 (2, K+1, H, W); {remedy(path)}")
    return values
