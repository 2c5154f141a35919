"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`.

A network that learned labels of pixels (AMN) is cut where its masks agree best with those labels. Of any other network
the scores alone are looked at.
"""

import numpy as np

from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import cam_folder, label_files
from wsss.engine.atomic import drop_temporaries, write_json
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import BY_LABELS, NO_CUT, Cut
from wsss.io.cams import SUFFIX
from wsss.io.images import image_size
from wsss.io.masks import read_mask
from wsss.score.cams_to_cut import SAMPLE, labelled_sample, required_cut, say_cut
from wsss.score.cuts import CUTS, Scores
from wsss.score.sweep import Sweep, SweepResult


def run(task: Task) -> None:
    """Write threshold.json: `cut`, the `rule` it was found by, `images` looked at and the `histogram` of their scores."""
    dataset = load_manifest(task.inputs["manifest"])
    records = labelled_sample(dataset, SAMPLE)
    cams, scores = cam_folder(task, records), Scores()
    if cams.form.bg_map:
        raise UserError(f"{task.inputs['cam']}: {NO_CUT}")
    learned = label_files(task, "ir_labels", records) if "ir_labels" in task.inputs else None
    agreement = Sweep(dataset.num_classes, values=CUTS)
    for record in records:
        name = str(file_of(task.inputs["cam"], record.id, SUFFIX))
        cam = cams.at(record, image_size(record.image))
        scores.add(cam, name)
        if learned is not None:
            agreement.add(cam, record.labels, read_mask(learned(record)), name)
    cut = required_cut(task, scores)
    if learned is not None:
        cut = agreeing(agreement.result(), cut)
    say_cut(task, cut, scores.images)
    facts = {"cut": cut.value, "rule": cut.by, "images": scores.images, "histogram": scores.histogram.tolist()}
    write_json(task.output, {**facts, "fingerprint": task.fingerprint()})
    drop_temporaries(task.folder)
    task.write_record(images=scores.images)


def agreeing(result: SweepResult, by_scores: Cut) -> Cut:
    """The cut whose masks have the largest mIoU with the labels that were swept; of equal ones the nearest to `by_scores`.

    Unsure pixels (255) are left out. Labels that show no object, or nothing else, would want a mask of one thing: there `by_scores` stays.
    """
    pixels = result.confusion[0].sum(1)  # by label
    if not pixels[0] or not pixels[1:].any():
        return by_scores
    best = result.values[result.miou == np.nanmax(result.miou)]
    return Cut(float(best[np.abs(best - by_scores.value).argmin()]), BY_LABELS)
