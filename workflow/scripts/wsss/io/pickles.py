"""Pickled `.npy` files of this field, read without running what a pickle could carry. For import commands only.

Nothing else in this workflow reads a pickle.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from wsss.errors import UserError
from wsss.io.pickle_arrays import ARRAYS
from wsss.io.pickle_machine import Budget, Machine, Names, Refused

NOTE = "only arrays, dicts, numbers and text are built; a pickle that asks for anything else is refused"
LARGEST = 2**32  # bytes; the largest of the field, the labels of COCO, are 30 million
# As every NumPy writes it; its own reader builds types of what a header says.
HEADER = re.compile(r"\{'descr': '\|?O', 'fortran_order': (True|False), 'shape': \(\),? ?\}\s*")


def load_object(path: str | Path, what: str, names: Names = ARRAYS) -> Any:
    """The object in a `.npy` file that holds one pickled object.

    Args:
        what: the kind of file that is expected here, for messages.
        names: what is built of the things a pickle names.

    Raises:
        UserError: unreadable, not such a file, or a pickle that asks for more than `names`.
    """
    path = Path(path)
    try:
        return _read(path, names)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except Refused as error:
        raise UserError(f"{path}: refused, {error}; only arrays and dicts belong in {what}") from error
    except Exception as error:  # a hostile or broken pickle may raise anything
        words = " ".join(f"{error}".split())[:200] or type(error).__name__
        raise UserError(f"{path}: not {what} ({words}); take the file from the method's repository") from error


def _read(path: Path, names: Names) -> Any:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    data = path.read_bytes()
    stream = io.BytesIO(data)
    _skip_header(stream)
    table = Machine(names, Budget(len(data))).run(stream)
    return table.item() if isinstance(table, np.ndarray) and table.shape == () else table


def _skip_header(stream: io.BytesIO) -> None:
    """ValueError where the file holds anything but one object."""
    magic = stream.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0"):
        raise ValueError("it does not begin as .npy files do")
    length = int.from_bytes(stream.read(2 if magic[6] == 1 else 4), "little")
    header = stream.read(length).decode("latin1")
    if not HEADER.fullmatch(header):
        raise ValueError(f"it holds an array {header[:100].strip()!a}, not a pickled dict")
