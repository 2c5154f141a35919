"""Labels that hold more than one name: several classes in one cell, or a count, a score or a sign beside the name."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence, Set

from wsss.data.text import first_few

PARTS = re.compile(r"\s*[/\\+:·•>]\s*|\s+[-–—]\s+|\.\s+")  # what stands between names, and seldom within one
SOFT_PARTS = re.compile(r"\s*&\s*|\s+(?:and|or|with)\s+", re.IGNORECASE)  # ham and cheese, cheese and onion: names of dishes
WORDS = re.compile(r"[\s_-]+")
FEWEST = 3  # labels of several words from which their words tell
NUMBER = r"(?:\d+[.]\d*|[.]\d+|\d+(?=\s*%))\s*%?"  # with a point or a per cent: no part of a name
SCORES = (
    re.compile(rf"(?P<name>.*\w)\s*(?:\(\s*{NUMBER}\s*\)|\[\s*{NUMBER}\s*\]|[:=@]\s*{NUMBER}|\s{NUMBER})"),
    re.compile(r"(?P<name>.*\w)(?:\s+x|\s*[×*])\s?\d+", re.IGNORECASE),
    re.compile(r"\d+\s?[x×*]\s+(?P<name>.*\w)", re.IGNORECASE),
)
WHOLE = re.compile(r"(?P<name>.*\w)\s*(?:\(\s*\d+\s*\)|[:=@]\s*\d+)")  # grade:1 and grade:2 are classes, cat:1 and dog:0 are not
SIGNED = re.compile(r"[!¬~?+−–—-]\s?(?P<name>[^\W\d_].*)")
MARKED = re.compile(r"[#@*^](?P<left>[^\W\d_].*)|(?P<right>.*\w)\s?[?*]")


def joined_faults(labels: Collection[str]) -> dict[str, str]:
    """Labels that are several names, or no name alone, as the other labels show -> what to do."""
    parts = _several(labels, PARTS)
    mixed = _mixed(parts.values())
    found = {label: _words(set(some) & mixed) for label, some in parts.items() if set(some) & mixed}
    words = _several(set(labels) - parts.keys(), WORDS)
    found |= {label: _words(set(some)) for label, some in words.items() if label in _sets(words, labels)}
    return found | _besides(labels)


def joined_doubts(labels: Collection[str]) -> list[str]:
    """Labels that may be several names, each with what it shares with others."""
    found: dict[str, Set[str]] = {}
    for between in (PARTS, SOFT_PARTS):
        parts = _several([label for label in labels if label not in found], between)
        shared = _repeated([*parts.values(), *([label.casefold()] for label in labels if label not in parts)])
        found |= {label: set(some) & shared for label, some in parts.items() if set(some) & shared}
    words = _several([label for label in labels if not PARTS.search(label) and not SOFT_PARTS.search(label)], WORDS)
    mixed = _mixed(words.values())
    both = {label: set(some) & mixed for label, some in words.items() if set(some) & mixed}
    found |= both if 2 * len(both) >= len(words) else {}  # fewer meet by chance: fire salamander, forest fire
    return [f"{label!r} (shares {', '.join(sorted(shared))})" for label, shared in found.items()]


def _several(labels: Iterable[str], between: re.Pattern[str]) -> dict[str, list[str]]:
    """Labels of several parts with a letter in each -> the parts, in small letters."""
    parts = {label: [part for part in between.split(label.casefold()) if part] for label in labels}
    return {label: some for label, some in parts.items() if len(some) > 1 and all(re.search(r"[^\W\d_]", part) for part in some)}


def _mixed(groups: Iterable[Sequence[str]]) -> set[str]:
    """Parts that are the first of one group and not of another: in animal/cat and animal/dog, or red car and red bus, none is."""
    groups = list(groups)
    return {some[0] for some in groups} & {part for some in groups for part in some[1:]}


def _repeated(groups: Iterable[Iterable[str]]) -> set[str]:
    counts: defaultdict[str, int] = defaultdict(int)
    for some in groups:
        for part in set(some):
            counts[part] += 1
    return {part for part, count in counts.items() if count > 1}


def _sets(words: dict[str, list[str]], labels: Collection[str]) -> set[str]:
    """Labels that are sets of words: all of them, where each word is in several and some change places; those that differ by order alone."""
    groups = defaultdict(list)
    for label, some in words.items():
        groups[frozenset(some)].append(label)
    turned = {label for same in groups.values() for label in same if len({tuple(words[one]) for one in same}) > 1}
    repeated = _repeated([*words.values(), *([label.casefold()] for label in labels if label not in words)])
    are_sets = len(words) >= FEWEST and _mixed(words.values()) and all(set(some) <= repeated for some in words.values())
    return set(words) if are_sets else turned


def _words(shared: Set[str]) -> str:
    names = sorted(shared)
    return f"{first_few(names)} {'stand' if len(names) > 1 else 'stands'} in other labels too; join names by ';'"


def _besides(labels: Collection[str]) -> dict[str, str]:
    """What to say of labels with a count, a score or a sign, where the name stands alone too, or others have the like."""
    scored = {label: name for label in labels if (name := _scored(label))}
    whole = {label: match["name"] for label in labels if (match := WHOLE.fullmatch(label))}
    several_whole = len(set(whole.values())) > 1
    found: dict[str, str] = {}
    for label in labels:
        marked = MARKED.fullmatch(label)
        if signed := SIGNED.fullmatch(label):
            found[label] = f"has a sign in front; write {signed['name']!r}, or nothing where it is not in the image"
        elif marked and (name := marked["left"] or marked["right"]) in labels:
            found[label] = f"is {name!r} with a mark; write the name alone"
        elif label in scored and (scored[label] in labels or len(scored) > 1):
            found[label] = f"has a count or a score beside the name; write {scored[label]!r}"
        elif label in whole and (whole[label] in labels or several_whole):
            found[label] = f"has a number beside the name; write {whole[label]!r}, and leave out what is not in the image"
    return found


def _scored(label: str) -> str | None:
    found = next((match for pattern in SCORES if (match := pattern.fullmatch(label))), None)
    return found["name"] if found and re.search(r"[^\W\d_]", found["name"]) else None
