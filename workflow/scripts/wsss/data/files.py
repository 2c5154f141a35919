"""The files of a dataset's rows, each decoded once: what is wrong with them, and what their masks hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from wsss.data.manifest import Row
from wsss.data.strange_files import strange
from wsss.data.text import first_few
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.io.images import read_photo, room_to_decode
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency

T = TypeVar("T")
MIRRORED = (2, 3, 4)  # EXIF orientations that keep height and width


@dataclass(frozen=True, slots=True)
class MapLook:
    """Of a saliency map: its darkest and brightest value, and the means over its border and over what lies inside, all 0 to 255."""

    darkest: int
    brightest: int
    border: float
    inside: float

    @classmethod
    def of(cls, saliency: np.ndarray) -> "MapLook":
        """saliency: (H, W) uint8. The border is a tenth of each side."""
        (height, width), total = saliency.shape, int(saliency.sum(dtype=np.int64))
        rows, columns = max(height // 10, 1), max(width // 10, 1)
        inner = saliency[rows : height - rows, columns : width - columns]
        within = int(inner.sum(dtype=np.int64))
        border = (total - within) / (saliency.size - inner.size)
        return cls(int(saliency.min()), int(saliency.max()), border, within / inner.size if inner.size else border)


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one row's files: its photo's size, the values in its masks, what its saliency map is like; None where there is none.

    untold: size could not tell whether the masks and the saliency map are turned.
    """

    size: tuple[int, int] | None = None
    mask: bytes | None = None
    mask_train: bytes | None = None
    saliency: "MapLook | None" = None
    untold: bool = False


def values_in(mask: np.ndarray) -> bytes:
    """The values of an (H, W) uint8 mask, ascending; counting takes half the time of sorting."""
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).astype(np.uint8).tobytes()


def file_problems(rows: Sequence[Row], num_classes: int, root: Path = Path()) -> list[str]:
    """Problems of all images, masks and saliency maps, in row order; each file is fully decoded.

    A mask or saliency map must have the image's size after EXIF orientation; masks are single-channel with
    0..num_classes and 255, saliency maps 8-bit gray ("L").
    """
    return look_at_files(rows, num_classes, root)[0]


def look_at_files(rows: Sequence[Row], num_classes: int, root: Path = Path()) -> tuple[list[str], list[Seen]]:
    """`file_problems`, and what was seen of each row."""

    def look(row: Row) -> tuple[list[str], Seen]:
        with room_to_decode(root / row.image):
            return _look_at_row(row, num_classes, root)

    found = list(threaded(look, rows))
    return [problem for problems, _ in found for problem in problems], [seen for _, seen in found]


def _look_at_row(row: Row, num_classes: int, root: Path) -> tuple[list[str], Seen]:
    problems: list[str] = []
    photo = _attempt(read_photo, root / row.image, problems)
    size, turned = (photo[0].shape[:2], photo[1]) if photo else (None, 1)
    values: dict[str, bytes] = {}
    for kind, path in (("mask", row.mask), ("mask_train", row.mask_train)):
        mask = _attempt(read_mask, root / path, problems) if path else None
        if path and mask is not None:
            values[kind] = values_in(mask)
            problems += _size_problems(root / path, mask, size, turned)
            problems += _value_problems(root / path, values[kind], num_classes)
    saliency = _attempt(read_saliency, root / row.saliency, problems) if row.saliency else None
    if row.saliency and saliency is not None:
        problems += _size_problems(root / row.saliency, saliency, size, turned)
    looks = None if saliency is None or not saliency.size else MapLook.of(saliency)
    untold = (bool(values) or saliency is not None) and turned != 1 and (turned in MIRRORED or (size is not None and size[0] == size[1]))
    return problems, Seen(size, values.get("mask"), values.get("mask_train"), looks, untold)


def _attempt(read: Callable[[Path], T], path: Path, problems: list[str]) -> T | None:
    try:
        return read(path)
    except UserError as error:
        problems.append(strange(path) or str(error))
        return None


def _size_problems(path: Path, array: np.ndarray, size: tuple[int, int] | None, turned: int) -> list[str]:
    if size is None or array.shape == size:
        return []
    (h, w), (image_h, image_w) = array.shape, size
    is_raw = array.shape == size[::-1] and turned not in (1, *MIRRORED)
    mend = f"it lies on the photo's pixels before EXIF orientation {turned}: turn it as that says" if is_raw else "make them equal"
    return [f"{path}: is {w}x{h}, its image {image_w}x{image_h} (after EXIF rotation); {mend}"]


def _value_problems(path: Path, values: bytes, num_classes: int) -> list[str]:
    wrong = [value for value in values if num_classes < value < 255]
    if not wrong:
        return []
    return [f"{path}: values {first_few(list(map(str, wrong)), 5)} are neither 0..{num_classes} nor 255; 0 is background, k the k-th class"]
