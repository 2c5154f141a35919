"""Stage `pseudo_masks`: one mask per training image, by IRN's random walk, the CRF, or a threshold alone."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from wsss.data.manifest import Record, load_manifest
from wsss.data.transforms import normalise
from wsss.io.cams import cam_at, cam_on_grid, read_cam
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask, write_mask
from wsss.io.models import load_model
from wsss.refine.background import argmax_labels, background
from wsss.refine.irn import IrnNet
from wsss.refine.random_walk import irn_semantic
from wsss.stages.affinity import build_network
from wsss.stages.images import file_of, in_processes, input_index, run_images, shard_records
from wsss.stages.seeds import CONFIDENT
from wsss.stages.task import Task
from wsss.stages.training import note_device
from wsss.train.device import autocast, pick_device

WALK = ("power", "beta", "exp_times", "radius", "normalise")
Work = Callable[[set[str]], Iterator[str]]


def run(task: Task) -> None:
    """Write `{id}.png` for every image of trainaug, as the recipe's `refine` says."""
    records = shard_records(task, load_manifest(task.inputs["manifest"]).split("trainaug"))
    makers = {"irn": by_walk, "crf": by_crf, "none": by_threshold}
    work = makers[task.params["refine"]](task, records)
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
    index = input_index(task, "cam", records)

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in records if r.id in todo):
            stored, size = read_cam(file_of(task.inputs["cam"], record.id, ".npy")), image_size(record.image)
            cam = cam_at(stored, size, index["geometry"], index["norm"])
            mask = argmax_labels(cam, background(cam, **task.settings["bg"]), record.labels)
            write_mask(task.folder / f"{record.id}.png", mask)
            yield record.id

    return work


def by_walk(task: Task, records: tuple[Record, ...]) -> Work:
    """IRN: boundary map, then the walk. On the CPU one process a core; on a GPU the walk runs there."""
    index = input_index(task, "cam", records)
    _walkers[task.outputs["index"]] = Walker(task, index)
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

    def __init__(self, task: Task, index: dict[str, Any]) -> None:
        self.task, self.index = task, index
        self._network: IrnNet | None = None
        self._device = torch.device("cpu")

    def __call__(self, record: Record) -> str:
        image = read_image(record.image)
        size = image.shape[:2]
        stored = read_cam(file_of(self.task.inputs["cam"], record.id, ".npy"))
        cam = cam_on_grid(stored, size, self.index["geometry"], self.index["norm"])
        edge = self.edge(image) if len(cam) else np.zeros(cam.shape[1:], np.float32)
        options = {name: self.task.settings[name] for name in WALK}
        mask = irn_semantic(cam, edge, size, record.labels, self.task.settings["bg"], **options)
        write_mask(self.task.folder / f"{record.id}.png", mask)
        return record.id

    @torch.inference_mode()
    def edge(self, image: np.ndarray) -> torch.Tensor:
        """(h, w) boundary probabilities of (H, W, 3) uint8."""
        network = self._network or self._load()
        view = torch.from_numpy(normalise(image))[None].to(self._device)
        views = torch.cat([view, view.flip(-1)]).contiguous(memory_format=torch.channels_last)
        with autocast(self._device, self.task.params["compute"]["precision"]):
            return network.edge_maps(views)[0]

    def _load(self) -> IrnNet:
        wanted = self.task.runtime["device"]
        # One thread a process whatever --cores says, so that the result does not depend on it.
        self._device = pick_device(wanted, 1, self.task.params["compute"]["precision"])
        network = build_network(self.task, self.task.settings["pad_to"])
        load_model(self.task.inputs["affinity"], network)
        self._network = network.to(self._device, memory_format=torch.channels_last).eval()
        return self._network
