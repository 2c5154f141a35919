"""Where the figures of a table come from: what differs between its columns, and everything as notes."""

from dataclasses import dataclass
from typing import Any

from wsss.report.cells import Table
from wsss.score.write import REDUNDANT, name_of, plain_words

Provenance = dict[str, Any]
UNTOLD = REDUNDANT | {"code_version"}  # differs whenever the chains do; it stands in the notes of a method's page


@dataclass(frozen=True)
class Sources:
    """differing: keys whose values are not the same everywhere, None where there are none; notes: one a column of it; across: what these columns are."""

    differing: Table | None
    notes: list[str]
    across: str = "columns"


def provenance_of(blocks: list[dict]) -> Provenance:
    """Of one figure over its seeds: what differs between them (the seed, a threshold) as a list, in their order."""
    sources = [block.get("provenance", {}) for block in blocks]
    found = {key: [source.get(key) for source in sources] for key in sources[0]}
    return {key: values[0] if all(v == values[0] for v in values) else values for key, values in found.items()}


def differing(columns: dict[str, dict[str, Provenance]]) -> Table | None:
    """The keys that say something else in one column than in another.

    columns: heading -> method -> provenance. Where the methods of a column differ among themselves their values stand
    there with the methods' names.
    """
    keys = sorted({key for sources in columns.values() for source in sources.values() for key in source} - UNTOLD)
    rows = [
        [name_of(key), *(_value(sources, key) for sources in columns.values())] for key in keys if _differs(columns, key)
    ]
    return Table("what differs", ["", *columns], rows, is_words=True) if rows else None


def _differs(columns: dict[str, dict[str, Provenance]], key: str) -> bool:
    """Whether some method has one value of a key in one column and another in another."""
    found: dict[str, set[str]] = {}
    for sources in columns.values():
        for method, value in _values(sources, key).items():
            found.setdefault(method, set()).add(value)
    return any(len(values) > 1 for values in found.values())


def note(heading: str, sources: dict[str, Provenance]) -> str:
    """One column in a sentence: what all methods share once, what differs a method."""
    keys = sorted({key for source in sources.values() for key in source} - REDUNDANT)
    shared, own = [], []
    for key in keys:
        word, values = name_of(key), _values(sources, key)
        if len(set(values.values())) == 1 and len(values) == len(sources):
            shared.append(f"{word} {next(iter(values.values()))}")
        elif key not in UNTOLD:
            own.append(f"{word} " + ", ".join(f"{value} ({name})" for name, value in values.items()))
    return f"{heading}: " + "; ".join(shared + own) + "."


def _value(sources: dict[str, Provenance], key: str) -> str | list[str]:
    """A key in one column: one value, or a line for each that methods have."""
    values = _values(sources, key)
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    if len(names) <= 1:
        return next(iter(names), "–")
    return [f"{value} ({', '.join(some)})" for value, some in names.items()]


def _values(sources: dict[str, Provenance], key: str) -> dict[str, str]:
    return {name: str(plain_words(source[key])) for name, source in sources.items() if key in source}
