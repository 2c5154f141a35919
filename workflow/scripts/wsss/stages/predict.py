"""Stage `predict`: the segmentation network over a folder of the user's own photos: masks, overlays, areas of classes."""

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wsss.data.files import file_problems
from wsss.data.forked_loader import forked_loader
from wsss.data.manifest import Row
from wsss.data.photos import find_photos, left_out
from wsss.data.table import listing
from wsss.data.text import as_cell, shown
from wsss.data.transforms import normalise, resize_image, resize_label, shrunk_size
from wsss.engine.atomic import atomic_path, read_json, write_text
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.images import image_size, read_image, scaled
from wsss.io.masks import VOC_PALETTE, read_mask, write_mask
from wsss.refine.crf import CrfParams
from wsss.report.panels import overlay
from wsss.score.self_report import about_masks
from wsss.sections.predictions import Predictions
from wsss.sections.section import typed
from wsss.stages.predictions import Predictor, crf_pool, refined, trained_network
from wsss.train.start import start_device

log = logging.getLogger(__name__)
MASK, OVERLAY = ".png", ".overlay.jpg"
COLUMNS = ("image", "id", "index", "class", "colour", "pixels", "share")


@dataclass(frozen=True)
class Photo:
    """One photo: `name` is its path below the user's folder; the network sees it at `long_side` at most."""

    id: str
    name: str
    image: Path
    long_side: int

    def read(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB as the network and the CRF see it."""
        return shrunk(read_image(self.image), self.long_side)


def shrunk(image: np.ndarray, long_side: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3), no side longer than `long_side`; smaller ones as they are."""
    return resize_image(image, shrunk_size(image.shape[:2], long_side))


def run(task: Task) -> None:
    """Write `{id}.png`, of the photo's size, and `{id}.overlay.jpg` of every photo; then areas.csv over all of them."""
    settings = typed(task.settings, Predictions)
    pool = crf_pool(task, settings)  # forked before torch starts any thread of its own
    device = start_device(task)
    photos, classes = photos_of(task), read_json(task.inputs["dataset"])["classes"]
    predictor = PhotoPredictor(task, settings, trained_network(task, classes, device), device, pool)

    def work(todo: set[str]) -> Iterator[str]:
        wanted = [photo for photo in photos if photo.id in todo]
        refuse_unreadable(wanted, task.params["photos"]["folder"])
        return predictor.make(wanted, photo_loader(task, wanted, device, settings.scales), todo)

    run_images(task, [photo.id for photo in photos], [MASK, OVERLAY], work, diagnose=about_masks(task, photos, classes, MASK))
    write_areas(task.outputs["areas"], photos, task.folder, ["background", *classes])
    if pool:
        pool.shutdown()


def photos_of(task: Task) -> list[Photo]:
    """All photos of the folder that the task is about."""
    source = task.params["photos"]
    folder = Path(source["folder"])
    if others := left_out(folder):
        some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        log.warning("%s: %d pictures of other kinds are left out (%s); save them as JPEG or PNG", folder, len(others), shown(some))
    return [Photo(i, name, folder / name, source["long_side"]) for i, name in find_photos(folder).items()]


def refuse_unreadable(photos: list[Photo], folder: str) -> None:
    """UserError that names every photo which is no readable image, before any is predicted."""
    problems = file_problems([Row(photo.id, (), photo.image.absolute()) for photo in photos], 0)
    if problems:
        raise UserError(listing(f"{folder}: bad photos, mend them all and run the same command again", problems))


class PhotoSet(TorchDataset):
    """Photos as batches of one: no photo's mask depends on which others there are."""

    def __init__(self, photos: list[Photo], scales: Sequence[float]) -> None:
        self.photos, self.scales = photos, scales

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": [self.photos[index].id], "index": [index], **views(self.photos[index].read(), self.scales)}


def views(image: np.ndarray, scales: Sequence[float]) -> dict[str, Any]:
    """An image as a batch of one for `Predictor.probabilities`: `size`, and `scales`, (1, 3, h, w) float32 each."""
    size = image.shape[:2]
    made = [normalise(resize_image(image, scaled(size, s)))[None] for s in scales]
    return {"size": tuple(size), "scales": [torch.from_numpy(view) for view in made]}


def photo_loader(task: Task, photos: list[Photo], device: torch.device, scales: Sequence[float]) -> DataLoader:
    """Batches of one photo, read in worker processes."""
    samples = PhotoSet(photos, scales)
    return forked_loader(samples, task.loader_workers(len(photos)), batch_size=None, pin_memory=device.type == "cuda")


class PhotoPredictor(Predictor[Photo]):
    """Writes a mask of the photo's own size and an overlay; the mask before the CRF is not kept."""

    @staticmethod
    def write(folder: Path, photo: Photo, label: np.ndarray) -> None:
        """`label` is of the size that the network saw."""
        write_photo(folder, photo, photo.read(), label)

    @staticmethod
    def refine(folder: Path, photo: Photo, labels: np.ndarray, probs: np.ndarray, crf: CrfParams) -> str:
        """CRF, then the files; labels and probabilities as `pruned` gives them."""
        image = photo.read()
        write_photo(folder, photo, image, refined(image, labels, probs, crf))
        return photo.id


def write_photo(folder: Path, photo: Photo, image: np.ndarray, label: np.ndarray) -> None:
    """Write the mask at the photo's size and the overlay at that of `image`, which the network saw."""
    size = label.shape if max(label.shape) < photo.long_side else image_size(photo.image)
    write_mask(folder / f"{photo.id}{MASK}", resize_label(label, size))
    with atomic_path(folder / f"{photo.id}{OVERLAY}") as temp:
        Image.fromarray(overlay(image, label)).save(temp, format="JPEG", quality=90)


def write_areas(path: str | Path, photos: list[Photo], folder: Path, classes: list[str]) -> None:
    """Write areas.csv: a row an image and class, background and absent classes included; `share` is of the image's pixels."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for photo in photos:
        counts = np.bincount(read_mask(folder / f"{photo.id}{MASK}").ravel(), minlength=len(classes))
        for index, name in enumerate(classes):
            colour = "#{:02x}{:02x}{:02x}".format(*VOC_PALETTE[index])
            share = f"{counts[index] / counts.sum():.6f}"
            table.writerow([as_cell(photo.name), as_cell(photo.id), index, as_cell(name), colour, counts[index], share])
    write_text(path, out.getvalue())
