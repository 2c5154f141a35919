"""IRN in the stage `affinity`: a boundary network learns from IR labels."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from wsss.data.manifest import Dataset, Record
from wsss.data.stage_inputs import label_files
from wsss.data.torch_sets import TrainingSet
from wsss.data.transforms import Geometry
from wsss.engine.task import Task
from wsss.io.images import read_image
from wsss.refine.boundary_net import IrnNet
from wsss.sections.affinity import Affinity, IRNAffinity


def network(settings: Mapping[str, Any]) -> IrnNet:
    """IRN with random weights."""
    return IrnNet(**settings)


def samples(task: Task, settings: Affinity, dataset: Dataset, records: tuple[Record, ...]) -> TrainingSet:
    """Images with their IR labels."""
    return TrainingSet(dataset, records, settings.augmentation, label_files(task, "ir_labels", records))


def finish(settings: IRNAffinity, network: IrnNet, dataset: Dataset, device: torch.device) -> Callable[[], None] | None:
    """With the displacement branch: its mean shift over the train split."""
    if not settings.displacement:
        return None
    crop = settings.augmentation.crop
    return lambda: network.estimate_mean_shift(plain_crops(dataset, crop, device))


def plain_crops(dataset: Dataset, crop: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Batches of top-left crops of the train split, as IRN's mean-shift pass sees them."""
    records = dataset.split("train") or dataset.split("trainaug")

    def sample(index: int) -> torch.Tensor:
        image = read_image(records[index].image)
        return torch.from_numpy(Geometry(image.shape[:2], False, crop, (0, 0)).image(image))

    for start in range(0, len(records), 32):
        yield torch.stack([sample(i) for i in range(start, min(start + 32, len(records)))]).to(device)
