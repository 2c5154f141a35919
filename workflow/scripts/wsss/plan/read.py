"""What one stage reads of another."""

from dataclasses import replace
from typing import NamedTuple

from wsss.plan.paths import INDEX
from wsss.plan.row import Row


class Read(NamedTuple):
    """What one stage reads of another.

    Attributes:
        name: of the input.
        stage: the other stage.
        file: which of its files.
        of: the recipe that makes it, where it is another one.
        net: which network of the row; labels and masks are made of the first one's row.
    """

    name: str
    stage: str
    file: str = INDEX
    of: str | None = None
    net: int = 1

    def asked_of(self, reader: Row) -> Row:
        """The row that is asked for it, where `reader` reads it: itself, that of the other recipe, or of another network."""
        return replace(reader, recipe=self.of or reader.recipe, net=self.net)


CAM, SEEDS, IR_LABELS = Read("cam", "cam"), Read("seeds", "seeds"), Read("ir_labels", "ir_labels")
THRESHOLD = Read("threshold", "threshold", "threshold.json")
