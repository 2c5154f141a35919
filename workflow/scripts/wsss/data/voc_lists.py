"""Lists and label files of PASCAL VOC as the field passes them around."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from wsss.errors import UserError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_IMAGE_PATH = re.compile(r"(?:\S*/)?JPEGImages/(?:\S*/)?([^/\s]+)\.(?:jpe?g|png)", re.IGNORECASE)
_MASK_PATH = re.compile(r"(?:\S*/)?([^/\s]+)\.png", re.IGNORECASE)


def read_id_list(path: Path) -> tuple[str, ...]:
    """Image ids of a list file, in file order.

    Three line formats are in use and may be mixed: ``2007_000032`` (VOC, IRN), ``/JPEGImages/ID.jpg``
    (test lists) and ``/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`` (PSA, SEAM). BOM, CRLF and blank
    lines are fine.

    Raises:
        UserError: missing or empty file, other encoding, and every line that fits no format or repeats an id.
    """
    path = Path(path)
    lines = [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), 1)]
    entries = [(number, line, parse_line(line)) for number, line in lines if line]
    count = Counter(image_id for _, _, image_id in entries if image_id)
    problems = [
        f"line {number}: {line!r} is not an id"
        if image_id is None
        else f"line {number}: {image_id} stands there twice"
        for number, line, image_id in entries
        if image_id is None or count[image_id] > 1
    ]
    if problems or not entries:
        listed = "\n  ".join(problems[:50]) if problems else "no id in it"
        raise UserError(
            f"{path}: not a clean id list (one id a line); mend these {len(problems)} lines:\n  {listed}"
        )
    return tuple(image_id for _, _, image_id in entries)


def parse_line(line: str) -> str | None:
    """The id in one list line, or None where the line has none of the three formats."""
    columns = line.split()
    if len(columns) == 1 and not re.search(r"[/\\]", line) and line not in (".", ".."):
        return line
    image = _IMAGE_PATH.fullmatch(columns[0]) if len(columns) in (1, 2) else None
    mask = _MASK_PATH.fullmatch(columns[-1]) if image and len(columns) == 2 else image
    return image[1] if image and mask and mask[1] == image[1] else None


def read_annotation(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """Class names of the objects in one annotation (no parts, difficult ones included), in class order.

    UserError: missing, not XML, no object, or an unknown class.
    """
    try:
        objects = ElementTree.fromstring(path.read_bytes()).findall("object")
    except OSError as error:
        raise UserError(
            f"{path}: missing annotation; unpack the archive again, or take the id off the list"
        ) from error
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not valid XML ({error}); unpack the archive again") from error
    names = {(item.findtext("name") or "").strip() for item in objects}
    unknown = sorted(names - set(classes))
    if unknown or not names:
        what = f"unknown class {', '.join(map(repr, unknown))}" if unknown else "no object in it"
        raise UserError(f"{path}: {what}; mend the annotation, the id list or the dataset's class list")
    return tuple(name for name in classes if name in names)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save the list as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read the list ({error.strerror}); check the path") from error


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays, dicts, lists, tuples, numbers and strings; refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
            ("multiarray", "scalar"): np.float32(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode_latin1,
        }
        short = "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module
        if (short, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[short, name]


def _encode_latin1(text: str, codec: str = "latin1") -> bytes:
    """What ``_codecs.encode`` does in array pickles of protocol 2, and nothing more."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"it asks for codec {codec}")
    return text.encode("latin1")


def import_cls_labels(path: Path) -> dict[str, np.ndarray]:
    """Read the field's ``cls_labels.npy`` (a pickled dict) without running what a pickle could carry.

    Ids come as integers (IRN, AMN: ``2007000032``) or strings (SEAM, EPS). Returns id -> (C,) float32 of 0
    and 1, foreground classes only, in the file's order.

    Raises:
        UserError: not such a file, a pickle that asks for other objects, or labels that are not multi-hot.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            shape, _, dtype = _npy_header(handle)
            if dtype != np.dtype(object) or shape != ():
                raise ValueError(f"it holds an array {shape} {dtype}, not a pickled dict")
            table = _ArraysOnly(handle, encoding="latin1").load()
        return _labels(table.item() if isinstance(table, np.ndarray) and table.shape == () else table)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused, {error}; only arrays and dicts belong in cls_labels.npy"
        ) from error
    except Exception as error:  # a hostile or broken pickle may raise anything
        raise UserError(
            f"{path}: not a cls_labels.npy ({error}); take the file from the method's repository"
        ) from error


def _npy_header(handle: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(handle)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"unknown .npy version {version}")
    return readers[version](handle)


def _labels(table: Any) -> dict[str, np.ndarray]:
    if not isinstance(table, dict) or not table:
        raise ValueError("it holds no dict of labels")
    labels = {_voc_id(key): np.asarray(value, np.float32) for key, value in table.items()}
    shapes = {value.shape for value in labels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"label shapes differ or are not flat: {sorted(shapes)[:3]}")
    wrong = [key for key, value in labels.items() if not np.isin(value, (0, 1)).all()]
    if wrong:
        raise ValueError(f"labels of {wrong[0]} are not 0 or 1")
    return labels


def _voc_id(key: Any) -> str:
    """``2007000032`` -> ``2007_000032``; strings stay."""
    if isinstance(key, str):
        return key
    if isinstance(key, (int, np.integer)) and 10**9 <= int(key) < 10**10:
        return f"{int(key) // 10**6:04d}_{int(key) % 10**6:06d}"
    raise ValueError(f"id {key!r} is not a VOC id")
