"""A target that nothing makes: which one was meant."""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations

from wsss.recipes.schema import likeness
from wsss.rownames import NET, ROW_OR_NET, SEED

WILDCARD = re.compile(r"\{(\w+)[^{}]*\}")  # {method}, {method,CONSTRAINT}
NEAR = 0.6  # difflib's own bound of what is near
LAST = ("report/index.html", "miou.txt", "predictions/index.json", "index.json")  # of equally near files, the first of these
NOT_WRITTEN = 0.2  # what a name costs that the user left out
UNUSUAL = 0.5  # what a file costs that is none of LAST: a folder alone means what is mostly asked for


def near_target(written: str, outputs: Iterable[str], names: Mapping[str, list[str]]) -> str | None:
    """The file of a rule that looks most like `written`; None where none is near.

    Args:
        written: what a user asked for: a path below the working directory, or a part of one.
        outputs: what rules make, with Snakemake's wildcards, one at most in each part of the path.
        names: wildcard -> the names it may stand for, first the one to take where the user wrote none.
    """
    parts = written.removesuffix("/").split("/")
    found = [made for output in outputs for made in _fillings(parts, output.split("/"), names)]
    return max(found, key=lambda made: (made[0] - UNUSUAL * (_place(made[1]) == len(LAST)), -_place(made[1]), -len(made[1])), default=(0, None))[1]


def file_of(output: str, names: Mapping[str, list[str]]) -> str | None:
    """One file of a rule; None where a wildcard has no name."""
    return next((path for _, path in _fillings([], output.split("/"), names)), None)


def usual_files(outputs: Iterable[str]) -> list[str]:
    """What is mostly asked for, of what rules make: results/DATASET/METHOD/miou.txt and so on."""
    shapes = [WILDCARD.sub(lambda found: found[1].upper(), output) for output in outputs]
    return [min(fitting, key=len) for end in LAST[:-1] if (fitting := [shape for shape in shapes if shape.endswith(end)])]


def _place(path: str) -> int:
    return next((place for place, end in enumerate(LAST) if path.endswith(end)), len(LAST))


def _fillings(parts: list[str], pattern: list[str], names: Mapping[str, list[str]]) -> Iterable[tuple[float, str]]:
    """(How near, path) of each way to lay the parts over the pattern's, in their order; the pattern's others are filled in."""
    for places in combinations(range(len(pattern)), len(parts)):
        written = dict(zip(places, parts, strict=True))
        filled = [_part(part, written.get(place), names) for place, part in enumerate(pattern)]
        if all(near >= NEAR or place not in written for place, (near, _) in enumerate(filled)) and all(text for _, text in filled):
            near = sum(near for near, _ in filled) / max(len(parts), 1)
            yield near, "/".join(str(text) for _, text in filled)


def _part(pattern: str, written: str | None, names: Mapping[str, list[str]]) -> tuple[float, str | None]:
    """How near, and what stands in a part of the pattern; (0, None) where that is not known."""
    wildcard = WILDCARD.fullmatch(pattern)
    known = [pattern] if wildcard is None else names.get(wildcard[1], [])
    if "{" in pattern and wildcard is None or not known:
        return 0, None
    if written is None:
        return -NOT_WRITTEN if wildcard else 0, known[0]
    word, seed = _seed_apart(written) if wildcard else (written, "")
    near, name = max((likeness(word, name), name) for name in known)
    return near, name + seed * (wildcard is not None and wildcard[1] == "method")


def _seed_apart(part: str) -> tuple[str, str]:
    """`amn.seed02` -> amn, .seed2; the second is empty for seed 0, which has no name of its own, and for what is no number."""
    word, _, number = part.partition(SEED)
    digits = number.lstrip("0")
    return word, SEED + digits if re.fullmatch("[0-9]+", digits) else ""


def seed_fault(written: str) -> str:
    """What is wrong with the seed in a target, for the end of a message; empty where nothing is."""
    for part in written.split("/"):
        if re.fullmatch(ROW_OR_NET, part) and NET in part:
            return f"; {part} has a classifier and no more: its maps are averaged into {part.split(NET)[0]}"
        word, dot, number = part.partition(SEED)
        if dot and not re.fullmatch("[1-9][0-9]*", number):
            return f"; seeds are 1, 2, ...; plain {word} is seed 0"
    return ""
