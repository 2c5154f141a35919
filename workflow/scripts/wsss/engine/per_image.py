"""The driver of per-image stages: journal, resume, progress, index."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from wsss.engine.atomic import drop_temporaries
from wsss.engine.index import write_index, write_shard
from wsss.engine.journal import Journal, recorded_ids
from wsss.engine.shards import drop_claims, drop_leftovers
from wsss.engine.signals import graceful_stop, stop_requested
from wsss.engine.task import Task

log = logging.getLogger(__name__)


class HasId(Protocol):
    """A record, or whatever else has an id."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


def shard_records(task: Task, records: Iterable[Item]) -> tuple[Item, ...]:
    """The records that are this task's to make: all of them, or those of its shard."""
    return tuple(r for r in records if task.shard is None or task.shard.holds(r.id))


def run_images(
    task: Task, ids: list[str], suffixes: list[str], work: Callable[[set[str]], Iterable[str]],
    *, diagnose: Callable[[], dict[str, Any]] | None = None, every: Iterable[str] | None = None, **facts: Any,
) -> None:  # fmt: skip
    """Make the files of all `ids` in the task's folder and write its index, or its shard of one.

    Args:
        suffixes: appended to an id they name its files.
        work: given the ids to do, writes their files (atomically) and yields each id when it stands.
        diagnose: looks at the finished files; what it returns goes into the run record.
        every: the ids of all jobs of a stage that is split; what was made of other images goes. None: it stays.
        facts: goes into the index (geometry, norm, ...).

    Raises:
        SystemExit: SIGTERM arrived; the journal holds what is done.
    """
    mark, wanted = task.fingerprint(), set(ids)
    drop_claims(task.folder, task.output, wanted)
    known = every if task.shard else wanted
    if known is not None:
        drop_gone(task, set(known), suffixes)
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


def drop_gone(task: Task, known: set[str], suffixes: list[str]) -> None:
    """Remove the files of images that are no longer among the `known`; those that no run of the stage made are the user's."""
    gone = sorted(item_id for item_id in recorded_ids(task.folder) - known if _is_file_name(item_id))
    for path in (task.folder / f"{item_id}{suffix}" for item_id in gone for suffix in suffixes):
        path.unlink(missing_ok=True)
    if gone:
        log.info("%s: removed the files of %d images that are there no longer (%s)", task.stage, len(gone), ", ".join(gone[:5]))


def _is_file_name(item_id: str) -> bool:
    """Whether an id of a journal, which anyone may have edited, names a file of the folder itself."""
    return item_id.isprintable() and Path(item_id).name == item_id != ""


def _note_finished(task: Task, journal: Journal, finished: Iterable[str], total: int) -> None:
    every = max(1, total // 10)
    for count, item_id in enumerate(finished, 1):
        journal.add(item_id)
        if count % every == 0:
            log.info("%s: %d of %d", task.stage, count, total)
        if stop_requested():
            log.info("stopped by SIGTERM; the same command goes on from here")
            raise SystemExit(143)
