"""Class names as people write them: what cannot be a class, and what looks like a slip for another name."""

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher

from wsss.data.joined_names import joined_faults
from wsss.data.text import first_few, hidden, shown

SEPARATORS = ",|，；、؛،"  # between names where a ';' is meant
# What programs write where there is nothing, and what people call pixels of no class.
MISSING = {"nan", "none", "null", "n/a", "<na>", "nil", "unknown", "bg", "void", "ignore", "ignored", "unlabelled", "unlabeled", "undefined"}
YES_NO = {"true", "false", "yes", "no"}
JOINED = {"and", "or", "with"}  # words between two names
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
SCRIPTS = {"LATIN", "CYRILLIC", "GREEK"}  # whose letters look alike
MOST_CHARACTERS = 100
MOST_CLASSES = 254  # beside 0, the background, and 255
TAKEN = {"background", "threshold", "miou", "precision", "recall"}  # columns of our own beside those of the classes
ALIKE = 0.8  # difflib's ratio from which two names look alike: horse and house, dinner table and dining table
RARE = 0.1  # a name of at most this share of the images of one that it looks like is taken for a slip


def plain(name: str) -> str:
    """A name in Unicode's composed form, NFC: the same text is the same class, whatever program wrote it."""
    return unicodedata.normalize("NFC", name)


def bad_classes(classes: Sequence[str]) -> list[str]:
    """What is wrong with a list of foreground class names: unusable ones, two that nobody would tell apart, too many."""
    problems = [fault for name in classes for fault in _faults(name)]
    first: dict[str, int] = {}
    for number, name in enumerate(classes):
        if (before := first.setdefault(_key(name), number)) != number:
            other = classes[before]
            how = "is there twice" if plain(other) == plain(name) else f"beside {other!r}: only the spelling differs; write one"
            problems.append(f"class name {name!r} {how}")
    if not 1 <= len(classes) <= MOST_CLASSES:
        problems.append(f"{len(classes)} classes; 1 to {MOST_CLASSES} fit into an 8-bit mask")
    return problems


def bad_numbers(classes: Sequence[str]) -> list[str]:
    """Why names that are all numbers cannot be numbered by their order, where they are not 1, 2, 3 ... in masks too."""
    if not classes or not all(map(NUMBER.fullmatch, classes)):
        return []
    wrong = [f"{name!r} would be {number}" for number, name in enumerate(classes, 1) if name != str(number)]
    if not wrong:
        return []
    mend = 'list them in `classes` of the dataset in the order of their numbers in masks, in quotes (["3", "7"]), or write names'
    return [f"labels are numbers, and would have others in masks: {first_few(wrong)}; {mend}"]


@functools.lru_cache(1024)  # a table may have one mistake in every row
def unknown_class(name: str, classes: tuple[str, ...]) -> str:
    """A name that is none of `classes`, in words, with the nearest of them."""
    meant = [_nearest(part, classes) for part in re.split(f"[{SEPARATORS}]", name)]
    hint = ""
    if len(meant) > 1 and all(meant):
        hint = f" (put ';' between names: {';'.join(map(str, meant))})"
    elif meant[0]:
        hint = f" (did you mean {meant[0]!r}?)"
    return f"unknown class {name!r}{hint}"


def table_faults(counts: Mapping[str, int]) -> list[str]:
    """Labels of a table that no class can be meant by, where no list of classes says otherwise.

    Args:
        counts: label -> number of images.
    """
    joined = joined_faults(counts)
    return [f"label {label!r}: {fault}" for label in counts if (fault := _table_fault(label, counts, joined))]


def table_slips(counts: Mapping[str, int]) -> list[str]:
    """Rare labels that look like a common one: perhaps right, to be said."""
    slips = []
    common = [label for label, count in counts.items() if count > 1] if len(counts) <= MOST_CLASSES else []  # more are refused anyway
    for label, count in counts.items():
        near = [other for other in common if count <= max(1, RARE * counts[other]) < counts[other] and _is_near(label, other)]
        if near:
            other = max(near, key=counts.__getitem__)
            slips.append(f"{label!r} ({count} images) looks like {other!r} ({counts[other]} images)")
    return slips


def _faults(name: str) -> list[str]:
    if found := hidden(name):
        return [f"class name {shown(name)!r} holds the character {found}, which nobody sees; take it out"]
    if not name or name != name.strip() or ";" in name:
        return [f"class name {name!r} is empty, has a space at an end, or holds ';'"]
    if len(name) > MOST_CHARACTERS:
        return [f"class name {name[:20]!r}... has {len(name)} characters; at most {MOST_CHARACTERS}: shorten it"]
    taken = _key(name).strip("_- ")
    if taken == "background" or name in TAKEN:
        why = "which every dataset has; it is 0 in masks and no class of its own" if taken == "background" else "a column of ours"
        return [f"class name {name!r} is {taken}, {why}; rename it or take it out"]
    return []


def _table_fault(label: str, counts: Mapping[str, int], joined: Mapping[str, str]) -> str | None:
    meant = "; if that is its name, list it in `classes` of the dataset"
    if any(character in label for character in SEPARATORS):
        return f"names of classes are joined by ';'{meant}"
    parts = [part for part in re.split(r"[\W_]+", label) if part and part.casefold() not in JOINED]
    is_joined = bool(re.search(r"[&+/]|(?i:\b(and|or|with)\b)", label))  # one part that is a class shows what is meant
    if len(parts) > 1 and (any if is_joined else all)(part in counts for part in parts):
        known = [part for part in parts if part in counts]
        return f"{', '.join(known)} {'are classes of their' if len(known) > 1 else 'is a class of its'} own; join names by ';'{meant}"
    if label in joined:
        return f"{joined[label]}{meant}"
    if label.casefold() in MISSING:
        return f"says that there is none; leave the cell empty{meant}"
    if label.casefold() in YES_NO:
        return f"is yes or no, and no name of what is in the image; write its name{meant}"
    if all(unicodedata.category(character).startswith("P") for character in label):
        return f"has no letter and no digit; leave the cell empty where there is no label{meant}"
    if len(scripts := _scripts(label)) > 1:
        return f"has letters of {' and '.join(scripts)} that look alike in one word; type it again{meant}"
    if re.fullmatch(r"""\[.*\]|\{.*\}|\(.*\)|".*"|'.*'|[“„«‘].*[”“»’]""", label):
        return f"take the brackets or quotes away{meant}"
    return None


def _key(name: str) -> str:
    """Equal for names that differ in case, width, accents' Unicode form, or what joins their words."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\u200c\u200d]|(?<=[^\W_])[\s_-]+(?=[^\W_])", "", folded)


def _scripts(label: str) -> list[str]:
    """Of a word in letters of several alphabets those; [] where there is no such word."""
    for word in re.findall(r"[^\W\d_]+", label):
        found = {unicodedata.name(letter, "").split(" ")[0] for letter in word} & SCRIPTS
        if len(found) > 1:
            return sorted(found)
    return []


def _nearest(name: str, known: Collection[str]) -> str | None:
    keys = defaultdict(list)
    for other in known:
        keys[_key(other)].append(other)
    if found := keys.get(_key(name.strip())):
        return found[0]
    near = [other for other in known if _is_near(name, other)]
    return max(near, key=lambda other: _ratio(name, other), default=None)


def _is_near(name: str, other: str) -> bool:
    return name != other and (_ratio(name, other) >= ALIKE or sorted(_key(name)) == sorted(_key(other)))


def _ratio(name: str, other: str) -> float:
    return SequenceMatcher(None, _key(name), _key(other)).ratio()
