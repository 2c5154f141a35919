"""Text of users as it may be shown: characters that nobody sees, long lists, and cells that a spreadsheet would run."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from wsss.engine.explain import for_people

# Control characters, line ends, halves of pairs, and marks that turn the order of what follows or take no room.
# Joiners (U+200C, U+200D) belong to words of some languages.
_CATEGORIES = {"Cc", "Cs", "Zl", "Zp", "Cf"}
_JOINERS = "\u200c\u200d"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def hidden(text: str) -> str | None:
    """The first character of `text` that nobody sees, as U+000A, or None."""
    if text.isprintable():
        return None
    found = (c for c in text if c not in _JOINERS and unicodedata.category(c) in _CATEGORIES)
    return next((f"U+{ord(c):04X}" for c in found), None)


def shown(text: str) -> str:
    """`text` on one line: hidden characters as U+000A in brackets."""
    if hidden(text) is None:
        return text
    return "".join(f"<U+{ord(c):04X}>" if hidden(c) else c for c in text)


def of_windows(path: str | Path) -> str:
    """For the end of a line that says of a path that nothing is there: what is wrong with it where it is one of Windows."""
    if re.search(r"(^|/)[A-Za-z]:[\\/]", str(path)):
        return for_people(" (it is a path of Windows: under WSL C:\\photos is /mnt/c/photos)")
    return for_people(" (folders are parted by /, not by \\)") if "\\" in str(path) else ""


def first_few(names: Sequence[str], count: int = 3, between: str = ", ") -> str:
    """The first `count` of `names` in one line; three dots where there are more."""
    return between.join(names[:count]) + (f"{between}..." if len(names) > count else "")


def as_cell(text: str) -> str:
    """`text` for a CSV that people open: with an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
