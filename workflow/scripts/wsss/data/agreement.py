"""Whether ground-truth masks and image labels speak of the same classes, counted over a set: single files cannot tell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from wsss.constants import IGNORE
from wsss.data.manifest import Row
from wsss.data.text import first_few

# Where more than this share of the masks disagrees with the image labels, they are refused: numbers, files or labels are mixed
# up, and every figure would be wrong. Fewer are a warning. Outlines and labels drawn by different people differ in a few percent. Fewer
# than ENOUGH masks may be odd ones, and are no share of anything.
MOST, ENOUGH = 0.5, 3
# Another numbering is refused, whatever the share, where it explains at least EXPLAINED of the masks of the classes that
# it moves, the given one at most MOST of them, and each of those classes has at least ENOUGH masks.
EXPLAINED = 0.9
SEPARATOR = "; "  # class names may hold a comma


@dataclass(frozen=True, slots=True)
class Look:
    """What one mask holds beside what its image's labels say; classes from 1, as in masks."""

    id: str
    held: frozenset[int]
    ignored: bool  # any pixel of 255
    background: bool  # any pixel of 0
    claimed: frozenset[int]

    @property
    def denied(self) -> frozenset[int]:
        """Classes in the mask that the labels do not have."""
        return self.held - self.claimed

    @property
    def lacks(self) -> bool:
        """None of the claimed classes is there; what 255 covers may be one."""
        return bool(self.claimed) and not self.held & self.claimed and not (self.ignored and not self.held)

    @property
    def binary(self) -> bool:
        """Nothing but 0 and 255, though the labels claim a class."""
        return bool(self.claimed) and self.ignored and not self.held


def look(row: Row, values: bytes, index: dict[str, int]) -> Look:
    """A mask with these values. `index`: class name -> number in masks."""
    held = frozenset(values)
    return Look(row.id, held - {0, IGNORE}, IGNORE in held, 0 in held, frozenset(index[name] for name in row.labels))


def disagreements(looks: Sequence[Look], classes: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """(problems, what is to be said) of masks that belong together: one split, one kind.

    Args:
        looks: one a mask.
        what: names them, as "masks of training images".
    """
    binary = [one for one in looks if one.binary]
    if len(binary) > MOST * len(looks):
        return [_binary(binary, looks, what)], []
    if looks and all(one.ignored and not one.background for one in looks):
        no_background = [_no_background(looks, what)]
        return (no_background, []) if len(looks) >= ENOUGH else ([], no_background)
    wrong = [one for one in looks if one.denied or one.lacks]
    if not wrong and not binary:
        return [], []
    parts = [
        _some([f"{one.id}: {_names(one.denied, classes)}" for one in looks if one.denied], "hold classes that their image's labels deny"),
        _some([one.id for one in looks if one.lacks], "hold none of the classes that the labels claim"),
        _some([one.id for one in binary], "hold 0 and 255 (ignored) only, though the labels claim classes"),
    ]  # fmt: skip
    words = f"{what}: of {len(looks)}, {'; '.join(filter(None, parts))}"
    is_most = len(wrong) > MOST * len(looks) and len(wrong) >= ENOUGH
    if order := _other_order(looks, classes, 1 if is_most else ENOUGH):
        return [f"{words}; they seem to number the classes otherwise than the dataset: {order}; {_mend(classes)}"], []
    if is_most:
        return [f"{words}; mend labels or masks, or the order of classes: {_mend(classes)}"], []
    return [], [words]


def _binary(binary: Sequence[Look], looks: Sequence[Look], what: str) -> str:
    return (
        f"{what}: {len(binary)} of {len(looks)} hold 0 and 255 only ({first_few([one.id for one in binary], between=SEPARATOR)}); 255 is ignored in scores, "
        "so nothing would be left: write k for the k-th class (with one class 1 in place of 255)"
    )


def _no_background(looks: Sequence[Look], what: str) -> str:
    return (
        f"{what}: none of {len(looks)} holds 0 (background), and all hold 255 ({first_few([one.id for one in looks], between=SEPARATOR)}); 255 is ignored in "
        "scores, so masks that cover too much would look right: write 0 where no object is, and 255 only where nobody can say"
    )


def _mend(classes: Sequence[str]) -> str:
    first = first_few([f"{number} = {name}" for number, name in enumerate(classes, 1)])
    return f"0 is background, {first} (`classes` of the dataset sets the order)"


def _other_order(looks: Sequence[Look], classes: Sequence[str], enough: int) -> str:
    """The numbering that explains the masks better, where one does so well that it must be meant; else ""."""
    hits = np.zeros((len(classes), len(classes)), np.int64)  # masks that hold number v, of images that have label c
    held = np.zeros(len(classes), np.int64)
    for one in looks:
        values, labels = (np.array(sorted(some), int) - 1 for some in (one.held, one.claimed))
        held[values] += 1
        hits[np.ix_(values, labels)] += 1
    _, best = linear_sum_assignment(2 * hits + np.eye(len(classes), dtype=np.int64), maximize=True)
    moved = [v for v, c in enumerate(best) if hits[v, c] > hits[v, v]]
    if not moved or min(held[v] for v in moved) < enough:
        return ""
    total = sum(held[v] for v in moved)
    if sum(hits[v, best[v]] for v in moved) < EXPLAINED * total or sum(hits[v, v] for v in moved) > MOST * total:
        return ""
    return ", ".join(f"{v + 1} goes with {classes[best[v]]!r}, not {classes[v]!r}" for v in moved[:5])


def _names(numbers: Iterable[int], classes: Sequence[str]) -> str:
    return ", ".join(classes[number - 1] for number in sorted(numbers))


def _some(found: Sequence[str], words: str) -> str:
    return f"{len(found)} {words} ({first_few(found, between=SEPARATOR)})" if found else ""
