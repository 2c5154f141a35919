"""Forked worker processes: of data loaders and of per-image stages."""

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from wsss.engine.signals import die_with_parent
from wsss.fixed import WORKER_THREADS

GRACE_SECONDS = 10
Result = TypeVar("Result")


def quiet_worker(worker: int = 0) -> None:
    """Initialise a forked worker: one thread, no life without the stage it works for, a late end on SIGTERM.

    SLURM sends SIGTERM to every process of a job. A worker that died of it at once would take the stage along
    before that has saved, so it goes on for a while; whoever really wants it to end waits no longer than that.
    """
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGTERM, _end_later)
    if torch := sys.modules.get("torch"):  # stages without it need not load it
        torch.set_num_threads(WORKER_THREADS)


def in_processes(function: Callable[..., Result], jobs: Iterable[tuple], processes: int) -> Iterator[Result]:
    """Call `function(*job)` for all jobs, one process a core, yielding results in the order of the jobs.

    The pool is forked, so the caller must not have started CUDA. With one process all runs here.
    """
    if processes <= 1:
        yield from (function(*job) for job in jobs)
        return
    with worker_pool(processes) as pool:
        jobs = iter(jobs)
        running = deque(pool.submit(function, *job) for job in islice(jobs, 4 * processes))
        try:
            while running:
                yield running.popleft().result()
                running += [pool.submit(function, *job) for job in islice(jobs, 1)]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """Forked processes of one thread each; the caller must not have started CUDA before the first call."""
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=quiet_worker)


def _end_later(signum: int, frame: Any) -> None:
    signal.alarm(GRACE_SECONDS)  # SIGALRM, unhandled, ends the process
