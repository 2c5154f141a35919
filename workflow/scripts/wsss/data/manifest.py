"""The manifest: one CSV row per image, the only description of a dataset that later stages read."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss.data.digests import digests
from wsss.data.places import below, cell, in_project, located
from wsss.data.table import bad_id, iter_rows, listing, split_list
from wsss.digest import fingerprint, sha256_bytes
from wsss.engine.atomic import read_json, write_json, write_text
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError

if TYPE_CHECKING:  # what plans with this module has no NumPy
    import numpy as np

COLUMNS = ("id", "split", "image", "labels", "mask", "mask_train", "saliency")
SPLITS = ("trainaug", "train", "val")


@dataclass(frozen=True, slots=True)
class Row:
    """One image as a builder found it: labels are still class names, nothing is checked yet.

    Paths are absolute or relative to the dataset root.
    """

    id: str
    splits: tuple[str, ...]
    image: Path
    labels: tuple[str, ...] = ()
    mask: Path | None = None
    mask_train: Path | None = None
    saliency: Path | None = None

    @property
    def files(self) -> tuple[Path | None, Path | None, Path | None, Path | None]:
        """Image, mask, mask_train, saliency."""
        return self.image, self.mask, self.mask_train, self.saliency


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a loaded dataset. `labels`: foreground indices from 0, ascending.

    Text and tuples only, since every worker process of a training holds all records: the paths are made when
    asked for. `files`: image, mask, mask_train and saliency, absolute or relative to `root`, "" where there is none.
    """

    id: str
    splits: tuple[str, ...]
    labels: tuple[int, ...]
    root: str
    files: tuple[str, str, str, str]

    @property
    def image(self) -> Path:
        """Absolute path of the photo."""
        return Path(self.root, self.files[0])

    @property
    def mask(self) -> Path | None:
        """Ground truth for scores."""
        return self._path(1)

    @property
    def mask_train(self) -> Path | None:
        """Ground truth that only full supervision trains on."""
        return self._path(2)

    @property
    def saliency(self) -> Path | None:
        """The dataset's own saliency map."""
        return self._path(3)

    def _path(self, which: int) -> Path | None:
        return Path(self.root, self.files[which]) if self.files[which] else None


@dataclass(frozen=True)
class Dataset:
    """A dataset as every stage sees it. `classes`: foreground; in masks 0 is background, k + 1 class k."""

    name: str
    root: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    allow_unlabelled: bool
    digest: str

    @property
    def num_classes(self) -> int:
        """Number of foreground classes."""
        return len(self.classes)

    def split(self, name: str) -> tuple[Record, ...]:
        """Records of `trainaug`, `train`, `val`, or `all`, in manifest order.

        Raises:
            UserError: there is no such split name.
        """
        if name == "all":
            return self.records
        if name not in SPLITS:
            raise UserError(f"{self.name}: there is no split {name!r}; use all, {', '.join(SPLITS)}")
        return tuple(record for record in self.records if name in record.splits)

    def multi_hot(self, record: Record) -> np.ndarray:
        """Image labels as (C,) float32 of 0 and 1."""
        import numpy as np

        target = np.zeros(self.num_classes, np.float32)
        target[list(record.labels)] = 1
        return target


def write_manifest(
    folder: str | Path,
    *,
    name: str,
    root: str | Path,
    classes: Sequence[str],
    rows: Iterable[Row],
    allow_unlabelled: bool = False,
    builder: dict[str, Any] | None = None,
) -> Dataset:
    """Write `folder/manifest.csv` and, last, `folder/dataset.json`; return the dataset as loaded back.

    The rows are expected to have gone through `wsss.data.validate.validate`. Paths below `root` are stored
    relative to it. `root`, and other paths, are stored relative to `folder` ("./..." among the others) where they
    lie below it, or both below the working directory: a copied or moved project has its own. Beside the two files
    are those of `wsss.data.digests`, which stages go by: any changed pixel changes one of them.

    Raises:
        UserError: an id that cannot serve as a file name (row and id named), or the folder cannot be written.
    """
    folder, root, rows = _absolute(folder), _absolute(root), list(rows)
    table = _table(rows, root, folder, list(classes))
    counts = Counter(split for row in rows for split in row.splits)
    found = digests(rows, root, classes=list(classes), allow_unlabelled=bool(allow_unlabelled))
    found["masks_val"]["provenance"] = (builder or {}).get("provenance", {})  # stamped on scores
    info = {
        "name": name,
        "root": below(root, folder) or in_project(root, folder) or str(root),
        "classes": list(classes),
        "allow_unlabelled": bool(allow_unlabelled),
        "counts": {"all": len(rows), **{split: counts[split] for split in SPLITS}},
        "digest": fingerprint(found),
        "table": sha256_bytes(table.encode()),
        "builder": builder or {},
    }
    write_text(folder / "manifest.csv", table)
    for kind, content in found.items():
        write_json(folder / f"{kind}.json", content)
    write_json(folder / "dataset.json", info)
    return load_manifest(folder / "manifest.csv")


def load_manifest(manifest_csv: str | Path) -> Dataset:
    """Read manifest.csv and the dataset.json beside it.

    Raises:
        UserError: missing or damaged files; else every bad row (id, split, class, no image) with its line.
    """
    path = _absolute(manifest_csv)
    info = _read_info(path.parent / "dataset.json")
    root = _absolute(path.parent / info["root"])
    index = {name: k for k, name in enumerate(info["classes"])}
    first_line: dict[str, int] = {}
    records: list[Record] = []
    problems: list[str] = []
    for line, cells in _rows(path):
        found = _faults(cells, index, first_line)
        problems += [for_people(f"line {line} (id {cells['id']!r}): {fault}") for fault in found]
        first_line.setdefault(cells["id"], line)
        if not found:
            records.append(_record(cells, str(root), str(path.parent), index))
    whole = info.get("counts", {}).get("all", len(records))
    if not problems and len(records) != whole:
        problems.append(for_people(f"{len(records)} rows, and dataset.json counts {whole}"))
    if problems:
        raise UserError(listing(f"{path}: damaged; {remedy(path)}", problems))
    return Dataset(
        info["name"], root, tuple(info["classes"]), tuple(records), info["allow_unlabelled"], info["digest"]
    )


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # unlike Path.resolve: symbolic links stay as the user wrote them


def _table(rows: Sequence[Row], root: Path, folder: Path, classes: list[str]) -> str:
    faults = [for_people(f"row {n}: id {row.id!r} {bad_id(row.id)}") for n, row in enumerate(rows, 1) if bad_id(row.id)]
    if faults:
        raise UserError(listing("manifest: an id must serve as a file name; rename these", faults))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    rank = {name: k for k, name in enumerate(classes)}
    for row in rows:
        image, *others = (cell(path, root, folder) if path else "" for path in row.files)
        labels = ";".join(sorted(set(row.labels), key=rank.__getitem__))
        writer.writerow([row.id, ";".join(row.splits), image, labels, *others])
    return out.getvalue()


def _read_info(path: Path) -> dict[str, Any]:
    info = read_json(path)
    missing = sorted({"name", "root", "classes", "allow_unlabelled", "digest"} - set(info if isinstance(info, dict) else ()))
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; {remedy(path)}")
    is_right = all(isinstance(info[key], str) for key in ("name", "root", "digest")) and isinstance(info.get("counts", {}), dict)
    if not is_right or not isinstance(info["classes"], list) or not all(isinstance(name, str) for name in info["classes"]):
        raise UserError(f"{path}: damaged; {remedy(path)}")
    return info


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """`iter_rows`, whose words are for tables that people write."""
    try:
        yield from iter_rows(path, COLUMNS)
    except UserError as error:
        raise UserError(f"{path}: damaged; {remedy(path)}\n  {error}") from error


def _faults(cells: dict[str, str], index: dict[str, int], first_line: dict[str, int]) -> list[str]:
    """What is wrong with a row; `first_line`: the lines of the ids before it."""
    image_id, reason = cells["id"], bad_id(cells["id"])
    return [
        *([for_people(f"the id is already used in line {first_line[image_id]}")] if image_id in first_line else []),
        *([for_people(f"the id {reason}")] if reason else []),
        *([] if cells["image"] else [for_people("no image")]),
        *(for_people(f"unknown split {name!r}") for name in split_list(cells["split"]) if name not in SPLITS),
        *(for_people(f"unknown class {name!r}") for name in split_list(cells["labels"]) if name not in index),
    ]


def _record(cells: dict[str, str], root: str, folder: str, index: dict[str, int]) -> Record:
    splits = tuple(map(sys.intern, split_list(cells["split"])))
    labels = tuple(sorted({index[name] for name in split_list(cells["labels"])}))
    image, mask, mask_train, saliency = (located(cells[column], folder) for column in COLUMNS[2:3] + COLUMNS[4:])
    return Record(cells["id"], splits, labels, root, (image, mask, mask_train, saliency))


def held_in(dataset: Dataset, results: Path, folder: Path) -> str | None:
    """What of the dataset's own files lies in a folder, in words: photos, ground truth, or saliency maps; None: none of them. Links are followed.

    Args:
        results: results/DATASET. Of photos that stages work on in copies the manifest names the copies, and the record there the user's own folders.
    """
    records, given = dataset.records, _given_folders(results)
    own = {
        "photos": {r.image.parent for r in records} | given.get("images", set()),
        "ground truth": {m.parent for r in records for m in (r.mask, r.mask_train) if m} | given.get("masks", set()),
        "saliency maps": {r.saliency.parent for r in records if r.saliency} | given.get("saliency", set()),
    }
    here = folder.resolve()
    return next((what for what, places in own.items() if here in {place.resolve() for place in places}), None)


def _given_folders(results: Path) -> dict[str, set[Path]]:
    """Key of the dataset file's `params` -> the path that stood there when the dataset was built."""
    record = results / "run.json"
    params = read_json(record).get("params", {}).get("dataset", {}).get("params", {}) if record.is_file() else {}
    return {key: {Path(value).expanduser()} for key, value in params.items() if isinstance(value, str)}
