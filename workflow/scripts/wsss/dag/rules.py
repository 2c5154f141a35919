"""What the rules ask: answers of the plan as functions of Snakemake's wildcards."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.io import ancient
from snakemake.logging import logger

from wsss.dag.mistakes import plainly
from wsss.dag.start import check_start, is_pydensecrf, require_pydensecrf
from wsss.engine.shards import index_paths
from wsss.engine.task import MANIFEST
from wsss.errors import UserError
from wsss.plan.plan import Plan
from wsss.plan.stages import STAGES
from wsss.plan.targets import final_targets


class FromPlan:
    """What the rules ask of the plan. Each answer is a function of wildcards.

    Args:
        home: the folder of the Snakefile.
        config: Snakemake's own, all overrides included; it gets the checked values.
    """

    def __init__(self, home: str, config: dict[str, Any]) -> None:
        self.plan: Plan = plainly(Plan, f"{home}/config", config)
        config.update(self.plan.main)
        self.runtime = self.plan.main["runtime"]
        self.tells_of_missing = False

    def inputs(self, stage: str) -> Callable[[Any], dict[str, Any]]:
        """Input function of a stage's rule, for `unpack`."""

        def inputs(wildcards: Any) -> dict[str, Any]:
            files = self.plan.inputs(stage, STAGES[stage].subject(wildcards))
            return {name: ancient(path) if name in MANIFEST else path for name, path in files.items()}

        return inputs

    def params(self, stage: str) -> dict[str, Callable[[Any], Any]]:
        """Name -> params function, of all that a stage is given."""

        def param(name: str) -> Callable[[Any], Any]:
            return lambda wildcards: self._answered(stage, name, wildcards)

        return {name: param(name) for name in STAGES[stage].params}

    def gpus(self, stage: str) -> Callable[[Any], int]:
        """Resource function: GPUs of a job."""
        return lambda wildcards: self.plan.gpus(stage, STAGES[stage].subject(wildcards))

    def torch_env(self, stage: str) -> str:
        """Environment of a stage that may use a GPU, with the build of PyTorch that `runtime.conda` names."""
        return f"../envs/{stage}{'.cpu' if self.runtime['conda'] == 'cpu' else ''}.yaml"

    @property
    def shards(self) -> int:
        """Jobs that a per-image stage is split into."""
        return self.runtime["shards"]

    def per_shard(self, path: str) -> str:
        """An index, log or benchmark of a per-image stage: as it stands, or one for each of its jobs."""
        if self.shards == 1:
            return path
        stem, end = os.path.splitext(path)
        parent, name = os.path.split(stem)
        folder = os.path.join(parent, "shards") if name == "index" else stem
        return f"{folder}/{{shard}}of{{shards}}{end}"

    def shards_of(self, folder: str) -> Callable[[Any], list[str]]:
        """Input function: what the jobs of a split stage declare, of which `merge` makes folder/index.json."""
        return lambda wildcards: [str(path) for path in index_paths(folder.format(**dict(wildcards.items())), self.shards)]

    def targets(self) -> list[str]:
        """What is made when a user names no file."""
        return plainly(final_targets, self.plan)

    def names(self) -> dict[str, list[str]]:
        """Wildcard -> what a user may write in its place, first what config.yaml names."""
        main = self.plan.main
        datasets, methods = (plainly(self.plan.config.names, kind) for kind in ("datasets", "methods"))
        return {
            "dataset": list(dict.fromkeys([*main["datasets"], *datasets])),
            "method": list(dict.fromkeys([*main["methods"], *methods])),
            "name": list(main["predict"]),
        }

    def misnamed(self) -> list[Path]:
        """Files of datasets and methods that nobody can ask for."""
        return [path for kind in ("datasets", "methods") for path in plainly(self.plan.config.misnamed, kind)]

    def warn_of_missing(self, workflow: Any) -> None:
        """A dry run ends before `check_start`: it says, of the first job whose CRF is pydensecrf's, that a run would miss the package."""
        self.tells_of_missing = workflow.output_settings.dryrun and not workflow.deployment_settings.deployment_method

    def _answered(self, stage: str, name: str, wildcards: Any) -> Any:
        found = self.plan.param(stage, name, STAGES[stage].subject(wildcards))
        if self.tells_of_missing and is_pydensecrf(found):
            self.tells_of_missing = False
            try:
                require_pydensecrf()
            except UserError as error:
                logger.warning(str(error))
        return found

    def check_start(self, workflow: Any) -> None:
        """Before the first job."""
        check_start(workflow, self.plan)
