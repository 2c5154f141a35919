"""Stage `panels`: for a choice of images, everything a method made of them, side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.cams_to_cut import cams_to_cut
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import prediction_records
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.found import settle
from wsss.io.cams import CamFolder
from wsss.io.images import read_image
from wsss.io.masks import read_mask
from wsss.refine.background import argmax_labels, background
from wsss.report.layers import SUFFIX as LAYERS
from wsss.report.layers import write_layers
from wsss.report.panels import write_panel
from wsss.sections.background import Background
from wsss.sections.section import typed


def run(task: Task) -> None:
    """Write `{id}.png` and `{id}.npz`, the layers of it, for a few training images (CAM to pseudo-mask) and a few predicted ones."""
    dataset = load_manifest(task.inputs["manifest"])
    chosen = choose(task, dataset)
    cams = cams_to_cut(task, [r for r in chosen if "trainaug" in r.splits], typed(task.params["bg"], Background)) if "cam" in task.inputs else None

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in chosen if r.id in todo):
            image = read_image(record.image)
            found = columns(task, cams, record, image)
            write_panel(task.folder / f"{record.id}.png", image, found, dataset.classes, record.id)
            write_layers(task.folder / f"{record.id}{LAYERS}", image, found)
            yield record.id

    run_images(task, [r.id for r in chosen], [".png", LAYERS], work)


def choose(task: Task, dataset: Dataset) -> list[Record]:
    """Images spread evenly over what there is; the same for every method."""
    count = task.params["panel_count"]
    training = dataset.split("train") or dataset.split("trainaug")
    chosen = spread(training, count) if {"cam", "pseudo_masks"} & set(task.inputs) else []
    predicted = [r for r in prediction_records(dataset) if r not in chosen]
    return chosen + spread(tuple(predicted), max(1, count // 2) if count else 0)


def spread(records: tuple[Record, ...], count: int) -> list[Record]:
    """At most `count` of `records`, evenly spaced."""
    positions = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    return [records[i] for i in positions]


def columns(task: Task, cams: CamFolder | None, record: Record, image: np.ndarray) -> dict[str, Any]:
    """What there is of one image, by the names of wsss.report.panels."""
    found: dict[str, Any] = {}
    if record.mask is not None:
        found["ground_truth"] = read_mask(record.mask)
    if cams and "trainaug" in record.splits:
        cam, bg_map = cams.both_at(record, image.shape[:2])
        found["cam"] = cam
        bg = background(cam, *settle(typed(task.params["bg"], Background), task.inputs), bg_map)
        found["seed"] = argmax_labels(cam, bg, record.labels)
    for column, name in (("ir_label", "ir_labels"), ("pseudo_mask", "pseudo_masks"), ("prediction", "predictions")):
        path = file_of(task.inputs[name], record.id, ".png") if name in task.inputs else Path()
        if path.is_file():
            found[column] = read_mask(path)
    return found
