"""Whether there is anything to learn from: training images, labels among them, and images of each class."""

from collections.abc import Sequence

from wsss.data.manifest import Row
from wsss.data.text import first_few


def unlearnable(rows: Sequence[Row], classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """(problems, what is to be said): no training image, none with a label; classes that no training image has."""
    training = [row for row in rows if "trainaug" in row.splits]
    if not rows:
        return [], []
    if not training:
        return ["no row is in training; give rows the split train, or leave the cell empty"], []
    taught = {label for row in training for label in row.labels}
    if not taught:
        return ["no training image has a label, so there is nothing to learn from; label some"], []
    lost = [name for name in classes if name not in taught]
    return [], [f"no training image has the label {first_few(lost, 5)}: nothing can be learned of it, and it will be found nowhere"] if lost else []
