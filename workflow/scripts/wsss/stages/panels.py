"""Stage `panels`: for a choice of images, those a method does worst and best on among them, everything a method made of them, side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import prediction_records
from wsss.data.text import as_cell
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.found import found_cut, settle
from wsss.io.cams import CamFolder
from wsss.io.images import read_image
from wsss.io.masks import read_mask
from wsss.refine.background import argmax_labels, background
from wsss.report.layers import SUFFIX as LAYERS
from wsss.report.layers import write_layers
from wsss.report.panels import write_panel
from wsss.report.per_image import image_ious, last_ious, read_per_image
from wsss.score.cams_to_cut import cams_to_cut
from wsss.sections.background import Background, Rule
from wsss.sections.section import typed


def run(task: Task) -> None:
    """Write `{id}.png` and `{id}.npz`, the layers of it, for a few training images (CAM to pseudo-mask) and a few predicted ones."""
    dataset = load_manifest(task.inputs["manifest"])
    chosen = choose(task, dataset)
    rule = typed(task.params["bg"], Background)
    cams = cams_to_cut(task, [r for r in chosen if "trainaug" in r.splits], rule) if "cam" in task.inputs else None
    bg = settle(rule, found_cut(task.inputs)) if cams else None

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in chosen if r.id in todo):
            image = read_image(record.image)
            found = columns(task, cams, bg, record, image)
            write_panel(task.folder / f"{record.id}.png", image, found, dataset.classes, record.id)
            write_layers(task.folder / f"{record.id}{LAYERS}", image, found)
            yield record.id

    run_images(task, [r.id for r in chosen], [".png", LAYERS], work)


def choose(task: Task, dataset: Dataset) -> list[Record]:
    """Training images, and half as many predicted ones; the same for every method that is given the same counts of images."""
    count, per_image = task.params["panel_count"], task.inputs.get("per_image")
    last = last_ious(image_ious(read_per_image(per_image))) if per_image else {}
    ious = {r.id: last[as_cell(r.id)][1] for r in dataset.records if as_cell(r.id) in last}
    training = dataset.split("train") or dataset.split("trainaug")
    chosen = mixed(training, count, ious) if {"cam", "pseudo_masks"} & set(task.inputs) else []
    taken = {r.id for r in chosen}
    predicted = [r for r in prediction_records(dataset) if r.id not in taken]
    return chosen + mixed(predicted, max(1, count // 2) if count else 0, ious)


def mixed(records: Sequence[Record], count: int, ious: dict[str, float]) -> list[Record]:
    """At most `count` of `records`: a quarter have the worst IoU, a quarter the best, the others are evenly spaced. In their order."""
    ranked = sorted((r for r in records if r.id in ious), key=lambda r: ious[r.id])
    each = min(count // 4, len(ranked) // 2)
    extremes = {r.id for r in [*ranked[:each], *ranked[len(ranked) - each :]]}
    others = {r.id for r in spread([r for r in records if r.id not in extremes], count - len(extremes))}
    return [r for r in records if r.id in extremes | others]


def spread(records: Sequence[Record], count: int) -> list[Record]:
    """At most `count` of `records`, evenly spaced."""
    positions = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    return [records[i] for i in positions]


def columns(task: Task, cams: CamFolder | None, bg: Rule | None, record: Record, image: np.ndarray) -> dict[str, Any]:
    """What there is of one image, by the names of wsss.report.panels."""
    found: dict[str, Any] = {}
    if record.mask is not None:
        found["ground_truth"] = read_mask(record.mask)
    if cams and bg and "trainaug" in record.splits:
        cam, bg_map = cams.both_at(record, image.shape[:2])
        found["cam"] = cam
        found["seed"] = argmax_labels(cam, background(cam, *bg, bg_map), record.labels)
    for column, name in (("ir_label", "ir_labels"), ("pseudo_mask", "pseudo_masks"), ("prediction", "predictions")):
        path = file_of(task.inputs[name], record.id, ".png") if name in task.inputs else Path()
        if path.is_file():
            found[column] = read_mask(path)
    return found
