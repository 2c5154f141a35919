"""What a stage is given to do, and the start of every entry script."""

import contextlib
import errno
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss.errors import UserError
from wsss.io.digest import fingerprint, sha256_file
from wsss.io.record import RunRecord
from wsss.io.shards import Shard
from wsss.stages.clock import bring_back
from wsss.train import signals

log = logging.getLogger(__name__)
MANIFEST = {"manifest", "dataset"}  # inputs that say where files lie


@dataclass
class Task:
    """One run of a stage.

    Attributes:
        stage: the stage's name.
        inputs, outputs: name -> path.
        params: all that shapes the result: `settings` (the stage's section of the recipe), `recipe` facts,
            `seed`, `compute` (precision, cpu_threads), `code`; and `shard`, which does not: "3of8" for a part of the images.
        runtime: what must not shape the result: device, workers, checkpoint_seconds, log_every.
        threads: cores the rule was given.
        gpus: GPUs that a training is spread over.
        arithmetic: kind of device and number type, from `start_device`; empty where a stage has no network.
    """

    stage: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    params: dict[str, Any]
    runtime: dict[str, Any]
    threads: int = 1
    gpus: int = 1
    record: RunRecord = field(init=False)
    arithmetic: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.record = RunRecord(self.stage, self.params)

    @property
    def settings(self) -> dict[str, Any]:
        """The stage's section of the recipe."""
        return self.params["settings"]

    @property
    def shard(self) -> Shard | None:
        """The part of the images that is this task's, None for all of them."""
        name = self.params.get("shard")
        return Shard.parse(name) if name else None

    @property
    def output(self) -> Path:
        """The stage's first output."""
        return Path(next(iter(self.outputs.values())))

    @property
    def folder(self) -> Path:
        """The folder of the stage's files: where the first output is, or above it for a shard."""
        return self.output.parents[1 if self.shard else 0]

    def note(self, name: str) -> Path:
        """Path of `run.json` or `journal.jsonl`: in the folder, or beside the output of a shard (3of8.run.json)."""
        return self.output.with_suffix(f".{name}") if self.shard else self.folder / name

    def fingerprint(self) -> str:
        """Of parameters, code, arithmetic and the content of all inputs: what may be resumed, and what may not."""
        known = MANIFEST if "images" in self.inputs else set()  # what is in them goes by digests, which are inputs too
        inputs = {name: sha256_file(path) for name, path in self.inputs.items() if name not in known}
        params = {name: value for name, value in self.params.items() if name != "shard"}
        return fingerprint({"stage": self.stage, "params": params, "inputs": inputs, "arithmetic": self.arithmetic})

    def write_record(self, **facts: Any) -> None:
        """Write `run.json`."""
        self.record.write(self.note("run.json"), inputs=self.inputs, **facts)


def start(run: Callable[[Task], None], snakemake: Any) -> None:
    """Run a stage for a Snakemake `script:`; a UserError ends it with plain words and status 1."""
    signals.die_with_parent(signal.SIGTERM)  # no orphan races its successor
    if signals.orphaned():
        _leave(1)  # before the log is opened, which may be the successor's
    _log_to(snakemake.log[0] if snakemake.log else None)
    task = Task(
        stage=run.__module__.rsplit(".", 1)[-1],
        inputs={k: str(v) for k, v in snakemake.input.items()},
        outputs={k: str(v) for k, v in snakemake.output.items()},
        params={**dict(snakemake.params.items()), **_shard_name(getattr(snakemake, "wildcards", None))},
        runtime=dict(snakemake.config["runtime"]),
        threads=snakemake.threads,
        gpus=max(getattr(getattr(snakemake, "resources", None), "gpu", 1), 1),
    )

    def stage(task: Task) -> None:
        bring_back(snakemake.input)
        run(task)

    guarded(stage, task)


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


_MENDS = {
    r"OutOfMemoryError|CUDA out of memory": "the GPU's memory is used up; lower the stage's batch_size or crop, "
    "or set runtime.device: cpu",
    r"MemoryError|can't allocate memory|Insufficient memory|bad_alloc": "memory is used up; lower the stage's batch_size, use fewer cores "
    "(--cores), or give the job more memory (--set-resources)",
    r"DataLoader worker .*(exited unexpectedly|killed by signal)": "a process that reads images was killed, mostly "
    "for want of (shared) memory; lower runtime.workers or the stage's batch_size, or give the job more memory",
    r"gloo|NCCL": "another of the processes that train together has ended; where it "
    "has not said why, it was killed, mostly for want of memory; lower the stage's batch_size, or give the job more memory",
    r"BrokenProcessPool": "a worker process was killed, mostly for want of memory; use fewer cores (--cores), "
    "or give the job more memory (--set-resources)",
}


_DRIVE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV}
_DRIVE_MEND = "see that it is mounted and whole, then run the same command again (finished work is kept)"


def plain_words(error: Exception) -> str | None:
    """What is wrong and how to mend it, or None for an error that only its traceback explains."""
    if isinstance(error, UserError):
        # From a data loader's worker it comes with that process's traceback inside.
        return str(error).rpartition("UserError: ")[2].strip()
    if isinstance(error, OSError) and error.errno in _DRIVE:
        return f"{error.filename or 'a drive'}: {error.strerror}; the drive does not answer as it should: {_DRIVE_MEND}"
    name_and_text = f"{type(error).__name__}: {error}"
    mends = [mend for pattern, mend in _MENDS.items() if re.search(pattern, name_and_text)]
    return f"{mends[0]} ({name_and_text.splitlines()[0]})" if mends else None


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
