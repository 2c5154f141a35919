"""A user's own data as the workflow plans with it: what to watch for changes, and what a CSV of labels promises."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsss.errors import UserError
from wsss.io.digest import fingerprint

VOC_PLACES = ("", "VOC2012", "VOCdevkit/VOC2012")  # where below a user's path the tree may be
VOC_PARTS = (
    "ImageSets/Segmentation", "Annotations", "JPEGImages", "SegmentationClass", "SegmentationClassAug", "SALImages",
)  # fmt: skip


def folder_stamp(paths: Iterable[str | Path]) -> str:
    """A digest over names, sizes and times of files: cheap, and different whenever a user's data is."""
    entries = []
    for path in map(str, paths):
        files = sorted(_files_below(path)) if os.path.isdir(path) else [path] if os.path.exists(path) else []
        entries += [(name, facts.st_size, facts.st_mtime_ns) for name in files for facts in [os.stat(name)]]
    return fingerprint(entries)


def _files_below(folder: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        elif entry.is_file():
            yield entry.path


def own_data(spec: dict[str, Any]) -> list[Path]:
    """Files and folders of the user that a dataset reads; generated and downloaded data are not among them."""
    params = spec["params"]
    keys = {"folder": ("images", "masks", "saliency", "labels"), "voc": ("trainaug", "sbd")}.get(spec["kind"], ())
    paths = [Path(params[key]) for key in keys if params.get(key)]
    if spec["kind"] == "voc" and params.get("path"):
        trees = [Path(params["path"], place) for place in VOC_PLACES]
        paths += [tree / part for tree in trees if (tree / VOC_PARTS[0]).is_dir() for part in VOC_PARTS]
    return paths


def label_table(path: str | Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a folder dataset's CSV, as far as it can be planned with; the builder checks it.

    Raises:
        UserError: not readable.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            table = csv.DictReader(handle, restval="")
            table.fieldnames = [name.strip() for name in table.fieldnames or ()]
            return list(table.fieldnames), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV ({error}); mend `labels` of the dataset") from None
