"""Walking a user's folders: links are followed, but not round in a circle."""

import os
from collections.abc import Iterator
from pathlib import Path

from wsss.errors import UserError

MOST_FILES = 3_000_000  # a link to the root of a disk leads to more


def files_below(folder: str | Path, hidden: bool = True) -> Iterator[str]:
    """Every file below `folder`, links that lead nowhere included, those of linked folders too.

    A link to a folder that it lies in is passed over: what is in there has been met already.

    Args:
        hidden: whether names that begin with a dot count.

    Raises:
        UserError: a folder cannot be read, or there are more files than any dataset has.
    """
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(os.fspath(folder), ())]
    count = 0
    while waiting:
        path, above = waiting.pop()
        here, entries = _opened(path)
        if here in above:
            continue
        for entry in entries:
            if not hidden and entry.name.startswith("."):
                continue
            if _is_folder(entry):
                waiting.append((entry.path, (*above, here)))
            elif _is_file(entry):
                count += 1
                yield entry.path
        if count > MOST_FILES:
            raise UserError(f"{folder}: more than {MOST_FILES:,} files in it; does a link in it lead to a whole disk? Take it out")


def _opened(path: str) -> tuple[tuple[int, int], list[os.DirEntry]]:
    """What the folder is, whatever it is called, and what is in it."""
    try:
        facts = os.stat(path)
        with os.scandir(path) as found:
            return (facts.st_dev, facts.st_ino), list(found)
    except OSError as error:
        raise UserError(f"{path}: this folder cannot be read ({error.strerror}); mend that, or take it out") from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry) -> bool:
    """Not a pipe or a device, which reading would wait for; but a link to nothing, of which a reader says so."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
