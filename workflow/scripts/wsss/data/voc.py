"""PASCAL VOC 2012, or any tree in its layout, to a manifest."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss.data import sbd as sbd_data
from wsss.data.label_csv import read_labels
from wsss.data.manifest import Dataset, Row, write_manifest
from wsss.data.table import listing
from wsss.data.user_files import VOC_PLACES
from wsss.data.validate import validate
from wsss.data.voc_lists import VOC_CLASSES, read_annotation, read_id_list
from wsss.errors import UserError

log = logging.getLogger(__name__)
LISTS = Path("ImageSets/Segmentation")
SUFFIXES = (".jpg", ".jpeg", ".png")

_COUNT_MENDS = {
    "train": "unpack the archive again; train.txt is VOC's own list, not trainaug",
    "trainaug": "give a train_aug list (not VOC's train.txt), or SBD's own train.txt and val.txt",
    "val": "unpack the archive again; val.txt is VOC's own list",
}


def locate(path: str | Path) -> Path:
    """The VOC2012 folder: ``path`` itself, or below it when ``path`` is VOCdevkit or its parent.

    ``~`` and environment variables are expanded. UserError where there is none.
    """
    base = _expand(path)
    candidates = [base / place for place in VOC_PLACES]
    found = next((place for place in candidates if (place / LISTS).is_dir()), None)
    if found is None:
        tried = ", ".join(str(place / LISTS) for place in candidates)
        raise UserError(
            f"{base}: no VOC tree here (looked for {tried}); give the VOC2012 folder or VOCdevkit"
        )
    return found.resolve()


def _expand(path: str | Path) -> Path:
    text = os.path.expandvars(os.path.expanduser(str(path)))
    if "$" in text:
        raise UserError(
            f"{path}: an environment variable in this path is not set; export it or write the path out"
        )
    return Path(os.path.abspath(text))  # a relative path is the user's, not one below the tree


def build(params: Mapping[str, Any], out_dir: Path) -> Dataset:
    """Read, validate and write the manifest of a VOC tree into ``out_dir``.

    ``params``: ``root`` or ``path`` (VOC2012, VOCdevkit or its parent); optional ``name``, ``classes``,
    ``trainaug`` (list file), ``labels`` (CSV), ``sbd``, ``mask_train`` and ``saliency`` (folders), ``expected_counts``
    (split -> images).

    Raises:
        UserError: no tree, wrong counts, or every bad entry at once.
    """
    source = params.get("root") or params.get("path")
    if not source:
        raise UserError(
            "voc: no data folder; set the dataset's path in the config, or let the workflow download it"
        )
    root, classes = locate(source), tuple(params.get("classes") or VOC_CLASSES)
    given = {
        key: _expand(params[key])
        for key in ("trainaug", "sbd", "labels", "mask_train", "saliency")
        if params.get(key)
    }
    if "saliency" in given and not given["saliency"].is_dir():
        raise UserError(f"{given['saliency']}: no such folder; mend `saliency` in the dataset's params")
    counts = params.get("expected_counts") or {}
    rows = read_voc_tree(root, classes, given.pop("trainaug", None), expected_counts=counts, **given)
    name = params.get("name") or "voc12"
    validate(rows, classes, root=root, allow_unlabelled=False, name=name)
    if not any(row.mask for row in rows):
        log.warning("%s: has no masks (%s is missing or empty), so nothing gets a score; put VOC's there for an mIoU", name, root / "SegmentationClass")
    facts: dict[str, Any] = {"builder": "voc", "expected_counts": dict(counts)}
    if "labels" in given:
        facts["provenance"] = {"image_labels": given["labels"].name}
    return write_manifest(out_dir, name=name, root=root, classes=classes, rows=rows, builder=facts)


def read_voc_tree(
    root: Path,
    classes: Sequence[str],
    trainaug_list: Path | None = None,
    *,
    sbd: Path | None = None,
    labels: Path | None = None,
    mask_train: Path | None = None,
    saliency: Path | None = None,
    expected_counts: Mapping[str, int | None] | None = None,
) -> list[Row]:
    """Rows of a VOC tree, trainaug first, then val, each in list order.

    Image labels are the union of the object names in Annotations/ID.xml, objects marked difficult included
    (as in the field's cls_labels.npy), or what the CSV ``labels`` says. ``mask`` comes from SegmentationClass,
    ``mask_train`` from SegmentationClassAug (or the folder given), ``saliency`` from SALImages (or the folder given).

    Raises:
        UserError: lists missing or mixed up, counts other than expected, and every bad annotation at once.
    """
    root, expected = Path(root), expected_counts or {}
    train, val = read_id_list(root / LISTS / "train.txt"), read_id_list(root / LISTS / "val.txt")
    trainaug = _trainaug(
        root, train, val, trainaug_list, sbd, expected.get("trainaug", sbd_data.TRAINAUG_IMAGES)
    )
    _refuse_suffixes(root, {"train": train, "trainaug": trainaug, "val": val})
    _check_splits(root, train, trainaug, val)
    check_counts(root, {"train": len(train), "trainaug": len(trainaug), "val": len(val)}, expected)
    ids = [*trainaug, *val]
    labels_of = _table_labels(labels, ids, classes) if labels else _read_labels(root, ids, classes)
    files = _Files(root, mask_train, saliency)
    in_train = set(train)
    splits = {i: ("train", "trainaug") if i in in_train else ("trainaug",) for i in trainaug}
    splits |= dict.fromkeys(val, ("val",))
    return [files.row(i, split, labels_of[i]) for i, split in splits.items()]


def _trainaug(
    root: Path,
    train: Sequence[str],
    val: Sequence[str],
    given: Path | None,
    sbd: Path | None,
    expected: int | None,
) -> tuple[str, ...]:
    """The user's list, else one in the tree, else VOC train + SBD - VOC val; never VOC train alone."""
    in_tree = [root / LISTS / name for name in ("train_aug.txt", "trainaug.txt")]
    path = given or next((place for place in in_tree if place.is_file()), None)
    if path:
        return read_id_list(Path(path))
    if sbd:
        return sbd_data.trainaug_ids(Path(sbd), train, val, expected)
    raise UserError(
        f"{root / LISTS}: no trainaug list (train_aug.txt); set the dataset's `trainaug` to a list file, "
        "or `sbd` to SBD's dataset folder"
    )


def _refuse_suffixes(root: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """UserError naming the first id that is a photo's file name: its list would be no part of another one, or without annotations."""
    for name, ids in lists.items():
        wrong = [image_id for image_id in ids if image_id.lower().endswith(SUFFIXES)]
        if wrong and (root / "JPEGImages" / wrong[0]).is_file():
            raise UserError(f"{root}: {len(wrong)} ids of the {name} list have a suffix ({', '.join(wrong[:5])}), and ids have none; take the suffixes out")


def _check_splits(root: Path, train: Sequence[str], trainaug: Sequence[str], val: Sequence[str]) -> None:
    training = set(trainaug)
    missing = [image_id for image_id in train if image_id not in training]
    leaked = sorted(set(val) & training.union(train))
    groups = {"of train are not in trainaug": missing, "of val are also training images": leaked}
    problems = [f"{len(ids)} images {what} ({', '.join(ids[:5])})" for what, ids in groups.items() if ids]
    if problems:
        raise UserError(f"{root}: the lists are mixed up: {'; '.join(problems)}; mend the trainaug list")


def check_counts(root: Path, counts: Mapping[str, int], expected: Mapping[str, int | None]) -> None:
    """UserError naming every split whose number of images is not the expected one (None: not checked)."""
    problems = [
        f"{split}: {counts[split]} images, {want} expected "
        f"({abs(want - counts[split])} {'missing' if counts[split] < want else 'too many'}); "
        f"{_COUNT_MENDS[split]}"
        for split, want in expected.items()
        if want is not None and counts[split] != want
    ]
    if problems:
        hint = "or change the dataset's expected_counts if this tree is meant to differ"
        raise UserError(f"{root}: not the expected dataset:\n  " + "\n  ".join([*problems, hint]))


def _read_labels(root: Path, ids: Sequence[str], classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    labels, problems = {}, []
    for image_id in ids:
        path = root / "Annotations" / f"{image_id}.xml"
        try:
            labels[image_id] = read_annotation(path, classes)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(listing(f"{root}: bad annotations, mend them all", problems))
    return labels


def _table_labels(path: Path, ids: Sequence[str], classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = read_labels(path, {name: name for name in classes})
    missing = [image_id for image_id in ids if image_id not in found]
    if missing:
        raise UserError(listing(f"{path}: images of the lists that have no line here; add them", missing))
    return {image_id: found[image_id] for image_id in ids}


class _Files:
    """Where the files of an id are; folders are listed once, not asked 50,000 times."""

    def __init__(self, root: Path, mask_train: Path | None, saliency: Path | None) -> None:
        self.root = root
        self.mask_train = Path(mask_train) if mask_train else root / "SegmentationClassAug"
        self.saliency = Path(saliency) if saliency else root / "SALImages"
        self.given = {Path(folder) for folder in (mask_train, saliency) if folder}
        self.listing: dict[Path, set[str]] = {}

    def row(self, image_id: str, splits: tuple[str, ...], labels: tuple[str, ...]) -> Row:
        scored, trained = "train" in splits or "val" in splits, "trainaug" in splits
        masks = self.root / "SegmentationClass"
        return Row(
            id=image_id,
            splits=splits,
            image=self._image(image_id),
            labels=labels,
            mask=self._png(masks, image_id, scored and bool(self._names(masks))),
            mask_train=self._png(self.mask_train, image_id, self.mask_train in self.given)
            if trained
            else None,
            saliency=self._png(self.saliency, image_id, trained and self.saliency in self.given),
        )

    def _image(self, image_id: str) -> Path:
        folder = self.root / "JPEGImages"
        names = [f"{image_id}{suffix}" for suffix in SUFFIXES]
        return folder / next((name for name in names if name in self._names(folder)), names[0])

    def _png(self, folder: Path, image_id: str, needed: bool) -> Path | None:
        """A path that does not exist is given only where validation should complain of it."""
        name = f"{image_id}.png"
        return folder / name if needed or name in self._names(folder) else None

    def _names(self, folder: Path) -> set[str]:
        if folder not in self.listing:
            self.listing[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        return self.listing[folder]
