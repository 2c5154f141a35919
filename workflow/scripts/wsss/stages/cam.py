"""Stage `cam`: multi-scale CAMs of all training images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.errors import UserError
from wsss.io.cams import grid_size, write_cam
from wsss.io.masks import read_mask
from wsss.io.models import load_model
from wsss.methods.base import Method
from wsss.stages.classifier import build_method
from wsss.stages.images import file_of, input_index, run_images
from wsss.stages.loader import inference_loader, shard_batches
from wsss.stages.task import Task
from wsss.stages.training import start_device
from wsss.train.device import EXACT


def run(task: Task) -> None:
    """Write `{id}.npy` for every image of trainaug."""
    device = start_device(task, EXACT)
    dataset = load_manifest(task.inputs["manifest"])
    records = dataset.split("trainaug")
    method = build_method(task, dataset.num_classes)
    load_model(task.inputs["model"], method)
    method = method.to(device, memory_format=torch.channels_last).eval()
    for name in method.spec.aux:
        if name not in task.inputs:
            net = task.params["recipe"]["net"]
            raise UserError(f"inference of net {net} reads {name} of another recipe; set `cam: {{aux_from: RECIPE}}` in the recipe")
        input_index(task, name, records)
    batches = shard_batches(task, records)
    maker = CamMaker(task, dataset, method, device)
    run_images(
        task,
        [records[i].id for batch in batches for i in batch],
        [".npy"],
        lambda todo: maker.make(records, batches, todo),
        geometry=method.spec.geometry,
        norm=method.spec.norm,
        scales=task.settings["scales"],
    )


class CamMaker:
    """Runs a method over whole images: scales and flips in the engine, everything else in the method."""

    def __init__(self, task: Task, dataset: Dataset, method: Method, device: torch.device) -> None:
        self.task, self.dataset, self.method, self.device = task, dataset, method, device

    def make(self, records: tuple[Record, ...], batches: list[list[int]], todo: set[str]) -> Iterator[str]:
        """Write the CAMs of `todo`, yielding each id when its file stands."""
        for batch in inference_loader(self.task, self.dataset, records, batches, todo, self.device):
            sums = self.summed_maps(batch)
            for row, item_id in enumerate(batch["id"]):
                if item_id in todo:
                    cam = self.finished(sums[row], batch["y"][row], records[batch["index"][row]])
                    write_cam(self.task.folder / f"{item_id}.npy", cam)
                    yield item_id

    @torch.inference_mode()
    def summed_maps(self, batch: dict[str, Any]) -> torch.Tensor:
        """(B, C or C+1, gh, gw): the method's maps summed over scales."""
        grid = grid_size(batch["size"], self.method.spec.geometry)
        y = batch["y"].to(self.device)
        total: torch.Tensor | None = None
        for images in batch["scales"]:
            images = images.to(self.device, non_blocking=True)
            views = torch.cat([images, images.flip(-1)]).contiguous(memory_format=torch.channels_last)
            maps = self.method.seed_maps(views, y, grid)
            total = maps if total is None else total + maps
        assert total is not None
        return total

    @torch.inference_mode()
    def finished(self, total: torch.Tensor, y: torch.Tensor, record: Record) -> np.ndarray:
        """(K, gh, gw) float32 in [0, 1] of one image."""
        aux = {name: read_mask(file_of(self.task.inputs[name], record.id, ".png")) for name in self.method.spec.aux}
        scales = len(self.task.settings["scales"])
        return self.method.finalise(total, scales, y.to(self.device), aux).float().cpu().numpy()
