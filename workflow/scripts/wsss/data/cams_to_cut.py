"""The CAMs of stages that cut them at a background."""

from collections.abc import Iterable

from wsss.data.manifest import Record
from wsss.data.stage_inputs import cam_folder
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import kind_fault
from wsss.io.cams import CamFolder
from wsss.sections.background import Background


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
