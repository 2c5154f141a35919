"""Stage `cam`: multi-scale CAMs of all training images."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from wsss.data.inference import inference_loader, shard_batches
from wsss.data.labels import label_facts, require_trained_on
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import input_index
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.cams import SUFFIX, write_cam
from wsss.io.masks import read_mask
from wsss.io.models import load_model
from wsss.methods.base import Method, require_maps, require_signs
from wsss.methods.build import build_method
from wsss.nets.fused import ready_to_infer
from wsss.sections.cam import Cam
from wsss.sections.section import typed
from wsss.train.device import EXACT
from wsss.train.start import start_device


def run(task: Task) -> None:
    """Write `{id}.npz` for every image of trainaug."""
    settings = typed(task.settings, Cam)
    device = start_device(task, EXACT)
    dataset = load_manifest(task.inputs["manifest"])
    records = dataset.split("trainaug")
    networks = trained_networks(task, dataset, device)
    method = networks[0]
    for name in method.spec.aux:
        if name not in task.inputs:
            net = task.params["recipe"]["net"]
            raise UserError(f"inference of net {net} reads {name} of another recipe; set `cam: {{aux_from: RECIPE}}` in the recipe")
        input_index(task, name, records)
    batches = shard_batches(task, records, settings.batch_size)
    bg_map: dict[str, Any] = {"bg_map": True} if method.spec.bg_map else {}
    maker = CamMaker(task, dataset, networks, device)
    run_images(
        task,
        [records[i].id for batch in batches for i in batch],
        [SUFFIX],
        lambda todo: maker.make(records, batches, todo),
        every=[r.id for r in records],
        form=method.spec.form,
        geometry=method.spec.geometry,
        norm=method.spec.norm,
        scales=settings.scales,
        **bg_map,
        **label_facts(dataset),
    )


def trained_networks(task: Task, dataset: Dataset, device: torch.device) -> list[Method]:
    """The recipe's network, ready on the device, once for each of the inputs `model`, `model_2` ... with its weights."""
    networks = []
    for path in (path for name, path in task.inputs.items() if name.split("_")[0] == "model"):
        network = build_method(task, dataset.num_classes)
        facts = load_model(path, network)
        require_trained_on(path, facts, dataset.classes, dataset.name)
        networks.append(ready_to_infer(network, device))
    return networks


class CamMaker:
    """Runs a method over whole images: scales, flips and several networks in the engine, everything else in the method."""

    def __init__(self, task: Task, dataset: Dataset, networks: Sequence[Method], device: torch.device) -> None:
        self.task, self.dataset, self.networks, self.device = task, dataset, networks, device
        self.method = networks[0]
        self.settings = typed(task.settings, Cam)

    def make(self, records: tuple[Record, ...], batches: list[list[int]], todo: set[str]) -> Iterator[str]:
        """Write the CAMs of `todo`, yielding each id when its file stands."""
        for batch in inference_loader(self.task, self.dataset, records, batches, todo, self.device, self.settings.scales):
            maps = self.maps(batch)
            for row, item_id in enumerate(batch["id"]):
                if item_id in todo:
                    record = records[batch["index"][row]]
                    self.write(record, [one[row] for one in maps], batch["y"][row], batch["size"])
                    yield item_id

    @torch.inference_mode()
    def maps(self, batch: dict[str, Any]) -> list[Tensor]:
        """The method's maps (B, n, h, w), one a scale, on the network's own grids: the mean over the networks.

        Raises:
            UserError: they are not of the contract's form.
        """
        y, found = batch["y"].to(self.device), []
        for images in batch["scales"]:
            images = images.to(self.device, non_blocking=True)
            views = torch.cat([images, images.flip(-1)]).contiguous(memory_format=torch.channels_last)
            maps = (require_maps(network.seed_maps(views, y), y) for network in self.networks)
            found.append(reduce(add, maps) / len(self.networks))
        return found

    @torch.inference_mode()
    def write(self, record: Record, maps: list[Tensor], y: Tensor, size_hw: tuple[int, int]) -> None:
        """Write the CAM of one image; what stood there in the former format goes."""
        aux = {name: read_mask(file_of(self.task.inputs[name], record.id, ".png")) for name in self.method.spec.aux}
        rows, extras = self.method.stored(maps, y.to(self.device), size_hw, aux)
        rows = [one.float().cpu() for one in rows]
        require_signs(rows, self.method.spec)
        write_cam(self.task.folder / f"{record.id}{SUFFIX}", record.labels, [one.numpy() for one in rows], extras if record.labels else {})
        (self.task.folder / f"{record.id}.npy").unlink(missing_ok=True)
