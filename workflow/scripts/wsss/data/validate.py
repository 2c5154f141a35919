"""Every problem of a whole dataset at once, before anything is trained on it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from wsss.data.agreement import disagreements, look, values_in
from wsss.data.class_names import bad_classes, unknown_class
from wsss.data.manifest import SPLITS, Row
from wsss.data.same_files import same_files
from wsss.data.table import bad_id, listing
from wsss.errors import UserError
from wsss.io.images import read_photo
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.io.threads import threaded

log = logging.getLogger(__name__)
T = TypeVar("T")
MIRRORED = (2, 3, 4)  # EXIF orientations that keep height and width
MASKS = {  # what is counted together: the rows, and which of their masks
    "masks of training images": lambda row: "trainaug" in row.splits and "mask",
    "mask_train of training images": lambda row: "mask_train",
    "masks of val images": lambda row: "val" in row.splits and "mask",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one row's files: the values in its masks, None where there is none; whether size could not tell if they are turned."""

    mask: bytes | None = None
    mask_train: bytes | None = None
    untold: bool = False


def validate(
    rows: Sequence[Row],
    classes: Sequence[str],
    *,
    root: str | Path = "",
    allow_unlabelled: bool = False,
    name: str = "dataset",
) -> None:
    """Check ids, splits, labels and every file (all are decoded); images of any size from 1x1 on are legal.

    Args:
        rows: as a builder found them; paths absolute or relative to `root`.
        classes: foreground class names; masks may hold 0..len(classes) and 255.
        allow_unlabelled: whether a row without labels is legal (background only).

    Raises:
        UserError: one message with every problem, each naming its file or id and the mend (50 are printed).
    """
    problems = [*bad_classes(classes), *_table_problems(rows, classes, allow_unlabelled)]
    problems += set_problems(rows, classes, name, Path(root), not problems)
    if problems:
        raise UserError(
            listing(f"{name}: bad entries, mend them all and run the same command again", problems)
        )


def _table_problems(rows: Sequence[Row], classes: Sequence[str], allow_unlabelled: bool) -> list[str]:
    if not rows:
        return ["there is no image at all; check the image folder and the lists"]
    problems = _id_problems(rows)
    for row in rows:
        problems += [*_split_problems(row), *_label_problems(row, classes, allow_unlabelled)]
    return problems


def _id_problems(rows: Sequence[Row]) -> list[str]:
    problems, first = [], {}
    for number, row in enumerate(rows, 1):
        reason = bad_id(row.id)
        if reason:
            problems.append(
                f"row {number}: id {row.id!r} {reason}; an id must serve as a file name: rename it"
            )
        if row.id in first:
            other = first[row.id]
            problems.append(
                f"{row.id}: duplicate id ({other.image} and {row.image}); take one out or rename it"
            )
        first.setdefault(row.id, row)
    return problems


def _split_problems(row: Row) -> list[str]:
    problems = [
        f"{row.id}: unknown split {split!r}; use {', '.join(SPLITS)}"
        for split in row.splits
        if split not in SPLITS
    ]
    if not row.splits:
        problems.append(f"{row.id}: is in no split; use {', '.join(SPLITS)}")
    if "train" in row.splits and "trainaug" not in row.splits:
        problems.append(f"{row.id}: is in train but not in trainaug; train must be a part of trainaug")
    if "val" in row.splits and {"train", "trainaug"} & set(row.splits):
        problems.append(
            f"{row.id}: is in val and in training; it would be scored on what it learnt: keep one"
        )
    return problems


def _label_problems(row: Row, classes: Sequence[str], allow_unlabelled: bool) -> list[str]:
    problems = [
        f"{row.id} ({row.image}): {unknown_class(label, classes)}; mend the label or add it to the classes"
        for label in row.labels
        if label not in classes
    ]
    if not row.labels and not allow_unlabelled:
        problems.append(
            f"{row.id} ({row.image}): has no label; add one, take it out, or set allow_unlabelled: true"
        )
    return problems


def file_problems(rows: Sequence[Row], num_classes: int, root: Path = Path()) -> list[str]:
    """Problems of all images, masks and saliency maps, in row order; each file is fully decoded.

    A mask or saliency map must have the image's size after EXIF orientation; masks are single-channel with
    0..num_classes and 255, saliency maps 8-bit gray ("L").
    """
    return _look_at_files(rows, num_classes, root)[0]


def set_problems(
    rows: Sequence[Row], classes: Sequence[str], name: str, root: Path = Path(), is_sound: bool = True
) -> list[str]:
    """`file_problems`, and where there is none what only the whole set shows; what may be right is logged as a warning.

    Args:
        is_sound: whether ids, splits and labels are legal; else masks are not held against them.
    """
    problems, seen = _look_at_files(rows, len(classes), root)
    found, said = same_files(rows, root)
    problems += found
    if is_sound and not problems:
        index = {name: number for number, name in enumerate(classes, 1)}
        for what, kind in MASKS.items():
            pairs = [(row, values) for row, one in zip(rows, seen, strict=True) if (of := kind(row)) and (values := getattr(one, of)) is not None]
            found, more = disagreements([look(row, values, index) for row, values in pairs], classes, what)
            problems, said = problems + found, said + more
        said += _turned([row.id for row, one in zip(rows, seen, strict=True) if one.untold])
    for line in said:
        log.warning("%s: %s", name, line)
    return problems


def _turned(ids: Sequence[str]) -> list[str]:
    some = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    words = f"{len(ids)} photos with masks are turned by EXIF and as large either way ({some}); their masks have to be drawn on the turned photo"
    return [f"{words}: look at them in the panels"] if ids else []


def _look_at_files(rows: Sequence[Row], num_classes: int, root: Path) -> tuple[list[str], list[Seen]]:
    found = list(threaded(lambda row: _look_at_row(row, num_classes, root), rows))
    return [problem for problems, _ in found for problem in problems], [seen for _, seen in found]


def _look_at_row(row: Row, num_classes: int, root: Path) -> tuple[list[str], Seen]:
    problems: list[str] = []
    photo = _attempt(read_photo, root / row.image, problems)
    size, turned = (photo[0].shape[:2], photo[1]) if photo else (None, 1)
    values: dict[str, bytes] = {}
    for kind, path in (("mask", row.mask), ("mask_train", row.mask_train)):
        mask = _attempt(read_mask, root / path, problems) if path else None
        if mask is not None:
            values[kind] = values_in(mask)
            problems += _size_problems(root / path, mask, size, turned)
            problems += _value_problems(root / path, values[kind], num_classes)
    saliency = _attempt(read_saliency, root / row.saliency, problems) if row.saliency else None
    if saliency is not None:
        problems += _size_problems(root / row.saliency, saliency, size, turned)
    untold = bool(values) and turned != 1 and (turned in MIRRORED or size[0] == size[1])
    return problems, Seen(values.get("mask"), values.get("mask_train"), untold)


def _attempt(read: Callable[[Path], T], path: Path, problems: list[str]) -> T | None:
    try:
        return read(path)
    except UserError as error:
        problems.append(str(error))
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
    shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return [f"{path}: values {shown} are neither 0..{num_classes} nor 255; 0 is background, k the k-th class"]
