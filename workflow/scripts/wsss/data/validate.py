"""Every problem of a whole dataset at once, before anything is trained on it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wsss.data.class_names import bad_classes, unknown_class
from wsss.data.manifest import SPLITS, Row
from wsss.data.table import bad_id, listing
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.io.threads import threaded


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
    problems += file_problems(rows, len(classes), Path(root))
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
    found = threaded(lambda row: _row_file_problems(row, num_classes, root), rows)
    return [problem for problems in found for problem in problems]


def _row_file_problems(row: Row, num_classes: int, root: Path) -> list[str]:
    problems: list[str] = []
    image = _attempt(read_image, root / row.image, problems)
    size = None if image is None else image.shape[:2]
    for path in (row.mask, row.mask_train):
        mask = _attempt(read_mask, root / path, problems) if path else None
        if mask is not None:
            problems += [
                *_size_problems(root / path, mask, size),
                *_value_problems(root / path, mask, num_classes),
            ]
    saliency = _attempt(read_saliency, root / row.saliency, problems) if row.saliency else None
    if saliency is not None:
        problems += _size_problems(root / row.saliency, saliency, size)
    return problems


def _attempt(read: Callable[[Path], np.ndarray], path: Path, problems: list[str]) -> np.ndarray | None:
    try:
        return read(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _size_problems(path: Path, array: np.ndarray, size: tuple[int, int] | None) -> list[str]:
    if size is None or array.shape == size:
        return []
    (h, w), (image_h, image_w) = array.shape, size
    return [f"{path}: is {w}x{h}, its image {image_w}x{image_h} (after EXIF rotation); make them equal"]


def _value_problems(path: Path, mask: np.ndarray, num_classes: int) -> list[str]:
    wrong = [int(value) for value in np.unique(mask) if num_classes < value < 255]
    if not wrong:
        return []
    shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    return [f"{path}: values {shown} are neither 0..{num_classes} nor 255; 0 is background, k the k-th class"]
