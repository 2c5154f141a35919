"""CRF probabilities of an image: `{id}.npz`, one uint8 array (2, K+1, H, W) = round(255 p), deflated.

First the confident pass, then the unsure one; rows are background and the image's classes in ascending order.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from wsss.errors import UserError
from wsss.io.atomic import atomic_path
from wsss.io.remake import mend

SUFFIX, NAME = ".npz", "probs"
AGAIN = "run the seeds stage again"


def write_probs(path: str | Path, confident: np.ndarray, unsure: np.ndarray) -> None:
    """Write two stacks of probabilities (K+1, H, W) in [0, 1] atomically; equal content gives equal bytes."""
    values = np.rint(np.stack([confident, unsure]) * 255).astype(np.uint8)
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        np.savez_compressed(handle, **{NAME: values})


def read_probs(path: str | Path) -> np.ndarray:
    """Read them as (2, K+1, H, W) uint8.

    Raises:
        UserError: missing, damaged, or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            values = file[NAME]
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing CRF probabilities; {mend(path, AGAIN)}") from error
    except (ValueError, KeyError, EOFError, OSError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not CRF probabilities of this workflow ({error}); {mend(path, AGAIN)}") from error
    if values.ndim != 4 or len(values) != 2 or values.dtype != np.uint8:
        raise UserError(f"{path}: CRF probabilities are uint8 (2, K+1, H, W); {mend(path, AGAIN)}")
    return values
