"""What a run shows in the terminal, and how it takes its lock.

Snakemake's records become one line a job, and the lock of a Snakemake that was killed is no obstacle.
"""

import functools
import os
from pathlib import Path
from typing import Any

import snakemake.persistence.file
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from wsss.console import holder
from wsss.console.handler import Console
from wsss.engine.signals import MASTER

CONSOLE = "WSSS_CONSOLE"  # `snakemake`: its own lines; set to `lines` for the stages, which then leave the terminal alone


class Lines:
    """The lines of one run of `workflow`; nothing where Snakemake's own are wanted, or in a job of another Snakemake."""

    def __init__(self, workflow: Any) -> None:
        self.workflow = workflow
        self.console = self._in_place_of_snakemakes()

    def _in_place_of_snakemakes(self) -> Console | None:
        handlers = [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]
        if self.workflow.exec_mode != ExecMode.DEFAULT or self._own_lines_wanted() or not handlers:
            return None
        console = Console(handlers[0], where=self._results_made)
        logger.removeHandler(handlers[0])
        logger.addHandler(console)
        return console

    def _own_lines_wanted(self) -> bool:
        """Whether somebody asks for what Snakemake itself has to say."""
        settings = self.workflow.output_settings
        asked = (settings.dryrun, settings.verbose, settings.debug_dag, settings.printshellcmds, settings.quiet)
        return os.environ.get(CONSOLE) == "snakemake" or any(asked)

    def _results_made(self) -> str:
        """Where the results of this run are: its reports, or the first files that were asked for."""
        dag = self.workflow.dag
        files = sorted(map(str, dag.targetfiles or [file for job in dag.targetjobs for file in job.input]))
        reports = [name for name in files if name.endswith("report/index.html")]
        return ", ".join(reports or files[:3])

    def begin(self) -> None:
        """When the jobs are known, and before the first one."""
        if self.console is None:
            return
        wildcards = [job.wildcards for job in self.workflow.dag.needrun_jobs()]
        self.console.several = len({each.dataset for each in wildcards if hasattr(each, "dataset")}) > 1
        if self.workflow.local_exec:
            os.environ[CONSOLE] = "lines"

    def end(self, went_well: bool) -> None:
        """The last line."""
        if self.console is not None:
            self.console.succeeded() if went_well else self.console.went_wrong()


def go_on_after_kills(workflow: Any) -> None:
    """Where the Snakemake that holds a lock is gone, its lock goes when Snakemake looks; and ours says whose it is."""
    files = snakemake.persistence.file.FilePersistence
    look, take = getattr(files, "locked", None), getattr(files, "_write_locks", None)
    if not isinstance(look, property) or take is None or hasattr(take, "__wrapped__"):
        return

    def locked(self: Any) -> bool:
        if not workflow.dryrun:
            _release_dead(Path(self._lockdir))
        return look.fget(self)

    @functools.wraps(take)
    def write_locks(self: Any, *args: Any) -> None:
        take(self, *args)
        holder.record(Path(self._lockdir), self._lockfile.values())

    files.locked, files._write_locks = property(locked), write_locks


def _release_dead(folder: Path) -> None:
    dead = holder.dead_holders(folder)
    pids = [facts["pid"] for facts in dead.values() if facts["locks"]]
    if not pids:
        return
    names = ", ".join(map(str, pids))
    if holder.wait_for_stages(pids, MASTER):
        holder.release(dead)
        logger.warning(f"the Snakemake that held the lock here (process {names}) was killed: this run goes on from there")
    else:
        logger.warning(f"stages of a Snakemake that was killed (process {names}) still run here; wait for their end")
