"""The driver of per-image stages: journal, resume, progress, processes, index."""

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from wsss.io.index import write_index
from wsss.io.journal import Journal
from wsss.stages.task import Task
from wsss.train.signals import die_with_parent, reset, stop_requested

log = logging.getLogger(__name__)


def run_images(
    task: Task, ids: list[str], suffixes: list[str], work: Callable[[set[str]], Iterable[str]], **facts: Any
) -> None:
    """Make the files of all `ids` in the task's folder and write its index.

    Args:
        suffixes: appended to an id they name its files.
        work: given the ids to do, writes their files (atomically) and yields each id when it stands.
        facts: goes into the index (geometry, norm, ...).

    Raises:
        SystemExit: SIGTERM arrived; the journal holds what is done.
    """
    mark = task.fingerprint()
    journal = Journal(task.folder, mark, suffixes)
    todo = set(ids) - set(journal.done)
    log.info("%s: %d images, %d already done", task.stage, len(ids), len(ids) - len(todo))
    every = max(1, len(todo) // 10)
    for count, item_id in enumerate(tqdm(work(todo), total=len(todo), desc=task.stage, mininterval=5, disable=None), 1):
        journal.add(item_id)
        if count % every == 0:
            log.info("%s: %d of %d", task.stage, count, len(todo))
        if stop_requested():
            log.info("stopped by SIGTERM; the same command goes on from here")
            raise SystemExit(143)
    wanted = set(ids)
    digests = {i: d for i, d in journal.done.items() if i in wanted}
    write_index(task.folder, digests, suffixes, fingerprint=mark, **facts)
    task.write_record(images=len(todo), device=facts.get("device", "cpu"))


def in_processes(function: Callable[..., str], jobs: Iterable[tuple], processes: int) -> Iterator[str]:
    """Call `function(*job)` for all jobs, one process a core, yielding results as they come.

    The pool is forked, so the caller must not have started CUDA. With one process all runs here.
    """
    if processes <= 1:
        yield from (function(*job) for job in jobs)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=quiet_worker) as pool:
        jobs = iter(jobs)
        running: set[Future] = {pool.submit(function, *job) for job in islice(jobs, 4 * processes)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(function, *job) for job in islice(jobs, len(finished))}
                yield from (future.result() for future in finished)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def quiet_worker() -> None:
    """Initialise a worker process: default signals, one thread, no life without its stage (a pool's workers wait on)."""
    reset()
    die_with_parent(signal.SIGKILL)
    torch.set_num_threads(1)


def file_of(index_path: str | Path, item_id: str, suffix: str) -> Path:
    """The file of `item_id` beside an index."""
    return Path(index_path).parent / f"{item_id}{suffix}"
