"""What a stage says of its own result when it ends: facts for log and `run.json`, warnings as one line each on the terminal.

None of it reaches a declared file, so no code digest covers it (`wsss.plan.code_digest.LEFT_OUT`).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from wsss.engine.task import Task
from wsss.score.diagnosis import diagnose
from wsss.score.mask_facts import facts_of

log = logging.getLogger(__name__)


def about_classifier(task: Task, check: dict[str, Any]) -> None:
    """Warn of what `check.json` shows, and note it for the run record."""
    task.record.facts["diagnosis"] = _say(task, {"classifier": check}, check)


def about_masks(
    task: Task, items: Sequence[Any], classes: Sequence[str], suffix: str = ".png", cut: dict[str, Any] | None = None
) -> Callable[[], dict[str, Any]]:
    """A function that reads the task's finished masks, logs facts, warns, and returns them for the run record.

    Args:
        items: records, or whatever has an id (then no labels are known).
        cut: key, kind and value (of a found one shift and by) of the background that the masks were cut at.
    """

    def report() -> dict[str, Any]:
        facts = facts_of(items, classes, lambda item: task.folder / f"{item.id}{suffix}")
        own = {**facts, **({"cut": cut} if cut else {})}
        return {"diagnosis": _say(task, {"stages": {task.stage: own}}, own)}

    return report


def _say(task: Task, facts: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    log.info("%s: %s", task.stage, own)
    warnings = [] if task.shard else diagnose(facts)  # of a part of the images nothing follows
    for line in warnings:
        log.warning("%s: %s", _name(task), line)
    return {**own, **({} if task.shard else {"warnings": warnings})}


def _name(task: Task) -> str:
    """`amn/seeds`, `amn/predict/trip`, `amn/test` of `voc_test`: the folder says whose stage it is."""
    parts = task.folder.parts
    start = parts.index(task.stage) - 1 if task.stage in parts[1:] else -2
    return "/".join(parts[start:])
