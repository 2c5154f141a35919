"""Stage `affinity`: train IRN on IR labels; its boundary map says where the random walk may not pass."""

from collections.abc import Iterator

import torch
from safetensors.torch import load_file

from wsss.data.manifest import Dataset, load_manifest
from wsss.data.torch_sets import TrainingSet
from wsss.data.transforms import Geometry
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.refine.irn import IrnNet
from wsss.stages.task import Task
from wsss.stages.training import label_files, load_initial, start_device, train, training_records


def run(task: Task) -> None:
    """Train the edge branch (and the displacement branch where asked for) on every labelled image."""
    device = start_device(task)
    dataset = load_manifest(task.inputs["manifest"])
    records = training_records(dataset, labelled_only=True)
    label_path = label_files(task, "ir_labels", records)
    network = build_network(task)
    if "classifier" in task.inputs:
        network.load_backbone(classifier_trunk(task.inputs["classifier"]))
    else:
        load_initial(task, network, task.settings["backbone"])
    samples = TrainingSet(dataset, records, task.settings["augmentation"], label_path)
    finish = None
    if task.settings["displacement"]:
        crop = task.settings["augmentation"]["crop"]
        finish = lambda: network.estimate_mean_shift(plain_crops(dataset, crop, device))  # noqa: E731
    train(task, network, samples, network.param_groups(), network.loss, device, finish=finish)


def build_network(task: Task, pad_to: int | None = None) -> IrnNet:
    """The recipe's IRN with random weights; `pad_to` matters to inference only."""
    settings = task.params["network"]
    return IrnNet(settings["backbone"], settings["radius"], settings["displacement"], pad_to)


def classifier_trunk(path: str) -> dict[str, torch.Tensor]:
    """The trunk of a trained classifier, for nets that have no ImageNet weights (a random trunk sees nothing).

    Raises:
        UserError: the model holds no trunk.
    """
    trunk = {k.removeprefix("backbone."): v for k, v in load_file(path).items() if k.startswith("backbone.")}
    if not trunk:
        raise UserError(f"{path}: holds no tensors named backbone.*; train the classifier again")
    return trunk


def plain_crops(dataset: Dataset, crop: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Batches of top-left crops of the train split, as IRN's mean-shift pass sees them."""
    records = dataset.split("train") or dataset.split("trainaug")

    def sample(index: int) -> torch.Tensor:
        image = read_image(records[index].image)
        return torch.from_numpy(Geometry(image.shape[:2], False, crop, (0, 0)).image(image))

    for start in range(0, len(records), 32):
        yield torch.stack([sample(i) for i in range(start, min(start + 32, len(records)))]).to(device)
