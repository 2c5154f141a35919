"""One finished stage once more, outside Snakemake: to look into it with a debugger, or to try an edit of its code."""

import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from wsss.data.manifest import held_in, load_manifest
from wsss.engine.atomic import read_json
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.plan.stages import STAGES

RUNTIME = {"device": "auto", "workers": 0, "checkpoint_seconds": 3600, "log_every": 20}  # one process, so that a debugger sees all
BEGUN = ("run.json", "journal.jsonl", "train_state.pt", "finished.json")  # left by a stage, ended or stopped

RECORD = "give the run.json of a stage in results/DATASET/METHOD"


def run_again(record: str | Path, into: str | Path | None = None) -> Path:
    """Run the stage that a `run.json` is of, with the same inputs and parameters, into a folder of its own.

    Errors keep their traceback. A folder that holds a part of the work is gone on with.

    Args:
        record: the stage's run.json; the working directory must be the project's, as inputs are named from there.
        into: folder for what it makes; None: FOLDER.again beside the stage's own.

    Returns:
        The folder.

    Raises:
        UserError: no record of a stage that can be run like this, an input is missing, or `into` is the stage's own.
    """
    task = task_of(record, into)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    import_module(f"wsss.stages.{task.stage}").run(task)
    return task.folder


def task_of(record: str | Path, into: str | Path | None = None) -> Task:
    """The task that `run_again` runs."""
    if not os.path.exists(record):
        raise UserError(f"{record}: no such file; {RECORD}")
    read = read_json(record, RECORD)
    facts = read if isinstance(read, dict) else {}
    stage = facts.get("stage")
    if stage == "merge" or "shard" in (facts.get("params") or ()):
        raise UserError(f"{record}: the stage ran in parts (runtime.shards), which go together; say snakemake --force and the stage's index.json")
    if stage not in STAGES or not STAGES[stage].makes or not {"params", "inputs"} <= set(facts):
        raise UserError(f"{record}: no run.json of a stage that can be run again; {RECORD}")
    own = Path(record).resolve().parent
    folder = Path(into) if into else own.with_name(f"{own.name}.again")
    if folder.resolve() == own:
        raise UserError(f"{folder}: holds the results of the stage itself; give another folder with --into")
    missing = [path for path in facts["inputs"].values() if not os.path.exists(path)]
    if missing:
        raise UserError(f"{missing[0]}: an input of the stage is not there; run this command in the project's folder, or make it with snakemake first")
    _refuse_others(folder, facts)
    if into:
        _refuse_strange_files(folder)
    outputs = {name: str(folder / file) for name, file in STAGES[stage].makes.items()}
    threads = facts["params"].get("compute", {}).get("cpu_threads", 1)
    return Task(stage, facts["inputs"], outputs, facts["params"], RUNTIME, threads)


def _refuse_others(folder: Path, facts: dict[str, Any]) -> None:
    """UserError where `folder` holds photos, or what another stage made: files of the same names would be written over."""
    if "manifest" in facts["inputs"]:
        manifest = Path(facts["inputs"]["manifest"])
        held = load_manifest(manifest)
        if what := held_in(held, manifest.parent, folder):
            raise UserError(f"{folder}: holds the {what} of {held.name}; give another folder with --into")
    there = folder / "run.json"
    other = read_json(there) if there.is_file() else facts
    if _made_by(other) != _made_by(facts):
        raise UserError(f"{folder}: holds what another stage, or one with other settings, made; give another folder with --into")


def _made_by(facts: Any) -> list[Any]:
    """What a record says its stage was run with; not its code, which may be mended and run again."""
    if not isinstance(facts, dict):
        return []
    params = facts.get("params")
    return [facts.get("stage"), facts.get("inputs"), {k: v for k, v in params.items() if k != "code"} if isinstance(params, dict) else params]


def _refuse_strange_files(folder: Path) -> None:
    """UserError where `folder` holds files, and nothing says that a stage made them."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give a new folder with --into")
    begun = any((folder / name).exists() for name in BEGUN)
    if folder.is_dir() and any(folder.iterdir()) and not begun:
        words = "holds files that this stage has not made, and may be written over"
        raise UserError(f"{folder}: {words}; give a new folder with --into")
