"""MS-COCO 2014 and 2017, or a part in their layout, to a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss.data.coco_instances import Instances, read_instances
from wsss.data.coco_labels import (
    COCO_CLASSES,
    SPLITS,
    ImageList,
    any_number,
    check_counts,
    coco_id,
    image_list,
    read_numbers,
    same_name,
)
from wsss.data.label_csv import read_labels
from wsss.data.manifest import Dataset, Row, write_manifest
from wsss.data.table import listing
from wsss.data.user_files import coco_annotations, coco_images
from wsss.data.validate import validate
from wsss.engine.index import read_index
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.io.images import image_size

SPLITS_OF = {"train": ("train", "trainaug"), "val": ("val",)}


@dataclass(frozen=True)
class Part:
    """Train or val: its annotations, the images taken from it, and where their files are."""

    split: str
    instances: Instances
    numbers: list[int]
    images: Path


def build(params: Mapping[str, Any], out_dir: Path) -> Dataset:
    """Select, validate and write the manifest of a COCO tree into `out_dir`.

    Args:
        params: `path` (folder with annotations/, train{year}/, val{year}/), `year`, `list`, `masks` (folder of
            the stage coco_masks); optional `crowd`, `train_list`, `val_list` (files), `labels` (CSV),
            `saliency` (folder), `expected_counts`, `name`.

    Raises:
        UserError: a file is missing or damaged, wrong counts, or every bad entry at once.
    """
    year, chosen = params["year"], image_list(params["year"], params["list"])
    root = Path(params["path"])
    parts = [_part(params, chosen, split) for split in SPLITS]
    counts = {part.split: len(part.numbers) for part in parts}
    check_counts(counts, {**chosen.counts, **(params.get("expected_counts") or {})}, chosen)
    _check_sizes(parts)
    masks = _masks(params, parts)
    rows = [row for part in parts for row in _rows(part, params)]
    validate(rows, COCO_CLASSES, root=root, allow_unlabelled=True, name=params.get("name") or f"coco{year}")
    return write_manifest(
        out_dir,
        name=params.get("name") or f"coco{year}",
        root=root,
        classes=COCO_CLASSES,
        rows=rows,
        allow_unlabelled=True,
        builder=_facts(params, chosen, masks),
    )


def _part(params: Mapping[str, Any], chosen: ImageList, split: str) -> Part:
    year = params["year"]
    instances = read_instances(coco_annotations(params["path"], year)[split])
    images = coco_images(params["path"], year)[split].absolute()
    given = params.get(f"{split}_list")
    if not given:
        numbers = [n for n in instances.images if not chosen.annotated or instances.of(n)]
        return Part(split, instances, numbers, images)
    numbers = read_numbers(Path(given), split, year, instances.images)
    bare = [coco_id(split, year, n) for n in numbers if chosen.annotated and not instances.of(n)]
    if bare:
        head = f"{given}: list {chosen.name} holds annotated images only, these have none; take them out or set list: all"
        raise UserError(listing(head, bare))
    return Part(split, instances, numbers, images)


def _check_sizes(parts: Sequence[Part]) -> None:
    """Every image is there with the size its annotations were drawn on; headers only, so this ends early."""
    problems = [problem for problem in threaded(_size_problem, _files(parts)) if problem]
    if problems:
        raise UserError(
            listing("coco: images and annotations do not belong together; take the official files", problems)
        )


def _files(parts: Sequence[Part]) -> Iterator[tuple[Path, tuple[int, int], str]]:
    for part in parts:
        for number in part.numbers:
            entry = part.instances.images[number]
            yield part.images / entry.file_name, (entry.height, entry.width), part.instances.path.name


def _size_problem(job: tuple[Path, tuple[int, int], str]) -> str | None:
    path, expected_hw, source = job
    try:
        height, width = image_size(path)
    except UserError as error:
        return str(error)
    if (height, width) == expected_hw:
        return None
    return f"{path}: is {width}x{height}, {source} says {expected_hw[1]}x{expected_hw[0]}"


def _masks(params: Mapping[str, Any], parts: Sequence[Part]) -> dict[str, Any]:
    """The index of the ground-truth masks, checked to hold all images."""
    if not params.get("masks"):
        raise UserError(
            "coco: no folder of ground-truth masks; run the workflow, its stage coco_masks makes it"
        )
    path = Path(params["masks"]) / "index.json"
    ids = [coco_id(part.split, params["year"], n) for part in parts for n in part.numbers]
    return read_index(path, ids)


def _rows(part: Part, params: Mapping[str, Any]) -> Iterator[Row]:
    labels = _labels(part, params)
    masks, given = Path(params["masks"]).absolute(), params.get("saliency")
    saliency = Path(given).absolute() if given and part.split == "train" else None
    for number in part.numbers:
        image_id = coco_id(part.split, params["year"], number)
        yield Row(
            id=image_id,
            splits=SPLITS_OF[part.split],
            image=part.images / part.instances.images[number].file_name,
            labels=labels[number],
            mask=masks / f"{image_id}.png",
            saliency=saliency / f"{image_id}.png" if saliency else None,
        )


def _labels(part: Part, params: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    """Class names of each image: of the CSV where one is given, else of the annotations.

    An image the CSV leaves out must have no annotation; val may be left out of it altogether.
    """
    annotated = {n: part.instances.labels(n, params.get("crowd") != "skip") for n in part.numbers}
    if not params.get("labels"):
        return annotated
    table = read_labels(Path(params["labels"]), same_name(COCO_CLASSES), any_number)
    if part.split == "val" and not any(n in table for n in part.numbers):
        return annotated
    missing = [
        coco_id(part.split, params["year"], n) for n in part.numbers if n not in table and annotated[n]
    ]
    if missing:
        head = f"{params['labels']}: annotated images of {part.split} have no line here; add them"
        raise UserError(listing(head, missing))
    return {n: table.get(n, ()) for n in part.numbers}


def _facts(params: Mapping[str, Any], chosen: ImageList, masks: Mapping[str, Any]) -> dict[str, Any]:
    lists = {split: str(params[f"{split}_list"]) for split in SPLITS if params.get(f"{split}_list")}
    files = f" ({', '.join(f'{split}: {Path(path).name}' for split, path in lists.items())})" if lists else ""
    return {
        "kind": "coco",
        "year": params["year"],
        "list": chosen.name,
        "lists": lists,
        "labels": str(params["labels"]) if params.get("labels") else "annotations",
        "masks": masks["digest"],
        "provenance": {
            "image_list": f"{chosen.name} of COCO {params['year']}{files}",
            "image_labels": Path(params["labels"]).name
            if params.get("labels")
            else "categories of the annotations",
            "mask_rule": masks["rule"],
            "mask_digest": masks["digest"][:16],
        },
    }
