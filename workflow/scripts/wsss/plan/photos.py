"""A folder of a user's own photos, for `predict`. Its jobs are about a row and the name of the folder in config.yaml."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from wsss.data.photos import find_photos, photo_source, require_apart
from wsss.data.user_files import folder_stamp
from wsss.plan import paths, shared
from wsss.plan.row import Row

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


class Photos(NamedTuple):
    """One row's network, and one entry of `predict`."""

    row: Row
    name: str

    @classmethod
    def of(cls, wildcards: Any) -> "Photos":
        """From the wildcards `dataset`, `method` and `name`."""
        return cls(Row.of(wildcards), wildcards.name)


def source(plan: "Plan", photos: Photos) -> dict[str, Any]:
    """Folder and size limit; its photos are not looked at."""
    return photo_source(plan.main.get("predict") or {}, photos.name)


def stamp(plan: "Plan", photos: Photos) -> str:
    """Changes whenever a photo does."""
    return _stamp_of(source(plan, photos)["folder"], plan)


@functools.cache
def _stamp_of(folder: str, _plan: "Plan") -> str:
    """Once a plan, for all rows."""
    find_photos(folder)  # a wrong folder ends here, before anything runs
    return folder_stamp([folder])


def inputs(plan: "Plan", photos: Photos) -> dict[str, str]:
    """The trained network, and the facts of its dataset."""
    row = photos.row
    require_apart(source(plan, photos)["folder"], f"{row.folder}/predict/{photos.name}")
    facts = {name: path for name, path in paths.dataset_files(row.dataset).items() if name != "manifest"}
    return {**facts, "model": plan.artefact(row, "segmentation", paths.MODEL)}


def settings(plan: "Plan", row: Row) -> dict[str, Any]:
    """Photos are predicted as images of the dataset are."""
    return shared.with_crf_backend(plan, plan.section(row, "predictions"))


def of_row(answer: Callable[["Plan", Row], Any]) -> Callable[["Plan", Photos], Any]:
    """What is answered of the row alone."""
    return lambda plan, photos: answer(plan, photos.row)
