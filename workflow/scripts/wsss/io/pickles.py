"""Pickled `.npy` files of this field, read without running what a pickle could carry. For import commands only.

Nothing else in this workflow loads a pickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wsss.errors import UserError

NOTE = "only arrays, dicts, numbers and text are built; a pickle that asks for anything else is refused"
CODECS = {"latin1", "latin-1"}


class ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays, dicts, lists, tuples, numbers and strings; refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that arrays are rebuilt with."""
        allowed = {
            ("multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
            ("multiarray", "scalar"): np.float32(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode_latin1,
            **self.more(),
        }
        short = "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module
        if (short, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[short, name]

    def more(self) -> dict[tuple[str, str], Callable]:
        """What a subclass builds beside arrays."""
        return {}


def load_object(path: str | Path, what: str, reader: type[ArraysOnly] = ArraysOnly) -> Any:
    """The object in a `.npy` file that holds one pickled object.

    Args:
        what: the kind of file that is expected here, for messages.

    Raises:
        UserError: unreadable, not such a file, or a pickle that asks for more than `reader` builds.
    """
    path = Path(path)
    try:
        return _unpickle(path, reader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: refused, {error}; only arrays and dicts belong in {what}") from error
    except Exception as error:  # a hostile or broken pickle may raise anything
        raise UserError(f"{path}: not {what} ({error}); take the file from the method's repository") from error


def _unpickle(path: Path, reader: type[ArraysOnly]) -> Any:
    with open(path, "rb") as handle:
        shape, _, dtype = _header(handle)
        if dtype != np.dtype(object) or shape != ():
            raise ValueError(f"it holds an array {shape} {dtype}, not a pickled dict")
        table = reader(handle, encoding="latin1").load()
    return table.item() if isinstance(table, np.ndarray) and table.shape == () else table


def _header(handle: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(handle)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"unknown .npy version {version}")
    return readers[version](handle)


def _encode_latin1(text: str, codec: str = "latin1") -> bytes:
    """What `_codecs.encode` does in array pickles of protocol 2, and nothing more."""
    if codec not in CODECS:
        raise pickle.UnpicklingError(f"it asks for codec {codec}")
    return text.encode("latin1")
