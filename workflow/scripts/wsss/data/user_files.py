"""A user's own files and folders: where they lie, and what changes when one of them does."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss.data.table import read_rows
from wsss.errors import UserError
from wsss.io.folders import files_below

VOC_PLACES = ("", "VOC2012", "VOCdevkit/VOC2012")  # where below a user's path the tree may be
VOC_PARTS = (
    "ImageSets/Segmentation", "Annotations", "JPEGImages", "SegmentationClass", "SegmentationClassAug", "SALImages",
)  # fmt: skip
OWN_FILES = {  # params of each kind that name a file or a folder of the user
    "folder": ("images", "masks", "saliency", "labels"),
    "voc": ("trainaug", "sbd", "saliency", "labels"),
    "coco": ("train_list", "val_list", "saliency", "labels"),
}


def folder_stamp(paths: Iterable[str | Path]) -> str:
    """A digest over names, sizes and times of files: cheap, and different whenever a user's data is.

    Names are those below the working directory where a file lies there: a project that is moved keeps its stamp.

    Raises:
        UserError: a folder that cannot be read.
    """
    here = os.path.join(os.getcwd(), "")
    digest = hashlib.sha256()
    for path in map(str, paths):
        for name in sorted(files_below(path)) if os.path.isdir(path) else [path]:
            digest.update(f"{name.removeprefix(here)}\0{_facts(name)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _facts(path: str) -> str:
    """Size and time of a file; nothing of one that is not there."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size} {facts.st_mtime_ns}"


def with_variables(spec: dict[str, Any]) -> dict[str, Any]:
    """A dataset file with `$NAME` and a leading `~` expanded in the paths of its params, as builders do it.

    So a variable that changes is seen as any other change of the file. One that is not set stays as it stands.
    """
    keys = {"path", *OWN_FILES.get(spec["kind"], ())}
    params = {
        key: os.path.expandvars(os.path.expanduser(value)) if key in keys and isinstance(value, str) else value
        for key, value in spec["params"].items()
    }
    return {**spec, "params": params}


def own_data(spec: dict[str, Any]) -> list[Path]:
    """Files and folders of the user that a dataset reads; generated and downloaded data are not among them."""
    params = spec["params"]
    paths = [Path(params[key]) for key in OWN_FILES.get(spec["kind"], ()) if params.get(key)]
    if spec["kind"] == "voc" and params.get("path"):
        paths += [tree / part for tree in voc_trees(params["path"]) for part in VOC_PARTS]
    if spec["kind"] == "coco" and params.get("path"):
        year = params["year"]
        paths += [*_annotation_files(params["path"], year).values(), *_image_folders(params["path"], year).values()]
    return paths


def check_coco(params: dict[str, Any]) -> None:
    """Whether all that a COCO dataset's file names is there, before anything runs.

    Raises:
        UserError: a file or folder is missing, or the labels are no CSV.
    """
    for key in OWN_FILES["coco"]:
        if params.get(key) and not os.path.exists(params[key]):
            raise UserError(f"{params[key]}: no such file or folder; mend `{key}` in the dataset's params")
    if params.get("labels"):
        read_rows(params["labels"], ())
    if params.get("path"):
        coco_annotations(params["path"], params["year"])
        coco_images(params["path"], params["year"])


def coco_annotations(path: str | Path, year: int) -> dict[str, Path]:
    """Split -> instances JSON of a COCO folder.

    Raises:
        UserError: there is none.
    """
    files = _annotation_files(path, year)
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        raise UserError(
            f"{path}: no COCO {year} here ({' and '.join(missing)} missing); give the folder that holds annotations/, "
            f"train{year}/ and val{year}/ as the dataset's `path`, or null to download"
        )
    return files


def coco_images(path: str | Path, year: int) -> dict[str, Path]:
    """Split -> folder of images of a COCO folder (beside annotations/, or in images/).

    Raises:
        UserError: one is missing.
    """
    folders = _image_folders(path, year)
    missing = [str(folder) for folder in folders.values() if not folder.is_dir()]
    if missing:
        raise UserError(f"{path}: no folder {' and '.join(missing)}; unpack train{year}.zip and val{year}.zip there")
    return folders


def _annotation_files(path: str | Path, year: int) -> dict[str, Path]:
    return {split: Path(path, "annotations", f"instances_{split}{year}.json") for split in ("train", "val")}


def _image_folders(path: str | Path, year: int) -> dict[str, Path]:
    places = {split: [Path(path, where, f"{split}{year}") for where in ("", "images")] for split in ("train", "val")}
    return {split: next((p for p in found if p.is_dir()), found[0]) for split, found in places.items()}


def voc_trees(path: str | Path) -> list[Path]:
    """The VOC trees at or below a user's path."""
    return [tree for place in VOC_PLACES if ((tree := Path(path, place)) / VOC_PARTS[0]).is_dir()]
