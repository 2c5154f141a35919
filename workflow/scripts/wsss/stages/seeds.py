"""Stage `seeds`: two CRF-refined label maps a CAM — the confident one (the refined seed) and the unsure one."""

from pathlib import Path
from typing import Any

from wsss.data.manifest import Record, load_manifest
from wsss.io.cams import cam_at, read_cam
from wsss.io.images import read_image
from wsss.io.masks import write_mask
from wsss.refine.crf import CrfParams
from wsss.refine.ir_labels import seeds_pair
from wsss.stages.images import file_of, in_processes, input_index, run_images, shard_records
from wsss.stages.task import Task

CONFIDENT, UNSURE = ".png", ".unsure.png"


def run(task: Task) -> None:
    """Write `{id}.png` (confident) and `{id}.unsure.png` for every image of trainaug."""
    records = shard_records(task, load_manifest(task.inputs["manifest"]).split("trainaug"))
    index = input_index(task, "cam", records)
    facts = {"geometry": index["geometry"], "norm": index["norm"]}

    def work(todo: set[str]):
        jobs = ((r, file_of(task.inputs["cam"], r.id, ".npy"), facts, task.settings, task.folder) for r in records)
        yield from in_processes(make_seed, (job for job in jobs if job[0].id in todo), task.threads)

    run_images(task, [r.id for r in records], [CONFIDENT, UNSURE], work, unary=unary_of(task.settings))


def make_seed(record: Record, cam_path: Path, facts: dict[str, str], settings: dict[str, Any], folder: Path) -> str:
    """Write both seeds of one image; returns its id."""
    image = read_image(record.image)
    cam = cam_at(read_cam(cam_path), image.shape[:2], facts["geometry"], facts["norm"])
    rules, params = (settings["confident"], settings["unsure"]), CrfParams(**settings["crf_params"])
    confident, unsure = seeds_pair(image, cam, record.labels, *rules, params, unary=unary_of(settings))
    write_mask(folder / f"{record.id}{UNSURE}", unsure)
    write_mask(folder / f"{record.id}{CONFIDENT}", confident)
    return record.id


def unary_of(settings: dict[str, Any]) -> str:
    """What the CRF starts from, `labels` unless the recipe says `scores`."""
    return settings.get("unary", "labels")
