"""A folder of a user's own photos, for `predict`. Its jobs are about a row and the name of the folder in config.yaml."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from wsss.data.photos import find_photos, photo_source, require_apart
from wsss.data.user_files import folder_stamp
from wsss.plan import given, paths
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
    """Folder and size limit."""
    return _facts(plan, photos.name)[0]


def stamp(plan: "Plan", photos: Photos) -> str:
    """Changes whenever a photo does."""
    return _facts(plan, photos.name)[1]


@functools.cache
def _facts(plan: "Plan", name: str) -> tuple[dict[str, Any], str]:
    found = photo_source(plan.main.get("predict") or {}, name)
    find_photos(found["folder"])  # a wrong folder ends here, before anything runs
    return found, folder_stamp([found["folder"]])


def inputs(plan: "Plan", photos: Photos) -> dict[str, str]:
    """The trained network, and the facts of its dataset."""
    row = photos.row
    # Before its photos are looked at: the results' own files would be named one by one.
    require_apart(photo_source(plan.main.get("predict") or {}, photos.name)["folder"], f"{row.folder}/predict/{photos.name}")
    facts = {name: path for name, path in paths.dataset_files(row.dataset).items() if name != "manifest"}
    return {**facts, "model": plan.artefact(row, "segmentation", paths.MODEL)}


def settings(plan: "Plan", row: Row) -> dict[str, Any]:
    """Photos are predicted as images of the dataset are."""
    return given.with_crf_backend(plan, plan.section(row, "predictions"))


def of_row(answer: Callable[["Plan", Row], Any]) -> Callable[["Plan", Photos], Any]:
    """What is answered of the row alone."""
    return lambda plan, photos: answer(plan, photos.row)
