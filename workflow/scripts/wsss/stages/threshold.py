"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`."""

import logging
from collections.abc import Sequence

from wsss.data.manifest import Record, load_manifest
from wsss.errors import UserError
from wsss.io.atomic import drop_temporaries, write_json
from wsss.io.images import image_size
from wsss.io.shards import stable_hash
from wsss.score.cuts import RULE, Scores
from wsss.stages.images import cam_folder, file_of
from wsss.stages.task import Task

SAMPLE = 500  # images: the cut of more moves by less than it is rounded to
INSTEAD = "give a number in place of `value: found` and `policy: found` (docs/evaluation.md)"
log = logging.getLogger(__name__)


def run(task: Task) -> None:
    """Write threshold.json: `cut`, the `rule` it was found by, `images` looked at and the `histogram` of their scores."""
    dataset = load_manifest(task.inputs["manifest"])
    labelled = tuple(r for r in dataset.split("trainaug") if r.labels)
    if not labelled:
        raise UserError(f"{dataset.name}: no training image has a label, so its CAMs hold no scores to find a cut in; {INSTEAD}")
    scores = pool(task, sample(labelled))
    cut = scores.cut()
    if cut is None:
        raise UserError(
            f"{task.inputs['cam']}: all CAMs have the same score everywhere, so no cut can be found: the network has "
            f"learned nothing; train it longer (classifier.steps, docs/config.md), or {INSTEAD}"
        )
    log.info("threshold: %.2f, found on %d images by %s", cut, scores.images, RULE)
    facts = {"cut": cut, "rule": RULE, "images": scores.images, "histogram": scores.histogram.tolist()}
    write_json(task.output, {**facts, "fingerprint": task.fingerprint()})
    drop_temporaries(task.folder)
    task.write_record(images=scores.images)


def sample(records: Sequence[Record]) -> tuple[Record, ...]:
    """At most SAMPLE of the records: always the same ones of the same images, in whatever order these come."""
    return tuple(sorted(records, key=lambda r: stable_hash(r.id))[:SAMPLE])


def pool(task: Task, records: Sequence[Record]) -> Scores:
    """The winning scores of images, at their size."""
    cams, scores = cam_folder(task, records), Scores()
    for record in records:
        name = str(file_of(task.inputs["cam"], record.id, ".npy"))
        scores.add(cams.at(record.id, image_size(record.image)), name)
    return scores
