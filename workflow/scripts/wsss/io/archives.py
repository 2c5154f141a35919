"""NumPy's archives, `.npz`: read so that a damaged or a hostile one ends in words, and in no more memory than it should."""

import zipfile
from pathlib import Path

import numpy as np

LARGEST = 2**31  # bytes of all arrays together; a CAM of the largest photo taken has a tenth


class NotAnArchive(Exception):
    """Damaged, or something else; says how."""


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is none.
        NotAnArchive: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST:
            raise NotAnArchive(f"its arrays want {size} bytes")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if not all(isinstance(value, np.ndarray) for value in arrays.values()):  # members of another kind come as bytes
            raise NotAnArchive("it holds more than arrays")
        return arrays
    except (FileNotFoundError, NotAnArchive):
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged files
        raise NotAnArchive(" ".join(f"{error}".split())[:200] or type(error).__name__) from error
