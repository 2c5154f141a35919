"""Builder for a user's own images plus a CSV of image labels (masks and saliency maps optional)."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from wsss.data.manifest import Dataset, Row, write_manifest
from wsss.data.table import listing, read_rows, split_list
from wsss.data.validate import validate
from wsss.errors import UserError

SPLITS_OF = {"": ("train", "trainaug"), "train": ("train", "trainaug"), "val": ("val",)}
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
LAYOUT = (
    "the CSV has the columns image (path below the images folder; or id, the path without suffix) and labels "
    "(class names joined by ';', one cell per image), and optionally split (train or val) and mask"
)


def build(params: dict[str, Any], out_dir: str | Path) -> Dataset:
    """Write `out_dir/manifest.csv` and `dataset.json` for a user's own folder.

    Args:
        params: `images` (folder) and `labels` (CSV), and optionally `classes` (list of foreground names; default:
            those found in the CSV, sorted), `masks` and `saliency` (folders with PNGs at the image's path and stem),
            `allow_unlabelled` (default False), `name` (default: the name of `out_dir`).

    Raises:
        UserError: every bad row at once with its CSV line, or every bad file at once.
    """
    rows = read_folder(params)
    classes = params.get("classes") or sorted({label for row in rows for label in row.labels})
    name = params.get("name") or Path(out_dir).resolve().name
    allow_unlabelled = bool(params.get("allow_unlabelled", False))
    validate(rows, classes, allow_unlabelled=allow_unlabelled, name=name)
    return write_manifest(
        out_dir,
        name=name,
        root=params["images"],
        classes=classes,
        rows=rows,
        allow_unlabelled=allow_unlabelled,
        builder={"kind": "folder", "labels": str(params["labels"])},
    )


def read_folder(params: dict[str, Any]) -> list[Row]:
    """The rows of the CSV with absolute paths, in CSV order; see `build`.

    Raises:
        UserError: folder or CSV missing, another layout, or bad rows (all of them, with line numbers).
    """
    images, table = (Path(os.path.abspath(params[key])) for key in ("images", "labels"))
    folders = {key: Path(os.path.abspath(params[key])) for key in ("masks", "saliency") if params.get(key)}
    for key, folder in {"images": images, **folders}.items():
        if not folder.is_dir():
            raise UserError(f"{folder}: is not a folder; mend `{key}` in the dataset's config")
    cells_by_line = _read_table(table)
    rows, problems = [], []
    for line, cells in cells_by_line:
        row, faults = _row(cells, images, table.parent, folders, params.get("classes"))
        problems += [f"line {line}: {fault}" for fault in faults]
        rows += [(line, row)] if row else []
    problems += _collisions(rows)
    if problems:
        raise UserError(listing(f"{table}: bad rows, mend them all and run the same command again", problems))
    return [row for _, row in rows]


def _read_table(table: Path) -> list[tuple[int, dict[str, str]]]:
    rows = read_rows(table, ())
    header = set(rows[0][1]) if rows else set()
    if rows and ("labels" not in header or not {"image", "id"} & header):
        raise UserError(f"{table}: columns {', '.join(sorted(header))} are no known layout; {LAYOUT}")
    if not rows:
        raise UserError(f"{table}: has no rows; {LAYOUT}")
    return rows


def _row(
    cells: dict[str, str], images: Path, beside: Path, folders: dict[str, Path], classes: Sequence[str] | None
) -> tuple[Row | None, list[str]]:
    labels, split = split_list(cells["labels"]), cells.get("split", "").strip()
    faults = _cell_faults(labels, split, classes)
    image = _find_image(cells, images, beside)
    if image is None:
        named = cells.get("image") or cells.get("id") or ""
        return None, [*faults, f"image {named!r}: no such file below {images} or {beside}; mend the path"]
    if faults:
        return None, faults
    stem = _stem(image, images, beside)
    mask = _find_mask(cells.get("mask", "").strip(), beside, folders.get("masks"), stem)
    saliency = _png(folders.get("saliency"), stem)
    return Row(stem.replace("/", "__"), SPLITS_OF[split], image, labels, mask, None, saliency), []


def _cell_faults(labels: Sequence[str], split: str, classes: Sequence[str] | None) -> list[str]:
    faults = [f"split {split!r}; use train, val, or leave it empty"] if split not in SPLITS_OF else []
    unknown = [label for label in labels if classes and label not in classes]
    return faults + [f"unknown class {label!r}; mend it or add it to `classes`" for label in unknown]


def _find_image(cells: dict[str, str], images: Path, beside: Path) -> Path | None:
    named, bare = cells.get("image", "").strip(), cells.get("id", "").strip()
    if named:
        names = [named]
    else:
        names = [bare + suffix for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES))] if bare else []
    candidates = (folder / name for folder in (images, beside) for name in names)
    return next((Path(os.path.abspath(path)) for path in candidates if path.is_file()), None)


def _stem(image: Path, images: Path, beside: Path) -> str:
    base = next((folder for folder in (images, beside) if image.is_relative_to(folder)), image.parent)
    return PurePosixPath(image.relative_to(base).as_posix()).with_suffix("").as_posix()


def _find_mask(cell: str, beside: Path, masks: Path | None, stem: str) -> Path | None:
    if not cell:
        return _png(masks, stem)
    candidates = [folder / cell for folder in (masks, beside) if folder]
    found = next((path for path in candidates if path.is_file()), candidates[-1])
    return Path(os.path.abspath(found))  # where none exists, validation names this path as missing


def _png(folder: Path | None, stem: str) -> Path | None:
    path = folder / f"{stem}.png" if folder else None
    return path if path and path.is_file() else None


def _collisions(rows: Sequence[tuple[int, Row]]) -> list[str]:
    first: dict[str, tuple[int, Row]] = {}
    problems = []
    for line, row in rows:
        if row.id in first:
            other_line, other = first[row.id]
            problems.append(f"line {line}: {row.image} and {other.image} (line {other_line}) both get id {row.id!r}")
        first.setdefault(row.id, (line, row))
    return problems
