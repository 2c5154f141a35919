"""One photo under two ids: in training and in val it would be scored on what was learnt; with other labels, one of the two is wrong."""

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from wsss.data.manifest import Row
from wsss.data.text import first_few
from wsss.digest import sha256_file
from wsss.engine.threads import threaded

SHOWN = 3
TAIL = 4096  # bytes, at a file's end: files of equal size differ there unless they are copies, nearly always


def same_files(rows: Sequence[Row], root: Path) -> tuple[list[str], list[str]]:
    """(problems, what is to be said): a file, or a link to it, in training and val; copies of one, doubles within a split, and labels that contradict.

    Files are told apart by device and inode; copies by size, then by their ends, then by all they hold.
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
    if not problems:
        copies = _copies(found, root)
        leaked = [some for some in copies if len({"val" in row.splits for row in some}) > 1]
        said += [_said(leaked, "photos of val are in training too, as copies: they are scored on what was learnt")] if leaked else []
        said += _contradicting([[row for row in some if "trainaug" in row.splits] for some in copies])
    return problems, said


def _facts(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:  # named where it is opened
        return None


def _copies(found: Sequence[tuple[Row, os.stat_result]], root: Path) -> list[list[Row]]:
    """Rows whose files have the same content."""
    sizes = {row.id: facts.st_size for row, facts in found}
    groups = _alike([[row for row, _ in found]], lambda row: sizes[row.id])
    groups = _alike(groups, lambda row: _tail(root / row.image))
    return _alike(groups, lambda row: sha256_file(root / row.image))


def _alike(groups: Iterable[Sequence[Row]], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Each of `groups` parted by `key`; what is left alone is left out."""
    rows = [(number, row) for number, some in enumerate(groups) for row in some]
    found = defaultdict(list)
    for (number, row), value in zip(rows, threaded(lambda pair: key(pair[1]), rows), strict=True):
        found[number, value].append(row)
    return [some for some in found.values() if len(some) > 1]


def _tail(path: Path) -> bytes:
    with open(path, "rb") as handle:
        handle.seek(max(0, os.fstat(handle.fileno()).st_size - TAIL))
        return handle.read()


def _contradicting(groups: Sequence[Sequence[Row]]) -> list[str]:
    """What to say of training photos that are the same and have other labels."""
    wrong = [rows for group in groups if len(rows := _one_each(group)) > 1]
    if not wrong:
        return []
    shown = ["; ".join(f"{row.image}: {', '.join(row.labels) or 'none'}" for row in rows[:SHOWN]) for rows in wrong]
    return [f"{len(wrong)} photos are in training twice or more, with labels that contradict ({first_few(shown, SHOWN, ' | ')}): keep one row of each, with all its labels"]


def _one_each(rows: Sequence[Row]) -> list[Row]:
    """The first row of each set of labels."""
    first: dict[frozenset[str], Row] = {}
    for row in rows:
        first.setdefault(frozenset(row.labels), row)
    return list(first.values())


def _said(groups: Sequence[Sequence[Row]], words: str) -> str:
    some = first_few([" = ".join(row.id for row in rows[:SHOWN]) for rows in groups], SHOWN, "; ")
    return f"{len(groups)} {words} ({some})"
