"""What Snakemake remembers of a job that failed: nothing."""

import functools
from typing import Any

import snakemake.jobs
import snakemake.persistence


def forget_failures() -> None:
    """Let Snakemake write no record of a job that failed.

    It writes one as if the job had been done, and then removes the files. Where later files stand from a
    former run, the same command would find nothing to do: the job's settings are those of the record, and
    nobody needs what is missing.
    """
    ended, persistence = snakemake.jobs.Job.postprocess, snakemake.persistence.PersistenceBase
    if hasattr(ended, "__wrapped__"):
        return
    note = persistence.finished

    @functools.wraps(ended)
    async def postprocess(self: Any, *args: Any, **options: Any) -> None:
        self.failed = options.get("error", False)
        await ended(self, *args, **options)

    @functools.wraps(note)
    async def finished(self: Any, job: Any) -> None:
        if not getattr(job, "failed", False):
            await note(self, job)

    snakemake.jobs.Job.postprocess, persistence.finished = postprocess, finished
