"""Stage `weights`: ImageNet weights of a backbone, downloaded or local, checked and converted."""

from pathlib import Path

from wsss.engine.checksums import LOCK_FILE
from wsss.engine.task import Task
from wsss.nets.fetch import fetch


def run(task: Task) -> None:
    """Fetch the weights of `backbone` into a safetensors file."""
    fetch(
        task.params["backbone"],
        Path(task.outputs["weights"]),
        local=Path(task.inputs["local"]) if "local" in task.inputs else None,
        lock_file=LOCK_FILE,
    )
    task.record.write(Path(task.outputs["weights"]).with_suffix(".run.json"), inputs=task.inputs)
