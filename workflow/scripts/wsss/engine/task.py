"""What a stage is given to do."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss.digest import fingerprint, sha256_file
from wsss.engine.atomic import read_json
from wsss.engine.record import RunRecord, package_versions
from wsss.engine.shards import Shard

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
        runtime: what must not shape the result beyond its rounding: device, workers, checkpoint_seconds, log_every.
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
        """The stage's section of the recipe, plain; a stage reads it as the section's class (`wsss.sections.section.typed`)."""
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

    def loader_workers(self, items: int) -> int:
        """How many processes read `items` images, or batches of them."""
        return min(self.runtime["workers"], self.threads, items)

    def fingerprint(self) -> str:
        """Of parameters, code, packages, arithmetic and the content of all inputs: what may be resumed, and what may not."""
        known = MANIFEST if "images" in self.inputs else set()  # what is in them goes by digests, which are inputs too
        inputs = {name: sha256_file(path) for name, path in self.inputs.items() if name not in known}
        params = {name: value for name, value in self.params.items() if name != "shard"}
        facts = {"packages": package_versions(), "arithmetic": self.arithmetic}
        return fingerprint({"stage": self.stage, "params": params, "inputs": inputs, **facts})

    def write_record(self, **facts: Any) -> None:
        """Write `run.json`; the dataset's classes are in it, since what a stage makes numbers them."""
        about = self.inputs.get("dataset")
        classes = {"classes": read_json(about)["classes"]} if about else {}
        self.record.write(self.note("run.json"), inputs=self.inputs, **classes, **facts)
