"""Between Snakemake and the plan: answers as functions of wildcards, mistakes in one line, and checks before a run."""

import functools
import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import snakemake.rules
from snakemake.exceptions import MissingRuleException, WorkflowError
from snakemake.io import ancient
from snakemake.logging import logger
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args

from wsss.engine.cluster import end_jobs, refuse_shell_words
from wsss.engine.shards import index_paths
from wsss.engine.task import MANIFEST
from wsss.errors import UserError
from wsss.plan.near_targets import file_of, near_target, usual_files
from wsss.plan.plan import Plan
from wsss.plan.stages import STAGES
from wsss.plan.targets import final_targets
from wsss.plan.watched import require_manifest
from wsss.recipes.config import MISNAMED
from wsss.recipes.schema import read_yaml

NO_PERMISSION = "no permission to write there; change its mode or owner, or work in another folder (--directory)"
NO_TRACEBACK: Any = property(lambda error: None, lambda error, found: None)  # whatever contextlib puts there on the way


class Mistake(WorkflowError):
    """A mistake of the user's. Ends Snakemake in its own words: where in the rules it came up helps nobody."""

    __traceback__ = NO_TRACEBACK  # Snakemake prints what it finds here


Mistake.__name__ = "WorkflowError"


def plainly(function: Callable, *args: Any) -> Any:
    """function(*args); a UserError ends Snakemake with its own words instead of a traceback."""
    try:
        return function(*args)
    except UserError as error:
        raise Mistake(str(error)) from None


def tell_mistakes_plainly() -> None:
    """Input and params functions, too, end in one line: Snakemake puts rule, wildcards and traceback around theirs."""
    wrapped = snakemake.rules.InputFunctionException
    if hasattr(wrapped, "in_own_words"):
        return

    class Wrapped(wrapped):  # type: ignore[misc, valid-type]  # whichever class Snakemake has
        in_own_words = True

        def __init__(self, msg: Any, *args: Any, **more: Any) -> None:
            if isinstance(msg, UserError | Mistake):
                WorkflowError.__init__(self, str(msg))
                self.__class__ = Plain
            else:
                super().__init__(msg, *args, **more)

    class Plain(Wrapped):
        __traceback__ = NO_TRACEBACK

    Wrapped.__name__, Plain.__name__ = wrapped.__name__, "WorkflowError"
    snakemake.rules.InputFunctionException = Wrapped


def name_near_targets(workflow: Any, names: dict[str, list[str]], misnamed: Iterable[Path] = ()) -> None:
    """Where no rule makes what a user asks for, the run's last line names the file that was meant.

    What it says comes after Snakemake has found no rule, so that it refuses nothing that a workflow around this one makes.

    Args:
        names: wildcard -> the names it may stand for, first the one to show where the user wrote none.
        misnamed: config files whose names no target can have.
    """
    # Not above: before a run has begun this module of Snakemake and snakemake.rules import each other.
    from snakemake.workflow import DAG

    jobs_of_file, job_of_rule = DAG.file2jobs, DAG.rule2job
    if hasattr(jobs_of_file, "__wrapped__"):
        return

    @functools.wraps(jobs_of_file)
    async def file2jobs(self: Any, file: str, *args: Any, **more: Any) -> Any:
        try:
            return await jobs_of_file(self, file, *args, **more)
        except MissingRuleException:
            asked = {os.path.relpath(target) for target in workflow.dag_settings.targets}
            written = os.path.relpath(file)
            if words := written in asked and (_misnamed(written, misnamed) or _meant(written, workflow.rules, names)):
                raise Mistake(f"{file}: nothing makes a file of this name; {words}") from None
            raise

    @functools.wraps(job_of_rule)
    async def rule2job(self: Any, rule: Any) -> Any:
        example = _example(rule.name, [rule], names)
        if rule.has_wildcards() and example:
            raise Mistake(f"{rule.name} is a rule for files of many names; ask for one of them, such as {example}")
        return await job_of_rule(self, rule)

    DAG.file2jobs, DAG.rule2job = file2jobs, rule2job


def _misnamed(written: str, files: Iterable[Path]) -> str | None:
    """What to say where a part of the target is called after a config file of a name that is not allowed."""
    found = next((path for path in files if path.stem in written.split("/")), None)
    return f"config/{found.parent.name}/{found.name} {MISNAMED}" if found else None


def _meant(written: str, rules: Iterable[Any], names: dict[str, list[str]]) -> str | None:
    """The file that was meant, else what files there are; None where a workflow around this one makes others alone."""
    if near := near_target(written, _outputs(rules), names) or _example(written, rules, names):
        return f"did you mean {near}?"
    usual = ", ".join(usual_files(_outputs(rules)))
    return f"ask for one of {usual}; datasets and methods are the files of config/datasets and config/methods" if usual else None


def _outputs(rules: Iterable[Any]) -> list[str]:
    return [str(path) for rule in rules for path in rule.output]


def _example(word: str, rules: Iterable[Any], names: dict[str, list[str]]) -> str | None:
    """A file of the rule that is called much like this."""
    meant = get_close_matches(word, [rule.name for rule in rules], 1)
    files = (file_of(path, names) for path in _outputs(rule for rule in rules if rule.name in meant))
    return next(filter(None, files), None)


def check_config_files(paths: Iterable[str]) -> None:
    """Read config files as they stand, before Snakemake does: it takes the last of two equal keys, 010 for 8, and ends
    in a traceback where a file is no UTF-8 or holds itself."""
    for path in paths:
        plainly(read_yaml, path)


class Rules:
    """What the rules ask of the plan. Each answer is a function of wildcards.

    Args:
        home: the folder of the Snakefile.
        config: Snakemake's own, all overrides included; it gets the checked values.
    """

    def __init__(self, home: str, config: dict[str, Any]) -> None:
        self.plan: Plan = plainly(Plan, f"{home}/config", config)
        config.update(self.plan.main)
        self.runtime = self.plan.main["runtime"]
        # From the working directory: a project that is moved downloads nothing again.
        self.lock_file = os.path.relpath(f"{home}/config/checksums.json")
        self.tells_of_missing = False

    def inputs(self, stage: str) -> Callable[[Any], dict[str, Any]]:
        """Input function of a stage's rule, for `unpack`."""

        def inputs(wildcards: Any) -> dict[str, Any]:
            files = self.plan.inputs(stage, STAGES[stage].about(wildcards))
            return {name: ancient(path) if name in MANIFEST else path for name, path in files.items()}

        return inputs

    def params(self, stage: str) -> dict[str, Callable[[Any], Any]]:
        """Name -> params function, of all that a stage is given."""

        def param(name: str) -> Callable[[Any], Any]:
            return lambda wildcards: self._answered(stage, name, wildcards)

        return {name: param(name) for name in STAGES[stage].params}

    def gpus(self, stage: str) -> Callable[[Any], int]:
        """Resource function: GPUs of a job."""
        return lambda wildcards: self.plan.gpus(stage, STAGES[stage].about(wildcards))

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
        main, known = self.plan.main, self.plan.config.names
        return {
            "dataset": list(dict.fromkeys([*main["datasets"], *known("datasets")])),
            "method": list(dict.fromkeys([*main["methods"], *known("methods")])),
            "name": list(main["predict"]),
        }

    def misnamed(self) -> list[Path]:
        """Files of datasets and methods that nobody can ask for."""
        return [path for kind in ("datasets", "methods") for path in self.plan.config.misnamed(kind)]

    def warn_of_missing(self, workflow: Any) -> None:
        """A dry run ends before `check_start`: it says, of the first job whose CRF is pydensecrf's, that a run would miss the package."""
        self.tells_of_missing = workflow.output_settings.dryrun and not workflow.deployment_settings.deployment_method

    def _answered(self, stage: str, name: str, wildcards: Any) -> Any:
        found = self.plan.param(stage, name, STAGES[stage].about(wildcards))
        if self.tells_of_missing and _is_pydensecrf(found):
            self.tells_of_missing = False
            try:
                _require_pydensecrf()
            except UserError as error:
                logger.warning(str(error))
        return found

    def check_start(self, workflow: Any) -> None:
        """Before the first job: stop what a run would do wrong for hours, or twice."""
        _check_folders()
        _check_cores(workflow)
        _check_executor(workflow)
        _check_manifests(workflow, self.plan)
        _check_crf(workflow)
        _end_orphans(workflow)


def check_working_directory() -> None:
    """Snakemake ends in a traceback where it cannot make its own folder, for a dry run too."""
    own = ".snakemake" if os.path.isdir(".snakemake") else "."
    if not os.access(own, os.W_OK | os.X_OK):
        raise Mistake(f"{os.path.abspath(own)}: {NO_PERMISSION}")


def _check_folders() -> None:
    """Snakemake ends in a traceback where it cannot write."""
    for name in filter(os.path.lexists, ("results", "logs", "resources")):
        if not os.path.isdir(name):
            raise Mistake(f"{os.path.abspath(name)} is no folder, and the workflow writes into one of this name; move it away")
        if not os.access(name, os.W_OK | os.X_OK):
            raise Mistake(f"{os.path.abspath(name)}: {NO_PERMISSION}")


def _check_cores(workflow: Any) -> None:
    """Without a core Snakemake waits for one without end."""
    if workflow.local_exec and workflow.resource_settings.cores == 0:
        raise Mistake("--cores 0 leaves no core to work with; give 1 or more, or `all`")


def _check_executor(workflow: Any) -> None:
    """The default profile lets one GPU job run at a time; on a cluster that is not meant."""
    limit = workflow.resource_settings.resources.get("gpu")
    if limit is not None and not workflow.local_exec and "--workflow-profile" not in " ".join(sys.argv):
        raise Mistake(
            "the default profile lets one GPU job run at a time, on a cluster too; "
            "start it with: snakemake --workflow-profile profiles/slurm"
        )
    if not workflow.local_exec:
        plainly(refuse_shell_words, workflow.config_settings.config_args or (), "--config")
        paths = (workflow.main_snakefile, workflow.workdir_init, *workflow.overwrite_configfiles)
        plainly(refuse_shell_words, paths, "the path")


def _check_manifests(workflow: Any, plan: Plan) -> None:
    """No stage reads the photos of another folder than the config names, or a table that was edited."""
    jobs = list(workflow.dag.needrun_jobs())
    wanted = {job.wildcards.dataset for job in jobs if hasattr(job.wildcards, "dataset")}
    made = {job.wildcards.dataset for job in jobs if job.rule.name == "dataset"}
    for name in sorted(wanted - made):
        plainly(require_manifest, plan.config.dataset(name), name)


def _check_crf(workflow: Any) -> None:
    """The package of the CRF is missed now, not when its stage starts; environments and containers bring their own."""
    if workflow.deployment_settings.deployment_method:
        return
    if any(_is_pydensecrf(job.params.get("settings")) for job in workflow.dag.needrun_jobs()):
        plainly(_require_pydensecrf)


def _is_pydensecrf(settings: Any) -> bool:
    return isinstance(settings, dict) and (settings.get("crf_params") or {}).get("backend") == "pydensecrf"


def _require_pydensecrf() -> None:
    from wsss.refine import crf_pydensecrf  # brings numpy, which planning for conda does without

    crf_pydensecrf.require()


def _end_orphans(workflow: Any) -> None:
    """Cancel SLURM jobs left by a killed Snakemake if they would write the same files; they save first.

    They are nobody else's: while a Snakemake lives, its lock keeps others from the same files.
    """
    jobs = workflow.dag.needrun_jobs()
    wanted = {name for job in jobs for name in encode_target_jobs_cli_args(job.get_target_spec())}
    ended = plainly(end_jobs, wanted, Path(workflow.workdir_init))
    if ended:
        logger.warning(f"ended {len(ended)} SLURM jobs of a Snakemake that was killed: {', '.join(ended)}")
