"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`."""

import logging

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import cam_folder
from wsss.engine.atomic import drop_temporaries, write_json
from wsss.engine.explain import for_people
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import NO_CUT
from wsss.io.cams import SUFFIX
from wsss.io.digest import stable_hash
from wsss.io.images import image_size
from wsss.score.cuts import RULE, Scores

SAMPLE = 500  # images: the cut of more moves by less than it is rounded to
INSTEAD = for_people("give a number in place of `value: found` and `policy: found` (docs/evaluation.md)")
log = logging.getLogger(__name__)


def run(task: Task) -> None:
    """Write threshold.json: `cut`, the `rule` it was found by, `images` looked at and the `histogram` of their scores."""
    records = labelled_sample(load_manifest(task.inputs["manifest"]), SAMPLE)
    cams, scores = cam_folder(task, records), Scores()
    if cams.form.bg_map:
        raise UserError(f"{task.inputs['cam']}: {NO_CUT}")
    for record in records:
        name = str(file_of(task.inputs["cam"], record.id, SUFFIX))
        scores.add(cams.at(record, image_size(record.image)), name)
    cut = required_cut(task, scores)
    facts = {"cut": cut, "rule": RULE, "images": scores.images, "histogram": scores.histogram.tolist()}
    write_json(task.output, {**facts, "fingerprint": task.fingerprint()})
    drop_temporaries(task.folder)
    task.write_record(images=scores.images)


def labelled_sample(dataset: Dataset, size: int) -> tuple[Record, ...]:
    """At most `size` training images that have labels: always the same ones of the same images, in whatever order these come.

    Raises:
        UserError: no image has a label.
    """
    labelled = [r for r in dataset.split("trainaug") if r.labels]
    if not labelled:
        raise UserError(f"{dataset.name}: no training image has a label, so its CAMs hold no scores to find a cut in; {INSTEAD}")
    return tuple(sorted(labelled, key=lambda r: stable_hash(r.id))[:size])


def required_cut(task: Task, scores: Scores) -> float:
    """The cut of scores.

    Raises:
        UserError: they are all alike, so that there is none.
    """
    cut = scores.cut()
    if cut is None:
        raise UserError(
            f"{task.inputs['cam']}: all CAMs have the same score everywhere, so no cut can be found: the network has "
            f"learned nothing; train it longer (classifier.steps, docs/config.md), or {INSTEAD}"
        )
    log.info("%s: cut %.2f, found on %d images by %s", task.stage, cut, scores.images, RULE)
    return cut
