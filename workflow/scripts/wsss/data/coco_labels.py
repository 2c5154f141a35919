"""The 80 classes of MS-COCO, its published image lists, and ids in the forms the field passes around."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss.data.table import listing
from wsss.data.voc_lists import read_id_list
from wsss.errors import UserError

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""In the order of the official category ids, which are sparse (1..90); here they are 1..80 in masks."""

SPLITS = ("train", "val")
COUNTS = {  # what `list` may be called by: the number of training images, and the val images that go with it
    2014: {82783: ("all", 40504), 82081: ("annotated", 40137)},
    2017: {118287: ("all", 5000), 117266: ("annotated", 4952)},
}
_ID = re.compile(r"(?:COCO_(train|val)(2014|2017)_)?(\d{1,12})")


@dataclass(frozen=True)
class ImageList:
    """Which images a dataset holds.

    Attributes:
        name: as the dataset file has it; stamped on scores.
        annotated: leave out images that have no annotation at all.
        counts: split -> number of images it must have; None: not checked.
    """

    name: str
    annotated: bool
    counts: dict[str, int | None]


def image_list(year: int, name: int | str) -> ImageList:
    """The list that `list:` in a dataset file names: a published count, `all`, or `annotated`.

    Raises:
        UserError: no list of that name in that year.
    """
    if name in ("all", "annotated"):
        return ImageList(str(name), name == "annotated", dict.fromkeys(SPLITS))
    if name not in COUNTS[year]:
        known = ", ".join(map(str, COUNTS[year]))
        raise UserError(f"coco: list {name} is not one of {year}; use {known}, all or annotated")
    kind, val = COUNTS[year][name]
    return ImageList(str(name), kind == "annotated", {"train": int(name), "val": val})


def coco_id(split: str, year: int, number: int) -> str:
    """`COCO_train2014_000000000009` in 2014, `000000000009` in 2017: the stem of the official file name."""
    return f"COCO_{split}{year}_{number:012d}" if year == 2014 else f"{number:012d}"


def image_number(text: str, split: str, year: int) -> int | None:
    """The number in an id of either form (EPS's `COCO_train2014_...`, IRN's bare digits); None where it is no
    id of this split and year."""
    match = _ID.fullmatch(text.removesuffix(".jpg"))
    if not match or (match[1] and (match[1], int(match[2])) != (split, year)):
        return None
    return int(match[3])


def any_number(text: str) -> int | None:
    """The number in an id of any split and year; None where it is no id. All images of COCO have numbers of their own."""
    match = _ID.fullmatch(text.removesuffix(".jpg"))
    return int(match[3]) if match else None


def read_numbers(path: Path, split: str, year: int, known: Container[int]) -> list[int]:
    """Image numbers of a list file, in file order.

    Raises:
        UserError: missing, empty or doubled lines, and every id that is not one of the `known` images.
    """
    numbers: dict[int, str] = {}
    problems = []
    for text in read_id_list(Path(path)):
        number = image_number(text, split, year)
        if number is None:
            problems.append(f"{text} is no id of {split}{year} ({coco_id(split, year, 9)})")
        elif number in numbers:
            problems.append(f"{text} is the image of {numbers[number]}, which stands there already")
        elif number not in known:
            problems.append(f"{text} is not in instances_{split}{year}.json")
        else:
            numbers[number] = text
    if problems:
        raise UserError(listing(f"{path}: not a list of {split}{year} images; mend these lines", problems))
    return list(numbers)


def check_counts(counts: dict[str, int], expected: dict[str, int | None], chosen: ImageList) -> None:
    """UserError naming every split whose number of images is not the expected one (None: not checked)."""
    problems = [
        f"{split}: {counts[split]} images, {want} expected "
        f"({abs(want - counts[split])} {'missing' if counts[split] < want else 'too many'})"
        for split, want in expected.items()
        if want is not None and counts[split] != want
    ]
    if problems:
        mend = (
            f"give the official annotations and lists, or, if this copy is meant to differ, set `list: "
            f"{'annotated' if chosen.annotated else 'all'}` (not counted) or `expected_counts`"
        )
        raise UserError("\n  ".join([f"coco: not the images of list {chosen.name}:", *problems, mend]))


def same_name(names: Sequence[str]) -> dict[str, str]:
    """Spelling -> class name, for names with spaces as for the same with underscores (`stop_sign`)."""
    return {spelling: name for name in names for spelling in (name, name.replace(" ", "_"))}
