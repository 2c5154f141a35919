"""The field's `cls_labels.npy`, a pickled dict id -> multi-hot vector, read without running what a pickle could carry."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.errors import UserError
from wsss.io.pickles import load_object


def read_cls_labels(
    path: Path, classes: Sequence[str], id_of: Callable[[Any], str | None]
) -> dict[str, tuple[str, ...]]:
    """Class names of each image, in the file's order.

    Args:
        classes: foreground names, one per entry of the vectors.
        id_of: the id behind a key, which authors write as a number or as text; None where it is none.

    Raises:
        UserError: not such a file, a pickle that asks for more than arrays and dicts, labels that are not 0 or 1,
            or of another number of classes.
    """
    path = Path(path)
    table = load_object(path, "a cls_labels.npy")
    try:
        vectors = _vectors(table, id_of)
    except ValueError as error:
        raise UserError(
            f"{path}: not a cls_labels.npy ({error}); take the file from the method's repository"
        ) from error
    width = len(next(iter(vectors.values())))
    if width != len(classes):
        raise UserError(
            f"{path}: its labels have {width} classes, not {len(classes)}; choose other --classes"
        )
    return {image: tuple(classes[k] for k in np.flatnonzero(vector).tolist()) for image, vector in vectors.items()}


def voc_id(key: Any) -> str | None:
    """2007000032 -> `2007_000032` (IRN, AMN); text stays (EPS, SEAM)."""
    if isinstance(key, str):
        return key
    return (
        f"{int(key) // 10**6:04d}_{int(key) % 10**6:06d}"
        if _is_number(key) and 10**9 <= key < 10**10
        else None
    )


def coco_key(key: Any) -> str | None:
    """9 -> `000000000009` (AMN); text stays (EPS: `COCO_train2014_000000000009`)."""
    if isinstance(key, str):
        return key
    return f"{int(key):012d}" if _is_number(key) and 0 <= key < 10**12 else None


def _is_number(key: Any) -> bool:
    return isinstance(key, int | np.integer) and not isinstance(key, bool)


def _vectors(table: Any, id_of: Callable[[Any], str | None]) -> dict[str, np.ndarray]:
    if not isinstance(table, dict) or not table:
        raise ValueError("it holds no dict of labels")
    found: dict[str, np.ndarray] = {}
    for key, vector in table.items():
        image = id_of(key)
        if image is None or image in found:
            raise ValueError(f"id {reprlib.repr(key)} is {'there twice' if image else 'not an image id'}")
        if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind not in "buif":
            raise ValueError(f"labels of {reprlib.repr(key)} are not a vector of numbers")
        if not np.isin(vector, (0, 1)).all():
            raise ValueError(f"labels of {reprlib.repr(key)} are not 0 or 1")
        found[image] = vector
    if len({len(vector) for vector in found.values()}) > 1:
        raise ValueError("its vectors differ in length")
    return found
