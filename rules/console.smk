# What a run shows in the terminal, and how it takes its lock: Snakemake's records become one line a job, and the lock of a
# Snakemake that was killed is no obstacle.

import functools
import os
from pathlib import Path

import snakemake.persistence.file
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from wsss.console import holder
from wsss.console.handler import Console
from wsss.train.signals import MASTER

CONSOLE = "WSSS_CONSOLE"  # `snakemake`: its own lines; set to `lines` for the stages, which then leave the terminal alone


def own_lines_wanted():
    """Whether somebody asks for what Snakemake itself has to say."""
    settings = workflow.output_settings
    asked = (settings.dryrun, settings.verbose, settings.debug_dag, settings.printshellcmds, settings.quiet)
    return os.environ.get(CONSOLE) == "snakemake" or any(asked)


def one_line_a_job():
    """Take the place of Snakemake's handler of the terminal, where it is there and this is no job of another Snakemake."""
    handlers = [h for h in logger.handlers if h.name == "DefaultStreamHandler"]
    if workflow.exec_mode != ExecMode.DEFAULT or own_lines_wanted() or not handlers:
        return None
    console = Console(handlers[0], where=results_made)
    logger.removeHandler(handlers[0])
    logger.addHandler(console)
    return console


def results_made():
    """Where the results of this run are: its reports, or the first files that were asked for."""
    wanted = workflow.dag.targetfiles or [f for job in workflow.dag.targetjobs for f in job.input]
    files = sorted(map(str, wanted))
    reports = [name for name in files if name.endswith("report/index.html")]
    return ", ".join(reports or files[:3])


def begin_lines():
    """What only a run that begins knows."""
    if console is None:
        return
    datasets = {
        job.wildcards.dataset for job in workflow.dag.needrun_jobs() if hasattr(job.wildcards, "dataset")
    }
    console.several = len(datasets) > 1
    if workflow.local_exec:
        os.environ[CONSOLE] = "lines"


def end_lines(went_well):
    """The last line."""
    if console is not None:
        console.succeeded() if went_well else console.went_wrong()


def go_on_after_kills():
    """Where the Snakemake that holds a lock is gone, its lock goes when Snakemake looks; and ours says whose it is."""
    files = snakemake.persistence.file.FilePersistence
    look, take = getattr(files, "locked", None), getattr(files, "_write_locks", None)
    if not isinstance(look, property) or take is None or hasattr(take, "__wrapped__"):
        return

    def locked(self):
        if not workflow.dryrun:
            release_dead(Path(self._lockdir))
        return look.fget(self)

    @functools.wraps(take)
    def write_locks(self, *args):
        take(self, *args)
        holder.record(Path(self._lockdir), self._lockfile.values())

    files.locked, files._write_locks = property(locked), write_locks


def release_dead(folder):
    dead = holder.dead_holders(folder)
    pids = [facts["pid"] for facts in dead.values() if facts["locks"]]
    if not pids:
        return
    names = ", ".join(map(str, pids))
    if holder.wait_for_stages(pids, MASTER):
        holder.release(dead)
        logger.warning(
            f"the Snakemake that held the lock here (process {names}) was killed: this run goes on from there"
        )
    else:
        logger.warning(
            f"stages of a Snakemake that was killed (process {names}) still run here; wait for their end"
        )


console = one_line_a_job()
go_on_after_kills()
