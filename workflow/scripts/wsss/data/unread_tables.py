"""Tables of labels in layouts that are not read: which one it is, and how it becomes one that is."""

from collections.abc import Mapping, Sequence

from wsss.data.columns import MEANT
from wsss.data.photos import SUFFIXES
from wsss.data.text import first_few
from wsss.engine.explain import for_people

TICKS = {"0", "1", "0.0", "1.0", "true", "false", "x", ""}  # in the cells of a column for each class
HEADER = for_people("line 1 is a photo's row already; write the names of the columns above it: image,labels")


def layout_fault(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str | None:
    """What a table without the columns that are read is instead, and the mend; None where that is not known.

    Args:
        header: names of the columns, in their order.
        rows: cells by column.
    """
    if any(name.strip().lower().endswith(SUFFIXES) for name in header):
        return HEADER
    read = {"image", "id", "split", "mask", *(word for words in MEANT.values() for word in words)}
    others = [name for name in header if name.strip() and name.strip().casefold() not in read]
    classes = [name for name in others if _is_ticked({row[name].strip().casefold() for row in rows})]
    if not classes:
        return None
    return for_people(f"has a column for each class ({first_few(classes)}), and one column with their names is read; docs/datasets.md has the lines of Python that join them")


def _is_ticked(cells: set[str]) -> bool:
    return cells <= TICKS and cells != {""}
