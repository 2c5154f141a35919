"""One photo under two ids: in training and in val it would be scored on what was learnt from it."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from wsss.data.manifest import Row
from wsss.data.text import first_few
from wsss.digest import sha256_file
from wsss.engine.threads import threaded

SHOWN = 3


def same_files(rows: Sequence[Row], root: Path) -> tuple[list[str], list[str]]:
    """(problems, what is to be said): a file, or a link to it, in training and val; copies of one, and doubles within a split.

    Files are told apart by device and inode; only those of equal size in both splits are read, for copies.
    """
    found = [(row, facts) for row in rows if (facts := _facts(root / row.image))]
    files = defaultdict(list)
    for row, facts in found:
        files[facts.st_dev, facts.st_ino].append(row)
    shared = [some for some in files.values() if len(some) > 1]
    problems = [
        f"{' and '.join(str(row.image) for row in some[:SHOWN])}: one file, in val and in training; it would be scored on what it learnt: keep one"
        for some in shared
        if len({"val" in row.splits for row in some}) > 1
    ]
    doubles = [some for some in shared if len({"val" in row.splits for row in some}) == 1]
    said = [_said(doubles, "photos have several ids (one file, or links to it)")] if doubles else []
    copies = _copies(found, root) if not problems else []
    return problems, said + ([_said(copies, "photos of val are in training too, as copies: they are scored on what was learnt")] if copies else [])


def _facts(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:  # named where it is opened
        return None


def _copies(found: Sequence[tuple[Row, os.stat_result]], root: Path) -> list[list[Row]]:
    """Rows of val and training whose files have the same content."""
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    for row, facts in found:
        sizes["val" in row.splits].add(facts.st_size)
    both = sizes[True] & sizes[False]
    rows = [row for row, facts in found if facts.st_size in both]
    groups = defaultdict(list)
    for row, digest in zip(rows, threaded(lambda row: sha256_file(root / row.image), rows), strict=True):
        groups[digest].append(row)
    return [some for some in groups.values() if len({"val" in row.splits for row in some}) > 1]


def _said(groups: Sequence[Sequence[Row]], words: str) -> str:
    some = first_few([" = ".join(row.id for row in rows[:SHOWN]) for rows in groups], SHOWN, "; ")
    return f"{len(groups)} {words} ({some})"
