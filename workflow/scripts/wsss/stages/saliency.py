"""Stage `saliency`: maps of all training images, from the images alone, with an ImageNet network, or by a user's own command."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from wsss.data.manifest import Record, load_manifest
from wsss.data.table import listing
from wsss.engine.atomic import explain_os_errors, write_text
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.signals import stop_requested
from wsss.engine.task import Task
from wsss.engine.threads import threaded
from wsss.engine.workers import in_processes
from wsss.errors import UserError
from wsss.fixed import WORKER_THREADS
from wsss.io.images import image_size, read_image
from wsss.io.saliency import read_saliency, write_saliency
from wsss.saliency.program import run_command, write_list
from wsss.saliency.robust_background import robust_background
from wsss.sections.saliency import SALIENCY, FeatureCut, RobustBackground, SaliencyCommand
from wsss.sections.section import typed

log = logging.getLogger(__name__)
PROGRESS_SECONDS = 30.0


def run(task: Task) -> None:
    """Write `{id}.png`, 8-bit gray of the image's size, for every image of trainaug."""
    every = load_manifest(task.inputs["manifest"]).split("trainaug")
    records = shard_records(task, every)
    settings = typed(task.settings, SALIENCY[task.settings["make"]])

    def work(todo: set[str]) -> Iterator[str]:
        wanted = [r for r in records if r.id in todo]
        if isinstance(settings, SaliencyCommand):
            return by_command(task, wanted, settings.command)
        if isinstance(settings, FeatureCut):
            return by_feature_cut(task, wanted, settings)
        assert isinstance(settings, RobustBackground)
        return by_robust_background(task, wanted, settings)

    ids, all_ids = [r.id for r in records], [r.id for r in every]
    run_images(task, ids, [".png"], work, every=all_ids, made_by=settings.make)


def by_robust_background(task: Task, records: list[Record], settings: RobustBackground) -> Iterator[str]:
    """One process a core."""
    return _one_by_one(task, records, partial(robust_background, superpixels=settings.superpixels, long_side=settings.long_side))


def by_feature_cut(task: Task, records: list[Record], settings: FeatureCut) -> Iterator[str]:
    """One process a core, each with the network and one thread."""
    import torch  # here, since the other ways do without

    from wsss.saliency.feature_cut import feature_cut

    torch.set_num_threads(WORKER_THREADS)
    return _one_by_one(task, records, partial(feature_cut, weights=Path(task.inputs["weights"]), long_side=settings.long_side))


def _one_by_one(task: Task, records: list[Record], maker: Callable[[np.ndarray], np.ndarray]) -> Iterator[str]:
    return in_processes(make_map, ((record, task.folder, maker) for record in records), task.threads)


def make_map(record: Record, folder: Path, maker: Callable[[np.ndarray], np.ndarray]) -> str:
    """Write the map of one image; returns its id."""
    write_saliency(folder / f"{record.id}.png", maker(read_image(record.image)))
    return record.id


def by_command(task: Task, records: list[Record], command: str) -> Iterator[str]:
    """Run the user's command on the images still to do, check all maps, then take them over.

    What a killed run of the same command left is kept where it is whole.

    Raises:
        UserError: the command failed, or every map that is missing or wrong.
    """
    if not records:
        return
    from wsss.train.device import one_gpu_for_a_program  # here, since the other ways do without torch

    place = task.folder / f".command-{task.params.get('shard') or 'all'}"
    with explain_os_errors(place):
        out = _workplace(place, task.fingerprint())
        todo = [record for record, fault in zip(records, faults(records, out), strict=True) if fault]
        if todo:
            for record in todo:
                (out / f"{record.id}.png").unlink(missing_ok=True)
            write_list(place / "list.tsv", ((r.id, r.image) for r in todo))
            gpu = {} if task.runtime["device"] == "cpu" else one_gpu_for_a_program()
            run_command(command, place / "list.tsv", out, Progress(out, len(records)), gpu)
        if wrong := [fault for fault in faults(records, out) if fault]:
            head = f"saliency: the command left {len(wrong)} of {len(records)} maps wrong or unwritten; mend the command"
            raise UserError(listing(head, wrong))
        for record in records:
            os.replace(out / f"{record.id}.png", task.folder / f"{record.id}.png")
            yield record.id
        shutil.rmtree(place)


def _workplace(place: Path, mark: str) -> Path:
    """The folder {out}, emptied where another command, or other images, left it."""
    note = place / "fingerprint"
    if not note.is_file() or note.read_text("utf-8") != mark:
        shutil.rmtree(place, ignore_errors=True)
        (place / "out").mkdir(parents=True)
        write_text(note, mark)
    return place / "out"


def faults(records: Iterable[Record], folder: Path) -> list[str | None]:
    """What is wrong with the map of each record in `folder`, None where nothing is."""
    return list(threaded(lambda record: _fault(record, folder / f"{record.id}.png"), records))


def _fault(record: Record, path: Path) -> str | None:
    if not path.is_file():
        return f"{path}: was not written; the list asks for {record.id}"
    try:
        found = read_saliency(path).shape
    except UserError as error:
        return str(error)
    height, width = image_size(record.image)
    if found == (height, width):
        return None
    return f"{path}: is {found[1]}x{found[0]}, its image {width}x{height} (after EXIF rotation); resize the map to the image"


class Progress:
    """Called every second while a command runs: says from time to time how far it is, and ends it on SIGTERM."""

    def __init__(self, out: Path, total: int) -> None:
        self.out, self.total, self.last = out, total, time.monotonic()

    def __call__(self) -> None:
        if stop_requested():
            log.info("stopped by SIGTERM; the same command goes on from here")
            raise SystemExit(143)
        if time.monotonic() - self.last >= PROGRESS_SECONDS:
            self.last = time.monotonic()
            written = sum(entry.name.endswith(".png") for entry in os.scandir(self.out))
            log.info("saliency: the command has written %d of %d maps", written, self.total)
