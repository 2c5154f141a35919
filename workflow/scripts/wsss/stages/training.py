"""What the training stages (classifier, affinity, segmentation) share."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from wsss.data.manifest import Dataset, Record
from wsss.data.table import listing
from wsss.errors import UserError
from wsss.io.atomic import drop_temporaries
from wsss.io.digest import fingerprint
from wsss.io.models import save_model, write_history
from wsss.io.record import package_versions
from wsss.nets import weights
from wsss.stages.images import file_of, input_index
from wsss.stages.task import Task
from wsss.train import finished, ranks
from wsss.train.device import autocast_dtype, pick_device
from wsss.train.loop import Job, StepLoss, fit
from wsss.train.sanity import refuse_diverged

log = logging.getLogger(__name__)


def start_device(task: Task, precision: str | None = None) -> torch.device:
    """Pick the device and seed torch, so that random initial weights are a function of the seed.

    precision: the stage's own, where it does not go by `compute.precision`.
    """
    compute = task.params["compute"]
    place = ranks.rank(), ranks.world()
    device = pick_device(task.runtime["device"], compute["cpu_threads"], precision or compute["precision"], *place)
    note_device(task, device, precision)
    torch.manual_seed(task.params["seed"])
    return device


def start_devices(task: Task) -> torch.device:
    """`start_device` for a training: from here on there is a process for each of the task's GPUs, doing the same.

    Raises:
        UserError: the batch cannot be shared out evenly.
    """
    size, wanted = task.settings["batch_size"], task.params["compute"].get("gpus", 1)
    if task.gpus < wanted:
        log.warning("compute.gpus is %d, this job was given %d; say --resources gpu=%d", wanted, task.gpus, wanted)
    if size % task.gpus:
        raise UserError(
            f"{task.stage}: a batch of {size} cannot be shared out among {task.gpus} GPUs; let compute.gpus divide batch_size"
        )
    ranks.fork(task.gpus)
    device = start_device(task)
    ranks.connect(device)
    if max(task.gpus, wanted) > 1:
        task.record.facts["processes"] = task.gpus
    if task.gpus > 1:
        task.arithmetic["processes"] = str(task.gpus)
    return device


def note_device(task: Task, device: torch.device, precision: str | None = None) -> None:
    """Put the device into the run record, and what rounding depends on into the task's fingerprint."""
    dtype = autocast_dtype(device, precision or task.params["compute"]["precision"]) or torch.float32
    task.record.facts["device"] = str(device)
    task.arithmetic = {"device": device.type, "dtype": str(dtype)}


def load_initial(task: Task, network: Any, backbone: str) -> None:
    """Load ImageNet weights into the backbone where the recipe has them."""
    if "weights" in task.inputs:
        network.load_backbone(weights.load(task.inputs["weights"], backbone))


def train(
    task: Task,
    network: torch.nn.Module,
    dataset: Any,
    groups: list[dict],
    step_loss: StepLoss,
    device: torch.device,
    after_step: Callable[[int], None] | None = None,
    finish: Callable[[], None] | None = None,
    check: Callable[[list[dict[str, float]]], None] | None = None,
    saved: torch.nn.Module | None = None,
) -> None:
    """Train (or resume), then write model, history and run record; what finished before is not trained again.

    `finish` may change the trained network; `check` looks at it, given the history. `saved` is the part of it that the
    model file holds; by default it is all of it.

    Raises:
        UserError: the network diverged; then nothing is written.
    """
    state_path, mark = task.folder / "train_state.pt", task.fingerprint()
    made_with = fingerprint({"training": mark, "packages": package_versions()})  # another environment trains again
    if ranks.agree(ranks.rank() == 0 and finished.restore(task.outputs.values(), made_with))[0]:
        ranks.leave()
        log.info("%s: this training had finished; its model is back in place", task.stage)
        tidy(task.folder, state_path)
        return  # run.json too is that training's
    job = Job(
        network=network,
        step_loss=step_loss,
        groups=groups,
        dataset=dataset,
        settings=task.settings,
        runtime={**task.runtime, **task.params["compute"], "workers": loader_workers(task)},
        seed=task.params["seed"],
        device=device,
        state_path=state_path,
        fingerprint=mark,
        after_step=after_step,
    )
    history = fit(job)
    ranks.leave()
    if finish is not None:
        finish()
    refuse_diverged(job, task.stage)
    if check is not None:
        check(history)
    write_history(task.outputs["history"], history)
    initial = initial_weights(task)
    save_model(task.outputs["model"], network if saved is None else saved, params=task.params, **initial)
    task.write_record(images=len(history) * task.settings["batch_size"], **initial)
    finished.keep(task.outputs.values(), made_with)
    tidy(task.folder, state_path)


def loader_workers(task: Task) -> int:
    """Processes that read images for each of those that train."""
    return min(task.runtime["workers"], max(task.threads // ranks.world(), 1))


def tidy(folder: Path, state_path: Path) -> None:
    """Remove what only an unfinished training needs, and what killed ones left."""
    state_path.unlink(missing_ok=True)
    drop_temporaries(folder)


def initial_weights(task: Task) -> dict[str, str | None]:
    """Facts for the model: where its first weights come from, and the sha256 of the file they came in."""
    if "weights" in task.inputs:
        source, sha256 = weights.origin(task.inputs["weights"])
        return {"initial_weights": source, "initial_weights_sha256": sha256}
    source = "the trained classifier" if "classifier" in task.inputs else "none"
    return {"initial_weights": source, "initial_weights_sha256": None}


def label_files(task: Task, name: str, records: tuple[Record, ...]) -> Callable[[Record], Path]:
    """Label paths from the per-image stage whose index is input `name`; checked before any training."""
    input_index(task, name, records)
    return lambda record: file_of(task.inputs[name], record.id, ".png")


def saliency_files(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> Callable[[Record], Path]:
    """Paths of saliency maps: those the stage `saliency` made where it is an input, else the dataset's own.

    Raises:
        UserError: images without a map, all at once and before any training.
    """
    if "saliency" in task.inputs:
        return label_files(task, "saliency", records)
    missing = [f"{r.id}: {r.saliency or 'none in the manifest'}" for r in records if not _is_file(r.saliency)]
    if missing:
        head = (
            f"{dataset.name}: of {len(records)} training images these have no saliency map; add them, or let maps be "
            "made for all: `saliency: {make: robust_background}` in the dataset's file (docs/saliency.md)"
        )
        raise UserError(listing(head, missing))
    return lambda record: record.saliency


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()


def training_records(dataset: Dataset, *, labelled_only: bool) -> tuple[Record, ...]:
    """The images to train on; those without a label are of use only where labels of pixels teach, background all over.

    Raises:
        UserError: none is left.
    """
    records = tuple(r for r in dataset.split("trainaug") if r.labels or not labelled_only)
    if not records:
        raise UserError(f"{dataset.name}: no training image with a label; mend the dataset's list")
    return records
