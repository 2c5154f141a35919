"""Every problem of a whole dataset at once, before anything is trained on it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from wsss.data.agreement import ENOUGH, disagreements, look
from wsss.data.class_names import bad_classes, unknown_class
from wsss.data.files import MapLook, look_at_files
from wsss.data.manifest import SPLITS, Row
from wsss.data.same_files import same_files
from wsss.data.table import bad_id, listing
from wsss.data.text import first_few
from wsss.errors import UserError

log = logging.getLogger(__name__)
DARK = 8  # no map above it in a whole set: shares or class ids, not brightness
ODD = 0.5  # of the maps: above it the set is odd, not a map or two
SMALL = 32  # pixels: of a side below it CAM, at stride 16, has one value or two
MASKS = {  # what is counted together: the rows, and which of their masks
    "masks of training images": lambda row: "trainaug" in row.splits and "mask",
    "mask_train of training images": lambda row: "mask_train",
    "masks of val images": lambda row: "val" in row.splits and "mask",
}


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
    problems: list[str] = []
    first: dict[str, Row] = {}
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
        f"{row.id} ({row.image}): {unknown_class(label, tuple(classes))}; mend the label or add it to the classes"
        for label in row.labels
        if label not in classes
    ]
    if not row.labels and not allow_unlabelled:
        problems.append(
            f"{row.id} ({row.image}): has no label; add one, take it out, or set allow_unlabelled: true"
        )
    return problems


def set_problems(
    rows: Sequence[Row], classes: Sequence[str], name: str, root: Path = Path(), is_sound: bool = True
) -> list[str]:
    """Problems of all files; where there is none, those that only the whole set shows. What is only suspicious is a logged warning.

    Args:
        is_sound: whether ids, splits and labels are legal; else nothing is said of the set.
    """
    problems, seen = look_at_files(rows, len(classes), root)
    said: list[str] = []
    if is_sound and not problems:
        problems, said = same_files(rows, root)
        maps = {row.id: one.saliency for row, one in zip(rows, seen, strict=True) if one.saliency is not None}
        problems += _dark_maps([one.brightest for one in maps.values()])
        said += _odd_maps(maps)
        index = {name: number for number, name in enumerate(classes, 1)}
        for what, kind in MASKS.items():
            pairs = [(row, values) for row, one in zip(rows, seen, strict=True) if (of := kind(row)) and (values := getattr(one, of)) is not None]
            found, more = disagreements([look(row, values, index) for row, values in pairs], classes, what)
            problems, said = problems + found, said + more
        said += _tiny([row.id for row, one in zip(rows, seen, strict=True) if one.size and min(one.size) < SMALL], len(rows))
        said += _turned([row.id for row, one in zip(rows, seen, strict=True) if one.untold])
    for line in said:
        log.warning("%s: %s", name, line)
    return problems


def _dark_maps(brightest: Sequence[int]) -> list[str]:
    """Maps of 0 and 1, or all black: they were meant as shares, and would say of every pixel that it is not salient."""
    if not brightest or max(brightest) > DARK:
        return []
    return [
        f"saliency maps: none of {len(brightest)} holds a value above {max(brightest)}, and 255 is salient; "
        "multiply maps of 0 and 1 by 255, or take `saliency` out"
    ]


def _odd_maps(maps: dict[str, MapLook]) -> list[str]:
    """Maps that say the same of every pixel, or that most likely are inverted: objects seldom fill a photo's border and spare its middle."""
    flat = [name for name, one in maps.items() if one.darkest == one.brightest]
    turned = [name for name, one in maps.items() if one.border > one.inside]
    said = []
    if len(flat) > ODD * len(maps):
        said.append(f"saliency maps: {len(flat)} of {len(maps)} have one value all over ({first_few(flat)}), so nothing can be learned from them; make them again")
    if len(turned) > ODD * len(maps) and len(maps) >= ENOUGH:
        said.append(
            f"saliency maps: {len(turned)} of {len(maps)} are brighter along the border than inside ({first_few(turned)}); "
            "255 is salient: if the objects are dark in them, invert the maps (255 less each value)"
        )
    return said


def _tiny(ids: Sequence[str], photos: int) -> list[str]:
    """Thumbnails and tracking pixels among photos: legal, and of no use to a network."""
    words = f"{len(ids)} of {photos} photos have a side below {SMALL} pixels ({first_few(ids)}), of which a network sees next to nothing"
    return [f"{words}: put the photos in full size there, or take them out"] if ids else []


def _turned(ids: Sequence[str]) -> list[str]:
    words = f"{len(ids)} photos with masks or saliency maps are turned by EXIF and as large either way ({first_few(ids)}); what lies beside them has to be drawn on the turned photo"
    return [f"{words}: look at them in the panels"] if ids else []
