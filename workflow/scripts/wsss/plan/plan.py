"""The plan of a run: which recipe makes what, where it lies, and what each stage reads and is given.

Everything is answered from config files and from the table of stages (wsss.plan.stages). Snakemake is not
imported here: wsss.dag.rules puts these answers into its rules.
"""

import functools
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from wsss.errors import UserError
from wsss.plan import chain
from wsss.plan.imported_stages import require_import
from wsss.plan.paths import INDEX, import_folder
from wsss.plan.read import Read
from wsss.plan.row import Row
from wsss.plan.stages import CHAIN, STAGES
from wsss.recipes.config import Config


def _remembered(method: Callable) -> Callable:
    """Answers found once: thousands of jobs ask alike. Callers must not change what they are given."""

    @functools.wraps(method)
    def answer(self: "Plan", *args: Hashable) -> Any:
        key = method.__name__, *args
        if key not in self._answers:
            self._answers[key] = method(self, *args)
        return self._answers[key]

    return answer


class Plan:
    """Answers for the config files of one project.

    Args:
        folder: the folder config/.
        main: content of config.yaml, command-line overrides included.

    Raises:
        UserError: by every method, for what is wrong in a config file, a name, or the user's own data.
    """

    def __init__(self, folder: str | Path, main: dict[str, Any]) -> None:
        self.config = Config(folder, main)
        self._answers: dict[tuple, Any] = {}

    @property
    def chain_stages(self) -> tuple[str, ...]:
        """The stages from image labels to predictions, in order."""
        return tuple(CHAIN)

    @property
    def main(self) -> dict[str, Any]:
        """The checked content of config.yaml."""
        return self.config.main

    def recipe(self, row: Row) -> dict[str, Any]:
        """The resolved recipe of a row."""
        return self.config.recipe(row.recipe, row.dataset)

    @_remembered
    def owner(self, row: Row, stage: str) -> Row:
        """The row that runs `stage` for this one, following `from:`. A threshold stands with the CAMs it cuts."""
        return row.other(self.config.owner(row.recipe, row.dataset, "cam" if stage == "threshold" else stage))

    def section(self, row: Row, stage: str) -> dict[str, Any]:
        """The settings a stage of the row runs with, in whichever recipe they stand."""
        return self.recipe(self.owner(row, stage))[stage]

    def is_imported(self, row: Row, stage: str) -> bool:
        """Whether what stands in the place of the row's stage was imported."""
        return "import" in self.recipe(self.owner(row, stage)).get(stage, {})

    @_remembered
    def artefact(self, row: Row, stage: str, name: str = INDEX) -> str:
        """Path of a file of `stage` as the row sees it: its own, of the recipe it takes the stage from, or imported."""
        owner = self.owner(row, stage)
        if self.is_imported(owner, stage):
            source = self.recipe(owner)[stage]["import"]
            require_import(row.dataset, source, stage)
            return f"{import_folder(row.dataset, source, stage)}/{name}"
        return f"{owner.folder}/{stage}/{name}"

    @_remembered
    def reads(self, row: Row, stage: str) -> tuple[Read, ...]:
        """What a stage of the row reads of other stages; nothing where it is imported."""
        return () if self.is_imported(row, stage) else tuple(STAGES[stage].reads(self, row))

    @_remembered
    def behind(self, row: Row, stage: str) -> tuple[chain.Link, ...]:
        """See `chain.behind`."""
        return chain.behind(self, row, stage)

    @_remembered
    def imports_behind(self, row: Row, stage: str = "predictions") -> dict[str, tuple[str, ...]]:
        """See `chain.imports_behind`."""
        return chain.imports_behind(self, row, stage)

    @_remembered
    def inputs(self, stage: str, subject: Hashable) -> dict[str, Any]:
        """Name -> path of all that a stage reads.

        Args:
            subject: what a job of the stage is for, `STAGES[stage].subject` of its wildcards: mostly a Row.
        """
        entry = STAGES[stage]
        entry.refuse(self, subject)
        files = {name: path for part in entry.other_files for name, path in part(self, subject).items()}
        return files | self.files_read(stage, subject) if isinstance(subject, Row) else files

    def files_read(self, stage: str, row: Row) -> dict[str, str]:
        """Name -> path of what a stage of the row reads of other stages."""
        return {read.name: self.artefact(read.asked_of(row), read.stage, read.file) for read in self.reads(row, stage)}

    @_remembered
    def param(self, stage: str, name: str, subject: Hashable) -> Any:
        """One of the things that a stage is given beside files."""
        return STAGES[stage].params[name](self, subject)

    def params(self, stage: str, subject: Hashable) -> Mapping[str, Any]:
        """Name -> value of all that a stage is given beside files."""
        return {name: self.param(stage, name, subject) for name in STAGES[stage].params}

    def gpus(self, stage: str, subject: Hashable) -> int:
        """GPUs of a job."""
        gpus = STAGES[stage].gpus
        return gpus if isinstance(gpus, int) else gpus(self, subject)

    def own_section(self, row: Row, stage: str) -> dict[str, Any]:
        """The settings of a stage that the row's own recipe runs.

        Raises:
            UserError: it runs no such stage.
        """
        section = self.recipe(row).get(stage)
        if section is None:
            raise UserError(f"method {row.method} has no stage {stage} in its recipe; ask for another method's file")
        if "from" in section:
            raise UserError(f"method {row.method} takes its {stage} from recipe {section['from']}; ask for that recipe's file instead")
        if "import" in section:
            raise UserError(f"method {row.method} imports its {stage} ({section['import']}); ask for a later stage instead")
        return section
