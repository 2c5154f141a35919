"""Stage `weights`: ImageNet weights of a backbone, downloaded or local, checked and converted."""

from pathlib import Path

from wsss.engine.task import Task
from wsss.nets.fetch import fetch


def run(task: Task) -> None:
    """Fetch the weights of `backbone` into a safetensors file."""
    fetch(
        task.params["backbone"],
        task.outputs["weights"],
        local=task.inputs.get("local"),
        lock_file=task.params["lock_file"],
    )
    task.record.write(Path(task.outputs["weights"]).with_suffix(".run.json"), inputs=task.inputs)
