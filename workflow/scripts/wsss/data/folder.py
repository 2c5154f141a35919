"""Builder for a user's own images plus a CSV of image labels (masks and saliency maps optional)."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss.constants import LONG_SIDE
from wsss.data.class_names import bad_classes, bad_numbers, plain, table_faults, table_slips, unknown_class
from wsss.data.columns import check_columns
from wsss.data.given_masks import missing_masks
from wsss.data.joined_names import joined_doubts
from wsss.data.learnable import unlearnable
from wsss.data.manifest import Dataset, Row, write_manifest
from wsss.data.own_files import (
    Source,
    closed_folder,
    find_image,
    is_file,
    located,
    meant_by,
    path_of,
    second_image,
    source_of,
    stem_of,
)
from wsss.data.table import bad_id, listing, read_rows, split_list
from wsss.data.text import first_few, hidden, shown
from wsss.data.unnamed_photos import unnamed_photos
from wsss.data.unread_tables import HEADER, layout_fault
from wsss.engine.explain import for_people
from wsss.errors import UserError

log = logging.getLogger(__name__)
SPLITS_OF = {"": ("train", "trainaug"), "train": ("train", "trainaug"), "val": ("val",)}
COLUMNS = ("image", "id", "labels", "split", "mask")
NO_ID = for_people("is a file's name, ids have no suffix; call the column image")
FEW = 3  # rows: each is named where its image is missing
LAYOUT = (
    "give it the columns image (path below the images folder; or instead id, that path without suffix) and "
    "labels (class names joined by ';', one cell per image), and if wanted split (train or val) and mask"
)


def build(params: dict[str, Any], out_dir: str | Path) -> Dataset:
    """Write manifest.csv and dataset.json into `out_dir`; images that the CSV does not name are left out.

    Args:
        params: `images` (folder) and `labels` (CSV), and optionally `classes` (foreground; default: those in
            the CSV, sorted), `masks` and `saliency` (folders of PNGs with the image's path and stem; then
            every val image or none needs a mask, every training image a saliency map), `allow_unlabelled` (default
            False), `long_side` (pixels; larger photos are copied at that size, None: none is; default 512), `name` (default:
            the name of `out_dir`).

    Raises:
        UserError: a folder or the CSV is missing or laid out otherwise; else all bad rows, with their CSV
            lines, and all bad files in one message.
    """
    from wsss.data.copies import with_copies  # what plans with `named_files` has no Pillow
    from wsss.data.validate import set_problems

    source, table = source_of(params), path_of(params["labels"])
    cells = _cells(table)
    _refuse_other_folder(cells, source, table)
    rows, problems = _read(cells, source)
    classes = source.classes or tuple(sorted({label for row in rows for label in row.labels}))
    if rows:  # else there is nothing to say but that no row has an image
        problems += bad_classes(classes) if source.classes else _label_faults(table, rows, classes)
    named = any(row.get("mask") for _, row in cells)
    found, said = missing_masks(rows, source.masks, "mask" in cells[0][1], named)
    problems += found
    found, more = unlearnable(rows, classes) if not problems else ([], [])
    problems += found
    more += unnamed_photos(rows, source, table, Path(out_dir).absolute()) if not problems else []
    for line in said + more:
        log.warning("%s: %s", table, line)
    problems += set_problems(rows, classes, str(table), is_sound=not problems)
    if problems:
        raise UserError(
            listing(f"{table}: bad entries, mend them all and run the same command again", problems)
        )
    return write_manifest(
        out_dir,
        name=params.get("name") or Path(out_dir).resolve().name,
        root=source.images,
        classes=classes,
        rows=with_copies(rows, source.images, params.get("long_side", LONG_SIDE), Path(out_dir).absolute()),
        allow_unlabelled=source.allow_unlabelled,
        builder={"kind": "folder", "labels": str(params["labels"])},
    )


def named_files(params: dict[str, Any]) -> list[str]:
    """The CSV, and every file that its rows name, found as `build` finds it; cheap, for planning.

    Raises:
        UserError: a folder or the CSV is missing, or the CSV is laid out otherwise.
    """
    source, table = source_of(params), path_of(params["labels"])
    rows = (located(cells, source) for _, cells in _cells(table))
    return [str(table), *(path for paths in rows for path in paths if path)]


def _read(table: list[tuple[int, dict[str, str]]], source: Source) -> tuple[list[Row], list[str]]:
    """Rows whose image exists, with absolute paths in CSV order, and everything wrong with the table."""
    rows: dict[str, tuple[int, Row]] = {}
    problems = []
    for line, cells in table:
        row, faults = _row(cells, source)
        if row and row.id in rows:
            other_line, other = rows[row.id]
            both = f"{row.image} and {other.image} (line {other_line}) both get id {row.id!r}; rename one"
            once = f"{row.image} stands in line {other_line} too; keep one row, with all its labels"
            faults.append(once if row.image == other.image else both)
        elif row:
            rows[row.id] = line, row
        problems += [f"line {line}: {fault}" for fault in faults]
    return [row for _, row in rows.values()], problems


def _refuse_other_folder(cells: list[tuple[int, dict[str, str]]], source: Source, table: Path) -> None:
    """UserError in one line where many rows have no image at all: ids are names of files; or `images` is another folder, or empty."""
    if len(cells) > FEW and not any(located(row, source)[0] for _, row in cells):
        first = cells[0][1].get("image") or cells[0][1].get("id") or ""
        if _is_file_name(first, cells[0][1], source):
            raise UserError(f"{table}: id {shown(first)!r}: {NO_ID}")
        meant = meant_by(first, source)
        raise UserError(
            f"{source.images}: holds none of the {len(cells)} images that {table} names (the first is {shown(first)!r}{meant}); "
            f"{'mend the paths in the table' if meant else 'put the photos there'}, or mend `images` in the dataset's config"
        )


def _cells(table: Path) -> list[tuple[int, dict[str, str]]]:
    # A spreadsheet saves rows that were emptied.
    rows = [(line, cells) for line, cells in read_rows(table, ()) if any(map(str.strip, cells.values()))]
    if not rows:
        raise UserError(f"{table}: has no rows; {LAYOUT}")
    header = set(rows[0][1])
    is_known = "labels" in header and len({"image", "id"} & header) == 1
    known = None if is_known else layout_fault(list(rows[0][1]), [cells for _, cells in rows])
    if known == HEADER:
        raise UserError(f"{table}: {known}")
    check_columns(table, rows, COLUMNS)
    if not is_known:
        raise UserError(f"{table}: {known}" if known else f"{table}: columns {', '.join(sorted(header))} are no known layout; {LAYOUT}")
    return [(line, {key: cell.strip() for key, cell in cells.items()}) for line, cells in rows]


def _label_faults(table: Path, rows: Sequence[Row], classes: Sequence[str]) -> list[str]:
    """What is wrong with classes that only the table's labels name; what may be a slip is said."""
    counts = Counter(label for row in rows for label in set(row.labels))
    if slips := table_slips(counts):
        log.warning("%s: labels that may be slips: %s; `classes` of the dataset settles it", table, "; ".join(slips))
    faults = [*table_faults(counts), *bad_classes(classes)]
    if not faults and (doubts := joined_doubts(counts)):
        log.warning("%s: labels that may be several names each: %s; join names by ';', or list them in `classes` of the dataset", table, first_few(doubts))
    return faults or bad_numbers(classes)


def _row(cells: dict[str, str], source: Source) -> tuple[Row | None, list[str]]:
    if found := [fault for cell in cells.values() if (fault := hidden(cell))]:
        return None, [f"{shown(' '.join(cells.values()))}: holds the character {found[0]}, which nobody sees; take it out"]
    labels, split = tuple(map(plain, split_list(cells["labels"]))), cells.get("split", "")
    named = cells.get("image") or cells.get("id") or ""
    faults = [f"{named}: {fault}" for fault in _cell_faults(labels, split, source)]
    image, mask, saliency = located(cells, source)
    if image is None:
        return None, [*faults, _missing_image(named, cells, source)]
    if other := second_image(image, cells):
        faults.append(f"{named}: {image} and {other} both have this id; use the column image, which names the file")
    stem = stem_of(image, source)
    image_id = stem.replace("/", "__")
    if reason := bad_id(image_id):
        faults.append(f"{named}: its id {image_id!r} {reason}; rename the image")
    splits = SPLITS_OF.get(split, ())
    faults += _companion_faults(named, splits, image, mask, saliency, source)
    present = Path(mask) if mask and is_file(mask) else None
    return Row(image_id, splits, Path(image), labels, present, None, Path(saliency) if saliency else None), faults


def _missing_image(named: str, cells: dict[str, str], source: Source) -> str:
    where = f"{source.images} or {source.beside}"
    if _is_file_name(named, cells, source):
        return f"id {named!r}: {NO_ID}"
    if closed := closed_folder(named, source):
        return f"image {named!r}: the folder {closed} may not be looked into; change its mode or owner"
    return f"image {named!r}: no such file below {where}{meant_by(named, source)}; mend the path"


def _is_file_name(named: str, cells: dict[str, str], source: Source) -> bool:
    """Whether a row's id is the name of a photo that is there."""
    return bool(not cells.get("image") and named and find_image({"image": named}, source))


def _cell_faults(labels: Sequence[str], split: str, source: Source) -> list[str]:
    faults = (
        [f"split {split!r} is unknown; use train, val, or leave it empty"] if split not in SPLITS_OF else []
    )
    if not labels and not source.allow_unlabelled:
        faults.append("has no label; add one, take the row out, or set allow_unlabelled: true")
    classes = source.classes or ()
    unknown = [label for label in labels if classes and label not in classes]
    return faults + [
        f"{unknown_class(label, classes)}; mend it or add it to `classes`"
        for label in unknown
    ]


def _companion_faults(
    named: str, splits: tuple[str, ...], image: str, mask: str | None, saliency: str | None, source: Source
) -> list[str]:
    faults = []
    if mask and not is_file(mask):
        faults.append(f"{named}: mask {mask} is missing; mend the path or leave the cell empty")
    if saliency is None and source.saliency and "trainaug" in splits:
        faults.append(f"{named}: no saliency map in {source.saliency}; make it or drop `saliency`")
    if saliency and os.path.samefile(saliency, image):
        faults.append(f"{named}: its saliency map is the photo itself; `saliency` is the folder of the maps")
    if mask and saliency and is_file(mask) and os.path.samefile(mask, saliency):
        faults.append(f"{named}: {mask} is its ground-truth mask and its saliency map; a method would learn from what scores it: give maps of their own")
    return faults
