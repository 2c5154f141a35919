"""Stage `pseudo_masks`: one mask per training image, by a random walk (IRN, AffinityNet), the CRF, or a threshold alone."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from wsss.data.manifest import Record, load_manifest
from wsss.data.transforms import normalise
from wsss.io.cams import CamFolder
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask, write_mask
from wsss.io.models import load_model
from wsss.refine.background import argmax_labels, background
from wsss.stages import walks
from wsss.stages.images import cam_folder, file_of, in_processes, input_index, run_images, shard_records
from wsss.stages.seeds import CONFIDENT
from wsss.stages.task import Task
from wsss.stages.training import note_device
from wsss.train.device import autocast, pick_device

Work = Callable[[set[str]], Iterator[str]]


def run(task: Task) -> None:
    """Write `{id}.png` for every image of trainaug, as the recipe's `refine` says."""
    records = shard_records(task, load_manifest(task.inputs["manifest"]).split("trainaug"))
    makers = {"crf": by_crf, "none": by_threshold}
    work = makers.get(task.params["refine"], by_walk)(task, records)
    run_images(task, [r.id for r in records], [".png"], work, refine=task.params["refine"])


def by_crf(task: Task, records: tuple[Record, ...]) -> Work:
    """The confident seed as it is."""
    input_index(task, "seeds", records)

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in records if r.id in todo):
            write_mask(task.folder / f"{record.id}.png", read_mask(file_of(task.inputs["seeds"], record.id, CONFIDENT)))
            yield record.id

    return work


def by_threshold(task: Task, records: tuple[Record, ...]) -> Work:
    """Argmax of the CAM beside the background score."""
    cams = cam_folder(task, records)

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in records if r.id in todo):
            cam = cams.at(record, image_size(record.image))
            mask = argmax_labels(cam, background(cam, **task.settings["bg"]), record.labels)
            write_mask(task.folder / f"{record.id}.png", mask)
            yield record.id

    return work


def by_walk(task: Task, records: tuple[Record, ...]) -> Work:
    """What the network sees, then the walk. On the CPU one process a core; on a GPU the walk runs there."""
    _walkers[task.outputs["index"]] = Walker(task, cam_folder(task, records))
    on_cpu = task.runtime["device"] == "cpu" or not torch.cuda.is_available()
    note_device(task, torch.device("cpu" if on_cpu else "cuda"))
    processes = task.threads if on_cpu else 1
    jobs = ((task.outputs["index"], record) for record in records)
    return lambda todo: in_processes(walk_one, (job for job in jobs if job[1].id in todo), processes)


_walkers: dict[str, "Walker"] = {}  # filled before the pool is forked, so that each process has its copy


def walk_one(key: str, record: Record) -> str:
    """Make the mask of one image with the walker of `key`; returns the id."""
    return _walkers[key](record)


class Walker:
    """Makes the mask of one image; the network is loaded at the first call, in the process that uses it."""

    def __init__(self, task: Task, cams: CamFolder) -> None:
        self.task, self.cams, self.walk = task, cams, walks.walker(task.params["refine"])
        self._network: torch.nn.Module | None = None
        self._device = torch.device("cpu")

    def __call__(self, record: Record) -> str:
        image = read_image(record.image)
        mask = self.walk.mask(self.cams, record, image.shape[:2], self.task.settings, lambda: self.see(image))
        write_mask(self.task.folder / f"{record.id}.png", mask)
        return record.id

    @torch.inference_mode()
    def see(self, image: np.ndarray) -> torch.Tensor:
        """What the network says of (H, W, 3) uint8."""
        network = self._network or self._load()
        view = torch.from_numpy(normalise(image)).to(self._device)
        with autocast(self._device, self.task.params["compute"]["precision"]):
            return self.walk.see(network, view)

    def _load(self) -> torch.nn.Module:
        wanted = self.task.runtime["device"]
        # One thread a process whatever --cores says, so that the result does not depend on it.
        self._device = pick_device(wanted, 1, self.task.params["compute"]["precision"])
        network = self.walk.network(self.task.params["network"], self.task.settings)
        load_model(self.task.inputs["affinity"], network)
        self._network = network.to(self._device, memory_format=torch.channels_last).eval()
        return self._network
