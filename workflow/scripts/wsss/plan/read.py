"""What one stage reads of another."""

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
    """

    name: str
    stage: str
    file: str = INDEX
    of: str | None = None

    def asked_of(self, reader: Row) -> Row:
        """The row that is asked for it, where `reader` reads it: itself, or that of the other recipe."""
        return reader.other(self.of) if self.of else reader


CAM, SEEDS, IR_LABELS = Read("cam", "cam"), Read("seeds", "seeds"), Read("ir_labels", "ir_labels")
THRESHOLD = Read("threshold", "threshold", "threshold.json")
