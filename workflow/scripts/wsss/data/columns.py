"""The columns of a user's table: those that are known, and those that look like one and would be left out in silence."""

import logging
from collections.abc import Mapping, Sequence, Set
from difflib import get_close_matches

from wsss.errors import UserError

log = logging.getLogger(__name__)
MEANT = {  # other words in use
    "split": ("splits", "set", "subset", "partition", "fold", "phase", "usage"),
    "labels": ("label", "class", "classes", "category", "categories", "tags"),
    "image": ("images", "img", "file", "filename", "file_name", "filepath", "path"),
    "id": ("ids", "image_id", "name"),
    "mask": ("masks", "mask_path", "segmentation", "ground_truth", "gt", "annotation"),
}
FLAGS = {"0", "1", "0.0", "1.0", "true", "false", "yes", "no", "y", "n", "x"}  # in a column that says yes or no
SPLIT_WORDS = {"train", "training", "val", "valid", "validation", "test", "testing", "trainval", "dev", "eval", "evaluation", "holdout", "held_out"}


def check_columns(path: object, rows: Sequence[tuple[int, Mapping[str, str]]], known: Sequence[str]) -> None:
    """Refuse columns that look like a known one; say which others are not read.

    Args:
        rows: (line number, cells) as read.
        known: names of the columns that are read.

    Raises:
        UserError: names each such column and the known one.
    """
    header = list(rows[0][1]) if rows else []
    strange = [name for name in header if name not in known]
    given = {*header, *({"id", "image"} if {"id", "image"} & set(header) else ())}  # either names the image
    wanted = [name for name in known if name not in given]
    meant = {name: _meant(name, known, wanted, {cells[name].strip().casefold() for _, cells in rows}) for name in strange}
    slips = [f"column {name!r} is not known; did you mean {near}?" for name, near in meant.items() if near]
    if slips:
        raise UserError(f"{path}: {' '.join(slips)} Rename it or take it out (known: {', '.join(known)})")
    if strange:
        log.warning("%s: columns that are not read: %s (read are %s)", path, ", ".join(map(repr, strange)), ", ".join(known))


def _meant(name: str, known: Sequence[str], wanted: Sequence[str], values: Set[str]) -> str | None:
    """The known column that is meant by `name`, in words; other names only for one of those that the table has not.

    Args:
        values: what its cells hold, in small letters.
    """
    word = name.strip().casefold().replace(" ", "_").replace("-", "_")
    if found := next((column for column in wanted if word in MEANT.get(column, ())), None):
        return repr(found)
    is_flag = word.removeprefix("is").strip("_") in SPLIT_WORDS and values - {""} and values <= FLAGS | {""}
    if "split" in wanted and "labels" not in wanted and is_flag:  # without labels it may be the column of the class train
        return "'split', whose cells hold the word train or val in place of yes or no"
    if near := get_close_matches(word, known, 1, 0.75):
        return repr(near[0])
    return repr("split") if "split" in wanted and values - {""} and values <= SPLIT_WORDS | {""} else None
