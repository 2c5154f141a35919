"""The start of every rule script: builds the task, runs the stage, and turns errors into plain words and a status."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsss.engine import signals
from wsss.engine.clock import correct_future_times
from wsss.engine.explain import plain_words
from wsss.engine.task import Task

log = logging.getLogger(__name__)


def start(stage: str, snakemake: Any) -> None:
    """Run `wsss.stages.STAGE` for a Snakemake `script:`; a UserError ends it with plain words and status 1.

    The module is imported here, not by the script: it may load torch for seconds, in which Ctrl-C must be heard already.
    """
    signals.die_with_parent(signal.SIGTERM)  # no orphan races its successor
    signals.end_on_interrupt()
    if signals.orphaned():
        _leave(1)  # before the log is opened, which may be the successor's
    _log_to(snakemake.log[0] if snakemake.log else None)
    task = Task(
        stage=stage,
        inputs={k: str(v) for k, v in snakemake.input.items()},
        outputs={k: str(v) for k, v in snakemake.output.items()},
        params={**dict(snakemake.params.items()), **_shard_name(getattr(snakemake, "wildcards", None))},
        runtime=dict(snakemake.config["runtime"]),
        threads=snakemake.threads,
        gpus=max(getattr(getattr(snakemake, "resources", None), "gpu", 1), 1),
    )

    def run(task: Task) -> None:
        correct_future_times(snakemake.input)
        importlib.import_module(f"wsss.stages.{stage}").run(task)

    guarded(run, task)


def _shard_name(wildcards: Any) -> dict[str, str]:
    """{"shard": "3of8"} for a job that makes a part of the images."""
    return {"shard": f"{wildcards.shard}of{wildcards.shards}"} if hasattr(wildcards, "shard") else {}


def guarded(run: Callable[[Task], None], task: Task) -> None:
    """Run a stage; errors a user can mend are printed in plain words, others logged with their traceback."""
    try:
        run(task)
    except Exception as error:
        plain = plain_words(error)
        signals.let_first_speak()
        if plain is None:
            log.error("%s: unexpected error\n%s", task.stage, traceback.format_exc())
        else:
            log.error("%s: %s", task.stage, plain)
        signals.end_who_waits()
        _leave(1)
    except SystemExit as error:
        _leave(int(error.code or 0))


def _leave(status: int) -> None:
    """End without the traceback that Snakemake's script wrapper would add; worker processes go with us."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _log_to(path: str | None) -> None:
    handlers: list[logging.Handler] = []
    logging.raiseExceptions = False  # a line that a full disk does not take is no error of its own
    if path:
        with contextlib.suppress(OSError):  # nor is a log that cannot be opened: the terminal has the errors
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    if not handlers or os.environ.get("WSSS_CONSOLE") != "lines":  # else Snakemake's side shows what the log says
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.WARNING)
        handlers.append(terminal)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
