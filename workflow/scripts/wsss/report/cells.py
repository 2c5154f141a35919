"""What tables of the pages hold; templates make HTML of it, so nothing here is escaped or marked up."""

from dataclasses import dataclass
from typing import Any

from wsss.report.repeats import spread


@dataclass(frozen=True)
class Cell:
    """A cell that is more than its text: a link, the best of its column, a footnote's number, words in a softer colour, and a tone.

    tone: "better" or "worse", in colour; the sign of the text says it too.
    """

    text: str
    soft: str = ""
    href: str = ""
    note: str = ""
    is_best: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells (a Cell, a string or number, or a list of lines); the first of a row names it.

    label: what a screen reader calls it; is_words: its cells are sentences and may wrap.
    """

    label: str
    head: list[Any]
    rows: list[list[Any]]
    is_words: bool = False


def figure(value: float | None, digits: int = 1) -> str:
    """A number as the pages print it; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def over_seeds(values, digits: int = 1) -> Cell:
    """One figure of all seeds, mean and ± standard deviation."""
    found = spread(values)
    if found is None or found.std is None:
        return Cell(figure(found.mean if found else None, digits))
    return Cell(figure(found.mean, digits), soft=f"± {found.std:.{digits}f}")


def dig(obj: Any, keys) -> Any:
    """`obj[key][key]...`, None where one is missing."""
    for key in keys:
        obj = (obj or {}).get(key)
    return obj
