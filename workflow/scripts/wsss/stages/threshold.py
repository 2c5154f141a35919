"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`.

A network that learned where objects are, from IR labels (AMN) or from saliency maps (EPS), is cut where its masks agree
best with what it learned. Of any other network the scores alone are looked at.
"""

import logging

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import cam_folder, label_files, saliency_files
from wsss.engine.atomic import drop_temporaries, write_json
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import NO_CUT, Cut
from wsss.io.cams import SUFFIX
from wsss.io.images import image_size
from wsss.score.agreement_cut import WithLabels, WithSaliency, best_cut
from wsss.score.cams_to_cut import SAMPLE, labelled_sample, required_cut, say_cut
from wsss.score.cuts import Scores

log = logging.getLogger(__name__)


def run(task: Task) -> None:
    """Write threshold.json: `cut`, `by` what it was found, `images` looked at and the `histogram` of their scores."""
    dataset = load_manifest(task.inputs["manifest"])
    records = labelled_sample(dataset, SAMPLE)
    cams, scores = cam_folder(task, records), Scores()
    if cams.form.bg_map:
        raise UserError(f"{task.inputs['cam']}: {NO_CUT}")
    learned = what_was_learned(task, dataset, records)
    for record in records:
        name = str(file_of(task.inputs["cam"], record.id, SUFFIX))
        cam = cams.at(record, image_size(record.image))
        scores.add(cam, name)
        if learned:
            learned.add(cam, record, name)
    cut = required_cut(task, scores)
    if learned:
        found = best_cut(learned.agreement(), cut.value)
        if found is None:
            log.warning("threshold: what the network learned from says nothing of the cut (it shows one thing only, or agrees best with a mask of one thing), so its scores alone are looked at")
        else:
            cut = Cut(found, learned.by)
    say_cut(task, cut, scores.images)
    facts = {"cut": cut.value, "by": cut.by, "images": scores.images, "histogram": scores.histogram.tolist()}
    write_json(task.output, {**facts, "fingerprint": task.fingerprint()})
    drop_temporaries(task.folder)
    task.write_record(images=scores.images)


def what_was_learned(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> WithLabels | WithSaliency | None:
    """What the masks are to agree with, by the task's inputs; None where the network had image labels alone."""
    if "ir_labels" in task.inputs:
        return WithLabels(label_files(task, "ir_labels", records), dataset.num_classes)
    if {"saliency", "own_maps"} & set(task.inputs):
        return WithSaliency(saliency_files(task, dataset, records))
    return None
