"""Whether there is anything to learn from: training images, labels among them, and images of each class."""

from collections import Counter
from collections.abc import Sequence

from wsss.data.manifest import Row
from wsss.data.text import first_few


def unlearnable(rows: Sequence[Row], classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """(problems, what is to be said): no training image, none with a label; classes that no training image has, or one only."""
    training = [row for row in rows if "trainaug" in row.splits]
    if not rows:
        return [], []
    if not training:
        return ["no row is in training; give rows the split train, or leave the cell empty"], []
    taught = Counter(label for row in training for label in set(row.labels))
    if not taught:
        return ["no training image has a label, so there is nothing to learn from; label some"], []
    lost = [name for name in classes if name not in taught]
    rare = [name for name in classes if taught[name] == 1]
    said = [f"no training image has the label {first_few(lost, 5)}: nothing can be learned of it, and it will be found nowhere"] if lost else []
    said += [f"only one training image has the label {first_few(rare, 5)}: too little to learn from; add photos, or take the label out"] if rare else []
    said += [f"all training images have the same label, {first_few(sorted(taught))}: there is nothing to tell it from; add photos without it"] if _are_alike(training) else []
    return [], said


def _are_alike(training: Sequence[Row]) -> bool:
    return len(training) > 1 and len({frozenset(row.labels) for row in training}) == 1
