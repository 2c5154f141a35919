"""The CAMs of stages that cut them at a background, and the images and scores that a cut is found on."""

import logging
from collections.abc import Iterable

from wsss.data.manifest import Dataset, Record
from wsss.data.stage_inputs import cam_folder
from wsss.digest import stable_hash
from wsss.engine.explain import for_people
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import BY_SCORES, Cut, kind_fault
from wsss.io.cams import CamFolder
from wsss.score.cuts import Scores
from wsss.sections.background import Background

SAMPLE = 500  # images: the cut of more moves by less than it is rounded to
INSTEAD = for_people("give a number in place of `value: found` and `policy: found` (docs/evaluation.md)")
log = logging.getLogger(__name__)


def cams_to_cut(task: Task, records: Iterable[Record], *backgrounds: Background) -> CamFolder:
    """The CAMs that are input `cam`, checked.

    Raises:
        UserError: they are damaged, or one of `backgrounds` is of a kind that they do not have.
    """
    cams = cam_folder(task, records)
    for background in backgrounds:
        if fault := kind_fault(background.kind, cams.form.bg_map):
            raise UserError(f"{task.inputs['cam']}: background {background.kind}: {fault}")
    return cams


def labelled_sample(dataset: Dataset, size: int) -> tuple[Record, ...]:
    """At most `size` training images that have labels: always the same ones of the same images, in whatever order these come.

    Raises:
        UserError: no image has a label.
    """
    labelled = [r for r in dataset.split("trainaug") if r.labels]
    if not labelled:
        raise UserError(f"{dataset.name}: no training image has a label, so its CAMs hold no scores to find a cut in; {INSTEAD}")
    return tuple(sorted(labelled, key=lambda r: stable_hash(r.id))[:size])


def required_cut(task: Task, scores: Scores) -> Cut:
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
    return Cut(cut, BY_SCORES)


def say_cut(task: Task, cut: Cut, images: int) -> None:
    """One line of the log."""
    log.info("%s: cut %.2f, found on %d images by %s", task.stage, cut.value, images, cut.by)
