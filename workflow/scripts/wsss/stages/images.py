"""The driver of per-image stages: journal, resume, progress, processes, index."""

import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from wsss.data.labels import cams_of, refuse_other_labels, same_labels
from wsss.data.manifest import Record, load_manifest
from wsss.data.table import bad_id
from wsss.errors import UserError
from wsss.found import Rule, kind_fault
from wsss.io.atomic import drop_temporaries
from wsss.io.cams import CamFolder
from wsss.io.index import read_index, write_index, write_shard
from wsss.io.journal import Journal, recorded_ids
from wsss.io.shards import drop_claims, drop_leftovers
from wsss.stages.task import Task
from wsss.train.signals import graceful_stop, stop_requested
from wsss.train.workers import quiet_worker

log = logging.getLogger(__name__)
Item = TypeVar("Item")  # a record, or whatever has an id


def shard_records(task: Task, records: Iterable[Item]) -> tuple[Item, ...]:
    """The records that are this task's to make: all of them, or those of its shard."""
    return tuple(r for r in records if task.shard is None or task.shard.holds(r.id))


def run_images(
    task: Task, ids: list[str], suffixes: list[str], work: Callable[[set[str]], Iterable[str]],
    diagnose: Callable[[], dict[str, Any]] | None = None, **facts: Any,
) -> None:  # fmt: skip
    """Make the files of all `ids` in the task's folder and write its index, or its shard of one.

    Args:
        suffixes: appended to an id they name its files.
        work: given the ids to do, writes their files (atomically) and yields each id when it stands.
        diagnose: looks at the finished files; what it returns goes into the run record.
        facts: goes into the index (geometry, norm, ...).

    Raises:
        SystemExit: SIGTERM arrived; the journal holds what is done.
    """
    mark, wanted = task.fingerprint(), set(ids)
    drop_claims(task.folder, task.output, wanted)
    drop_gone(task, wanted, suffixes)
    journal = Journal(task.folder, mark, suffixes, wanted, task.note("journal.jsonl"))
    todo = wanted - set(journal.done)
    log.info("%s: %d images, %d already done", task.stage, len(ids), len(ids) - len(todo))
    with graceful_stop():
        _note_finished(task, journal, work(todo), len(todo))
    journal.close()
    if task.shard:
        write_shard(task.output, journal.done, suffixes, fingerprint=mark, **facts)
    else:
        write_index(task.folder, journal.done, suffixes, fingerprint=mark, **facts)
        drop_leftovers(task.folder, 1)
        drop_temporaries(task.folder)
    task.write_record(images=len(todo), **(diagnose() if diagnose else {}))


def drop_gone(task: Task, wanted: set[str], suffixes: list[str]) -> None:
    """Remove the files of images that are in the dataset no longer; those that no run of the stage made are the user's."""
    known = set(wanted)
    if task.shard:  # the other images are other jobs' to make
        if "manifest" not in task.inputs:
            return
        known |= {record.id for record in load_manifest(task.inputs["manifest"]).records}
    gone = sorted(item_id for item_id in recorded_ids(task.folder) - known if not bad_id(item_id))
    for path in (task.folder / f"{item_id}{suffix}" for item_id in gone for suffix in suffixes):
        path.unlink(missing_ok=True)
    if gone:
        log.info("%s: removed the files of %d images that are there no longer (%s)", task.stage, len(gone), ", ".join(gone[:5]))


def _note_finished(task: Task, journal: Journal, finished: Iterable[str], total: int) -> None:
    every = max(1, total // 10)
    for count, item_id in enumerate(finished, 1):
        journal.add(item_id)
        if count % every == 0:
            log.info("%s: %d of %d", task.stage, count, total)
        if stop_requested():
            log.info("stopped by SIGTERM; the same command goes on from here")
            raise SystemExit(143)


def in_processes(function: Callable[..., str], jobs: Iterable[tuple], processes: int) -> Iterator[str]:
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


def input_index(task: Task, name: str, records: Iterable[Record]) -> dict[str, Any]:
    """The index that is input `name`, checked to hold every record and, where imported, to be of the dataset's labels.

    Raises:
        UserError: ids or files are missing, or of other labels; names the command that makes them again.
    """
    index = read_index(task.inputs[name], [r.id for r in records])
    if "imported" in index and not same_labels(task.inputs[name], index, load_manifest(task.inputs["manifest"])):
        refuse_other_labels(task.inputs[name])
    return index


def cam_folder(task: Task, records: Iterable[Record], *rules: Rule) -> CamFolder:
    """The CAMs that are input `cam`, checked by `cams_of`.

    rules: backgrounds that will stand beside them. UserError where one is of a kind that these CAMs do not have.
    """
    import torch  # noqa: F401  reading CAMs needs it: once, before processes are forked

    cams = cams_of(task.inputs["cam"], records, load_manifest(task.inputs["manifest"]))
    for rule in rules:
        if fault := kind_fault(rule, cams.form.bg_map):
            raise UserError(f"{task.inputs['cam']}: background {rule['kind']}: {fault}")
    return cams


def file_of(index_path: str | Path, item_id: str, suffix: str) -> Path:
    """The file of `item_id` beside an index."""
    return Path(index_path).parent / f"{item_id}{suffix}"
