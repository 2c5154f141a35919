"""SLURM jobs that outlive the Snakemake that sent them."""

import getpass
import itertools
import shlex
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from wsss.errors import UserError

PATIENCE = 300  # seconds; a site's KillWait, by default 30, is what a job gets to save in


def refuse_shell_words(words: Iterable[str | Path], what: str) -> None:
    """UserError naming a word of the command line that would not reach a job as it was typed.

    Snakemake repeats `--config` and its paths in the shell line of every job, in quotes that do not hold all.
    """
    for word in map(str, words):
        if any(mark in word for mark in "$`\\\n") or {"'", '"'} <= set(word):
            raise UserError(
                f"{what} {word!r}: on a cluster a shell reads it again, and expands $, `, \\ and mixed quotes; write the value "
                "into config/config.yaml, or take a path without them"
            )


def end_jobs(wanted: Collection[str], folder: str | Path, patience: float = PATIENCE) -> list[str]:
    """End the SLURM jobs that make any of `wanted`, and wait until they have saved and gone.

    Args:
        wanted: jobs in Snakemake's own words, `seeds:dataset=demo,method=cam`.
        folder: where they were sent from; what works elsewhere is let alone.

    Returns:
        Numbers of the SLURM jobs that were ended.

    Raises:
        UserError: one does not end.
    """
    ended = [number for number in _queued(folder) if not snakemake_jobs(number).isdisjoint(wanted)]
    if not ended:
        return []
    subprocess.run(["scancel", *ended], capture_output=True)  # SIGTERM: stages save; some may end by themselves first
    deadline = time.monotonic() + patience
    while left := sorted(_queued(folder) & set(ended)):
        if time.monotonic() > deadline:
            raise UserError(
                f"SLURM jobs {', '.join(left)} of a Snakemake that was killed still run after scancel; "
                "they would write what this run writes. End them, then give the same command again"
            )
        time.sleep(1)
    return ended


def _queued(folder: str | Path) -> set[str]:
    """Numbers of this user's jobs from `folder` that wait, run or are about to end; none where there is no SLURM."""
    if shutil.which("squeue") is None:
        return set()
    lines = _output_of("squeue", "--noheader", "--user", getpass.getuser(), "--format", "%A|%Z").splitlines()
    jobs = (line.partition("|") for line in lines)
    return {number for number, _, where in jobs if Path(where).resolve() == Path(folder).resolve()}


def snakemake_jobs(number: str) -> set[str]:
    """What a SLURM job is to make: the words that follow --target-jobs in its script."""
    words = shlex.split(_output_of("scontrol", "write", "batch_script", number, "-"), comments=True)
    rest = words[words.index("--target-jobs") + 1 :] if "--target-jobs" in words else []
    return set(itertools.takewhile(lambda word: not word.startswith("--"), rest))


def _output_of(*command: str) -> str:
    """What a command says; nothing where it fails, as for a job that has just gone."""
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode else done.stdout
