"""What a stage is given to do, and the start of every entry script."""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss.errors import UserError
from wsss.io.digest import fingerprint, sha256_file
from wsss.io.record import RunRecord
from wsss.train import signals

log = logging.getLogger(__name__)


@dataclass
class Task:
    """One run of a stage.

    Attributes:
        stage: the stage's name.
        inputs, outputs: name -> path.
        params: all that shapes the result: `settings` (the stage's section of the recipe), `recipe` facts,
            `seed`, `compute` (precision, cpu_threads), `code`.
        runtime: what must not shape the result: device, workers, checkpoint_seconds, log_every.
        threads: cores the rule was given.
    """

    stage: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    params: dict[str, Any]
    runtime: dict[str, Any]
    threads: int = 1
    record: RunRecord = field(init=False)

    def __post_init__(self) -> None:
        self.record = RunRecord(self.stage, self.params)

    @property
    def settings(self) -> dict[str, Any]:
        """The stage's section of the recipe."""
        return self.params["settings"]

    @property
    def folder(self) -> Path:
        """The folder of the stage's first output."""
        return Path(next(iter(self.outputs.values()))).parent

    def fingerprint(self) -> str:
        """Of parameters, code and the content of all inputs: what may be resumed, and what may not."""
        inputs = {name: sha256_file(path) for name, path in self.inputs.items()}
        return fingerprint({"stage": self.stage, "params": self.params, "inputs": inputs})

    def write_record(self, **facts: Any) -> None:
        """Write `run.json` beside the outputs."""
        self.record.write(self.folder / "run.json", inputs=self.inputs, **facts)


def start(run: Callable[[Task], None], snakemake: Any) -> None:
    """Run a stage for a Snakemake `script:`; a UserError ends it with plain words and status 1."""
    _log_to(snakemake.log[0] if snakemake.log else None)
    signals.install()
    task = Task(
        stage=run.__module__.rsplit(".", 1)[-1],
        inputs={k: str(v) for k, v in snakemake.input.items()},
        outputs={k: str(v) for k, v in snakemake.output.items()},
        params=dict(snakemake.params.items()),
        runtime=dict(snakemake.config["runtime"]),
        threads=snakemake.threads,
    )
    guarded(run, task)


def guarded(run: Callable[[Task], None], task: Task) -> None:
    """Run a stage; UserErrors are printed as they are, other exceptions logged with their traceback."""
    try:
        run(task)
    except UserError as error:
        log.error("%s: %s", task.stage, error)
        _leave(1)
    except Exception:
        log.error("%s: unexpected error\n%s", task.stage, traceback.format_exc())
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
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.WARNING)
    handlers.append(terminal)
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
