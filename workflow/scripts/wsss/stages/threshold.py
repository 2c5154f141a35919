"""Stage `threshold`: the cut of a recipe's CAMs, found without ground truth, for all rules that say `value: found`."""

from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import cam_folder
from wsss.engine.atomic import drop_temporaries, write_json
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import NO_CUT
from wsss.io.cams import SUFFIX
from wsss.io.images import image_size
from wsss.score.cams_to_cut import SAMPLE, labelled_sample, required_cut
from wsss.score.cuts import RULE, Scores


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
