"""Which class is taken for which: the first seed of each method, at its last stage."""

from typing import Any

from wsss.report.cells import Table
from wsss.score.write import SHOWN_CONFUSIONS

ARROW = "→"


def confusion_table(blocks: dict[str, dict[str, Any]]) -> Table | None:
    """A row a method, its costliest confusions from left to right; None where no block names any.

    blocks: method -> block of scores.json.
    """
    found = {method: block.get("top_confusions", [])[:SHOWN_CONFUSIONS] for method, block in blocks.items()}
    most = max(map(len, found.values()), default=0)
    rows = [[method, *map(_cell, pairs), *[""] * (most - len(pairs))] for method, pairs in found.items() if pairs]
    head = ["method", *(f"{number}." for number in range(1, most + 1))]
    return Table("which class is taken for which", head, rows, is_words=True) if rows else None


def _cell(pair: dict[str, Any]) -> list[str]:
    return [f"{pair['truth']} {ARROW} {pair['taken_for']}", f"{pair['percent']:.1f} % of {pair['of']}"]
