"""The start of a stage with a network: its device, the processes that train together, and the first weights."""

import logging
from pathlib import Path
from typing import Any

import torch

from wsss import ranks
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.nets import weights
from wsss.train.device import note_device, pick_device

log = logging.getLogger(__name__)


def start_device(task: Task, precision: str | None = None) -> torch.device:
    """Pick the device and seed torch, so that random initial weights are a function of the seed.

    precision: the stage's own, where it does not go by `compute.precision`.
    """
    compute = task.params["compute"]
    place = ranks.rank(), ranks.world()
    device = pick_device(task.runtime["device"], compute["cpu_threads"], *place)
    note_device(task, device, precision)
    torch.manual_seed(task.params["seed"])
    return device


def start_devices(task: Task, batch_size: int) -> torch.device:
    """`start_device` for a training: from here on there is a process for each of the task's GPUs, doing the same.

    Raises:
        UserError: the batch cannot be shared out evenly.
    """
    wanted = task.params["compute"].get("gpus", 1)
    if task.gpus < wanted:
        log.warning("compute.gpus is %d, this job was given %d; say --resources gpu=%d", wanted, task.gpus, wanted)
    if batch_size % task.gpus:
        raise UserError(
            f"{task.stage}: a batch of {batch_size} cannot be shared out among {task.gpus} GPUs; let compute.gpus divide batch_size"
        )
    ranks.fork(task.gpus)
    device = start_device(task)
    ranks.connect(device)
    if max(task.gpus, wanted) > 1:
        task.record.facts["processes"] = task.gpus
    if task.gpus > 1:
        task.arithmetic["processes"] = str(task.gpus)
    return device


def load_initial(task: Task, network: Any, backbone: str) -> None:
    """Load ImageNet weights into the backbone where the recipe has them."""
    if "weights" in task.inputs:
        network.load_backbone(weights.load(Path(task.inputs["weights"]), backbone))


def initial_weights(task: Task) -> dict[str, str | None]:
    """Facts for the model: where its first weights come from, and the sha256 of the file they came in."""
    if "weights" in task.inputs:
        source, sha256 = weights.origin(Path(task.inputs["weights"]))
        return {"initial_weights": source, "initial_weights_sha256": sha256}
    source = "the trained classifier" if "classifier" in task.inputs else "none"
    return {"initial_weights": source, "initial_weights_sha256": None}
