"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`.

A network that learned where objects are, from labels of pixels (AMN) or from saliency maps (EPS), is cut where its masks
agree best with what it learned from. Of any other network the scores alone are looked at.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import cam_folder, label_files, saliency_files
from wsss.engine.atomic import drop_temporaries, write_json
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import BY_LABELS, BY_SALIENCY, NO_CUT, Cut
from wsss.io.cams import SUFFIX
from wsss.io.images import image_size
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.score.cams_to_cut import SAMPLE, labelled_sample, required_cut, say_cut
from wsss.score.cuts import CUTS, Scores
from wsss.score.sweep import Sweep, SweepResult

SALIENT = 128  # of 255: from here on a pixel belongs to an object


class Lesson(NamedTuple):
    """What the network learned of places: `classes` there are, and how maps are compared with it; `by` is its name in a cut."""

    by: str
    classes: int
    compared: Callable[[np.ndarray, Record], tuple[np.ndarray, Sequence[int], np.ndarray]]  # maps (K, H, W), their classes, labels (H, W)


def run(task: Task) -> None:
    """Write threshold.json: `cut`, the `rule` it was found by, `images` looked at and the `histogram` of their scores."""
    dataset = load_manifest(task.inputs["manifest"])
    records = labelled_sample(dataset, SAMPLE)
    cams, scores = cam_folder(task, records), Scores()
    if cams.form.bg_map:
        raise UserError(f"{task.inputs['cam']}: {NO_CUT}")
    lesson = learned(task, dataset, records)
    agreement = Sweep(lesson.classes, values=CUTS) if lesson else None
    for record in records:
        name = str(file_of(task.inputs["cam"], record.id, SUFFIX))
        cam = cams.at(record, image_size(record.image))
        scores.add(cam, name)
        if agreement and lesson:
            agreement.add(*lesson.compared(cam, record), name)
    cut = required_cut(task, scores)
    if agreement and lesson:
        cut = agreeing(agreement.result(), lesson.by, cut)
    say_cut(task, cut, scores.images)
    facts = {"cut": cut.value, "rule": cut.by, "images": scores.images, "histogram": scores.histogram.tolist()}
    write_json(task.output, {**facts, "fingerprint": task.fingerprint()})
    drop_temporaries(task.folder)
    task.write_record(images=scores.images)


def learned(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> Lesson | None:
    """What the network that made the CAMs learned of places, by the task's inputs; None where image labels were all it had."""
    if "ir_labels" in task.inputs:
        label = label_files(task, "ir_labels", records)
        return Lesson(BY_LABELS, dataset.num_classes, lambda cam, record: (cam, record.labels, read_mask(label(record))))
    if {"saliency", "own_maps"} & set(task.inputs):
        path = saliency_files(task, dataset, records)
        return Lesson(BY_SALIENCY, 1, lambda cam, record: (cam.max(0, keepdims=True), [0], salient(read_saliency(path(record)))))
    return None


def salient(saliency: np.ndarray) -> np.ndarray:
    """(H, W) uint8 saliency -> 1 where a pixel belongs to an object, whatever its class, else 0; uint8."""
    return (saliency >= SALIENT).astype(np.uint8)


def agreeing(result: SweepResult, by: str, by_scores: Cut) -> Cut:
    """The cut whose masks have the largest IoU with what was swept, mean over the objects' classes; of equal ones the nearest to `by_scores`.

    The background, one label of many in a score and most of the pixels, would want a higher cut of few classes. Unsure
    pixels (255) are left out. What shows no object, or nothing else, would want a mask of one thing: there `by_scores` stays.
    """
    pixels = result.confusion[0].sum(1)  # by label
    if not pixels[0] or not pixels[1:].any():
        return by_scores
    agreement = np.nanmean(result.per_class[:, 1:], axis=1)
    best = result.values[agreement == agreement.max()]
    return Cut(float(best[np.abs(best - by_scores.value).argmin()]), by)
