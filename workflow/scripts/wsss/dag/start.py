"""Checks before a run: what it would do wrong for hours, or twice, ends it now."""

import os
import sys
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args

from wsss.dag.mistakes import Mistake, plainly
from wsss.engine.cluster import end_jobs, refuse_shell_words
from wsss.plan.plan import Plan
from wsss.plan.watched import require_manifest

NO_PERMISSION = "no permission to write there; change its mode or owner, or work in another folder (--directory)"


def check_working_directory() -> None:
    """Snakemake ends in a traceback where it cannot make its own folder, for a dry run too."""
    own = ".snakemake" if os.path.isdir(".snakemake") else "."
    if not os.access(own, os.W_OK | os.X_OK):
        raise Mistake(f"{os.path.abspath(own)}: {NO_PERMISSION}")


def check_home(home: str) -> None:
    """Snakemake takes braces in the path of a rule's file for a wildcard, and ends in a traceback."""
    if set("{}") & set(home):
        words = "the project's folder, or one above it, has { or } in its name"
        raise Mistake(f"{home}: {words}, which Snakemake takes for a wildcard; rename it")


def check_start(workflow: Any, plan: Plan) -> None:
    """Before the first job: stop what a run would do wrong for hours, or twice."""
    _check_folders()
    _check_cores(workflow)
    _check_executor(workflow)
    _check_manifests(workflow, plan)
    _check_crf(workflow)
    _end_orphans(workflow)


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
    if any(is_pydensecrf(job.params.get("settings")) for job in workflow.dag.needrun_jobs()):
        plainly(require_pydensecrf)


def is_pydensecrf(settings: Any) -> bool:
    return isinstance(settings, dict) and (settings.get("crf_params") or {}).get("backend") == "pydensecrf"


def require_pydensecrf() -> None:
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
