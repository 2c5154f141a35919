"""Forked worker processes: of data loaders and of per-image stages."""

import signal
import sys
from typing import Any

from wsss.train.signals import die_with_parent

GRACE_SECONDS = 10


def quiet_worker(worker: int = 0) -> None:
    """Initialise a forked worker: one thread, no life without the stage it works for, a late end on SIGTERM.

    SLURM sends SIGTERM to every process of a job. A worker that died of it at once would take the stage along
    before that has saved, so it goes on for a while; whoever really wants it to end waits no longer than that.
    """
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGTERM, _end_later)
    if torch := sys.modules.get("torch"):  # stages without it need not load it
        torch.set_num_threads(1)


def _end_later(signum: int, frame: Any) -> None:
    signal.alarm(GRACE_SECONDS)  # SIGALRM, unhandled, ends the process
