"""Each per-image stage on a few images of a COCO of full size, one core."""

import json
import os
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import cv2
import numpy as np
import torch
from _coco_links import World
from _timing import measured
from wsss.data.coco_instances import read_instances
from wsss.data.inference import equal_size_batches
from wsss.data.manifest import load_manifest
from wsss.digest import stable_hash
from wsss.engine.atomic import read_json
from wsss.engine.index import write_index
from wsss.engine.task import Task
from wsss.io.cams import CamFolder
from wsss.io.masks import read_mask
from wsss.io.models import save_model
from wsss.methods.build import build_method
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.recipes.schema import read_yaml
from wsss.refine.crf import CrfParams
from wsss.score.confusion import confusion
from wsss.score.sweep import Sweep
from wsss.stages import affinity, coco_masks, predictions, segmentation

ROOT = Path(__file__).resolve().parents[1]
MAIN = {**read_yaml(ROOT / "config/config.yaml"), "compute": {"precision": "fp32", "cpu_threads": 1}}
PLAN = Plan(ROOT / "config", MAIN)


def measure_stages(world: World) -> None:
    """Time, memory and disk an image of each stage."""
    few, light = world.options.images, 20 * world.options.images
    split = f"h, {world.options.shards} shards"
    print(f"{'stage':<34}{'s/image':>9}{'h, 1 core':>11}{split:>14}{'MB':>8}{'start s':>9}{'kB/image':>10}{'GB':>7}")
    for method in (m for m in world.options.methods if m != "irn"):
        job(world, f"cam ({method})", method, "cam", 1 if method == "eps" else few)
    job(world, "seeds (CRF)", "cam", "seeds", few)
    job(world, "ir_labels", "cam", "ir_labels", few)
    job(world, "pseudo_masks (walk)", "irn", "pseudo_masks", few)
    job(world, "pseudo_masks (threshold)", "eps", "pseudo_masks", light)
    job(world, "predictions (network)", "cam", "predictions", 1, crf=False)
    job(world, "saliency", "eps", "saliency", few)
    if "WSSS_TEST_DATA" in os.environ:
        by_hand(world, "coco_masks", masks_of, "both", light)
    by_hand(world, "predictions (CRF)", crf_of, "val", few)
    by_hand(world, "evaluation (seed, 101 thresholds)", sweep_of, "train", light)
    by_hand(world, "evaluation (one kind of mask)", confusion_of, "train", light)


def line(world: World, name: str, split: str, each: float, peak_mb: float, start: float = 0, bytes_each: float = 0) -> None:
    count = world.sizes[split]
    hours, disk = each * count / 3600, f"{bytes_each / 1e3:>10.1f}{bytes_each * count / 1e9:>7.1f}" if bytes_each else ""
    sharded = (each * count / world.options.shards + start) / 3600
    print(f"{name:<34}{each:>9.3f}{hours:>11.1f}{sharded:>14.2f}{peak_mb:>8.0f}{start:>9.1f}{disk}", flush=True)


def job(world: World, name: str, method: str, stage: str, images: int, **changes: Any) -> None:
    """Run the job of a shard of `images`, twice: the second time there is nothing left to do."""
    params = params_of(method, stage)
    params["settings"] = {**params["settings"], **changes}
    if images == 1:
        params["settings"]["batch_size"] = 1
    split = "val" if stage == "predictions" else "train"
    ids = world.ids(split)
    firsts = first_of_batches(world, params["settings"]["batch_size"], images) if stage == "cam" else ids
    total = len(ids) if stage == "cam" else max(1, len(ids) // images)
    counts = Counter(stable_hash(item_id) % total for item_id in firsts)
    number = next(k for k, n in sorted(counts.items()) if n == (1 if stage == "cam" else images))
    folder = world.results / f"timed/{stage}.{method}"
    output = folder / f"shards/{number + 1}of{total}.json"
    fields = stage, inputs_of(world, method, stage), {"index": str(output)}, {**params, "shard": output.stem}
    done, seconds, peak = measured(run_job, *fields)
    _, start, _ = measured(run_job, *fields)
    made, each = json.loads(output.read_text()), (seconds - start) / done
    write_index(folder, made["digests"], made["suffixes"])  # for the stage that reads it
    files = [folder / f"{i}{end}" for i in made["digests"] for end in made["suffixes"]]
    if stage == "cam":  # whose size depends on the number of labels: that of all images, not of these few
        files, done = [path.with_suffix(".npz") for path, _ in world.templates], len(world.templates)
    line(world, name, split, each, peak, start, sum(path.stat().st_size for path in files) / done)


def run_job(stage: str, inputs: dict, outputs: dict, params: dict) -> int:
    """Number of images made."""
    torch.set_num_threads(1)
    task = Task(stage, inputs, outputs, params, {**MAIN["runtime"], "device": "cpu", "workers": 0}, 1)
    import_module(f"wsss.stages.{stage}").run(task)
    return json.loads(task.note("run.json").read_text())["images"]


def first_of_batches(world: World, batch_size: int, images: int) -> list[str]:
    """First ids of the batches of `images`; each is a shard where there are as many shards as images."""
    records = load_manifest(world.results / "manifest.csv").split("trainaug")
    return [records[b[0]].id for b in equal_size_batches(records, batch_size) if len(b) == images]


def recipe_of(method: str, stage: str) -> dict[str, Any]:
    """The recipe that runs the stage for this method on coco14."""
    return PLAN.recipe(PLAN.owner(Row("coco14", method), stage))


def params_of(method: str, stage: str) -> dict[str, Any]:
    """What the rules give a stage."""
    if stage == "saliency":
        return {"settings": {"make": "robust_background"}}
    return dict(PLAN.params(stage, PLAN.owner(Row("coco14", method), stage)))


BUILDERS = {  # task -> the network that a stage loads
    "classifier": lambda task: build_method(task, 80),
    "affinity": lambda task: affinity.build_network(task),
    "segmentation": lambda task: segmentation.build_network(task, 80),
}


def inputs_of(world: World, method: str, stage: str) -> dict[str, str]:
    """Files a stage reads; networks with random weights are made here."""
    folder = world.results
    inputs = {"manifest": folder / "manifest.csv", "dataset": folder / "dataset.json"}
    if stage in ("seeds", "pseudo_masks"):
        inputs["cam"] = folder / "cam/cam/index.json"
    if stage == "ir_labels":
        inputs["seeds"] = folder / "timed/seeds.cam/index.json"
    if (stage, method) == ("cam", "amn"):
        inputs["ir_labels"] = folder / "cam/ir_labels/index.json"
    trainer = {"cam": "classifier", "predictions": "segmentation"}.get(stage)
    if stage == "pseudo_masks" and recipe_of(method, stage)["refine"] == "irn":
        trainer = "affinity"
    if trainer:
        path = folder / f"timed/{trainer}.{method}.safetensors"
        save_model(path, BUILDERS[trainer](Task(trainer, {}, {}, params_of(method, trainer), {})), initial_weights="none")
        inputs["affinity" if trainer == "affinity" else "model"] = path
    return {name: str(path) for name, path in inputs.items()}


# --- what has no job of its own


def by_hand(world: World, name: str, function: Callable, split: str, images: int) -> None:
    each, _, peak = measured(function, world, split, images)
    line(world, name, split, each, peak)


def masks_of(world: World, split: str, images: int) -> float:
    """Seconds an image: masks painted from coco_mini's annotations, and written."""
    source = Path(os.environ["WSSS_TEST_DATA"]) / "coco_mini/annotations/instances_train2017.json"
    found = read_instances(source)
    pictures = [coco_masks.Picture(str(n), n, found) for n in list(found.images)[:images]]
    start = process_time()
    for picture in pictures:
        coco_masks.make_mask(picture.id, picture.size_hw, picture.regions(), "class", world.folder)
    return (process_time() - start) / len(pictures)


def crf_of(world: World, split: str, images: int) -> float:
    """Seconds an image: masks before and after the CRF, from probabilities around the true mask."""
    params = CrfParams(**recipe_of("cam", "predictions")["predictions"]["crf_params"])
    records, seconds = load_manifest(world.results / "manifest.csv").split(split)[:images], 0.0
    for record in records:
        probs = probabilities(read_mask(record.mask), record.labels)
        start = process_time()
        predictions.refine_one(world.folder, record, *predictions.pruned(probs), params)
        seconds += process_time() - start
    return seconds / len(records)


def probabilities(mask: np.ndarray, labels: tuple[int, ...]) -> torch.Tensor:
    """(81, H, W): the mask's labels blurred, four wrong ones at a tenth here and there, the others near zero."""
    scores = np.full((81, *mask.shape), 1e-4, np.float32)
    for k in (0, *(k + 1 for k in labels)):
        scores[k] += cv2.GaussianBlur((mask == k).astype(np.float32), (0, 0), 8)
    for number, k in enumerate((20, 40, 60, 80)):
        scores[k, number * 40 :: 160] += 0.1
    return torch.from_numpy(scores / scores.sum(0))


def sweep_of(world: World, split: str, images: int) -> float:
    records = load_manifest(world.results / "manifest.csv").split(split)[:images]
    sweep, index = Sweep(80), world.results / "cam/cam/index.json"
    cams = CamFolder.of(index, read_json(index))
    start = process_time()
    for record in records:
        mask = read_mask(record.mask)
        sweep.add(cams.at(record, mask.shape), record.labels, mask)
    return (process_time() - start) / len(records)


def confusion_of(world: World, split: str, images: int) -> float:
    records = load_manifest(world.results / "manifest.csv").split(split)[:images]
    start = process_time()
    for record in records:
        confusion(read_mask(record.mask), read_mask(record.mask), 81)
    return (process_time() - start) / len(records)
