"""The commands `python -m wsss export` (masks to COCO, LabelMe, CVAT, PNG) and `python -m wsss masks` (LabelMe, CVAT to masks)."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsss.annotations.coco import as_coco
from wsss.annotations.cvat import as_cvat, read_cvat
from wsss.annotations.labelme import as_labelme, drawn, read_labelme
from wsss.annotations.photos import (
    UNSURE,
    UNSURE_NAME,
    MaskFolder,
    Photo,
    dataset_folder,
    find_photo,
    open_masks,
    photos_of,
)
from wsss.data.manifest import Dataset, held_in, load_manifest
from wsss.data.table import listing
from wsss.data.text import first_few
from wsss.engine.atomic import write_bytes, write_json, write_text
from wsss.engine.index import refuse_stage_file
from wsss.errors import UserError
from wsss.io.images import image_size
from wsss.io.masks import write_mask

FILES = {"coco": ".json", "cvat": ".xml"}  # what is one file, and its suffix
FOLDERS = {"labelme": ".json", "png": ".png"}  # what is a folder of a file a photo, and the suffix


def export_masks(folder: str | Path, kind: str, out: str | Path, tolerance: float = 1.0, overwrite: bool = False) -> str:
    """Write the masks of a finished folder for other programs; returns what was done, in words.

    Args:
        folder: results/DATASET/METHOD/STAGE.
        kind: coco, cvat, or one of FOLDERS.
        out: a file for coco and cvat, a folder for labelme and png.
        tolerance: how far LabelMe's polygons may leave the outline, in pixels.

    Raises:
        UserError: no masks, a class whose name the file needs for something else, or `out` is there.
    """
    out, masks = Path(out), open_masks(folder)
    changed = masks.changed_photos()
    said = f"; note: files of {len(changed)} photos were changed, renamed or copied after the masks were made ({first_few(changed)}); if they show something else now run snakemake first" if changed else ""
    return f"{_exported(masks, kind, out, tolerance, overwrite)}{said}"


def _exported(masks: MaskFolder, kind: str, out: Path, tolerance: float, overwrite: bool) -> str:
    """Write them; what was done, in words."""
    if kind in FOLDERS:
        _refuse_there(masks, out, FOLDERS[kind], overwrite)
        manifest = dataset_folder(masks.index) / "manifest.csv"
        if kind == "png" and manifest.is_file():
            _refuse_dataset_files(out, load_manifest(manifest), manifest.parent)
        if kind == "png" and masks.predicted and out.resolve().is_relative_to(masks.predicted.resolve()):
            raise UserError(f"{out}: lies in the folder of the photos that were predicted, where masks would pass for photos; give another one")
        return _export_labelme(masks, out, tolerance) if kind == "labelme" else _export_png(masks, out)
    if out.is_dir() or (out.exists() and not overwrite):
        raise UserError(f"{out}: is there; give the name of a new file" + ("" if out.is_dir() else ", or say --overwrite"))
    refuse_stage_file(out, FILES[kind])
    if kind == "coco":
        content = as_coco(masks)
        write_text(out, json.dumps(content, ensure_ascii=False))
        return f"{out}: {len(content['images'])} photos, {len(content['annotations'])} annotations, {len(content['categories'])} classes; unsure pixels have no annotation"
    xml = as_cvat(masks, names_of(masks.names))
    write_bytes(out, xml)
    return f"{out}: {len(masks.photos)} photos, {xml.count(b'<mask ')} regions; in CVAT: Upload annotations, 'CVAT 1.1'"


def names_of(names: tuple[str, ...]) -> dict[int, str]:
    """Name of every value of a mask, 255 too.

    Raises:
        UserError: a class is called as the background, or as the unsure.
    """
    if taken := {"background", UNSURE_NAME} & set(names[1:]):
        raise UserError(f"dataset.json: a class is called {taken.pop()!r}, which these files use for pixels of no class; rename the class")
    return dict(enumerate(names)) | {UNSURE: UNSURE_NAME}


def _refuse_there(masks: MaskFolder, out: Path, suffix: str, overwrite: bool) -> None:
    there = [photo.id for photo in masks.photos if (out / f"{photo.id}{suffix}").exists()]
    if out.is_file():
        raise UserError(f"{out}: is a file; give a folder")
    if there and not overwrite:
        raise UserError(f"{out}: {len(there)} files are there; give another folder, or say --overwrite")
    if out.resolve() == masks.index.parent.resolve():
        raise UserError(f"{out}: holds the masks themselves; give another folder")
    _refuse_own_files(out, [photo.id for photo in masks.photos], masks.photos)


def _export_png(masks: MaskFolder, out: Path) -> str:
    for photo, mask in masks.masks():
        write_mask(out / f"{photo.id}.png", mask)
    return f"{out}: {len(masks.photos)} masks of the photos' own size; 0 is background, k is {', '.join(f'{k} {name}' for k, name in enumerate(masks.names) if k)}"


def _export_labelme(masks: MaskFolder, out: Path, tolerance: float) -> str:
    if not 0 <= tolerance <= 20:
        raise UserError(f"--tolerance: {tolerance:g}; give pixels from 0 (exact) to 20")
    name_of = names_of(masks.names)
    value_of = {name: value for value, name in name_of.items()}
    shapes = same = pixels = 0
    for photo, mask in masks.masks():
        content = as_labelme(photo, mask, name_of, out, tolerance)
        write_json(out / f"{photo.id}.json", content)
        again = drawn(mask.shape, [(s["label"], np.array(s["points"])) for s in content["shapes"]], value_of)
        shapes, same, pixels = shapes + len(content["shapes"]), same + int((again == mask).sum()), pixels + mask.size
    return f"{out}: {len(masks.photos)} files, {shapes} polygons; drawn again they give {same / max(pixels, 1):.2%} of the pixels the mask's class"


def draw_masks(source: str | Path, dataset: str | Path, out: str | Path, rest: str | Path | None = None, overwrite: bool = False) -> str:
    """Draw corrected LabelMe or CVAT files as palette PNGs; returns what was done, in words.

    Args:
        source: a folder of LabelMe's JSON files, or CVAT's XML.
        dataset: results/DATASET, for classes and photos.
        out: folder for ID.png.
        rest: folder of masks to copy for photos that `source` does not name, or in which nothing is drawn though they have labels:
            programs list what nobody has opened yet. Without it these are left out.

    Raises:
        UserError: unknown photos and labels, other sizes, all of them at once; nothing is written then.
    """
    source, out, dataset = Path(source), Path(out), Path(dataset)
    if not (dataset / "manifest.csv").is_file():
        raise UserError(f"{dataset}: has no manifest.csv; give the folder of the dataset, results/DATASET")
    held = load_manifest(dataset / "manifest.csv")
    value_of = {name: value for value, name in names_of(("background", *held.classes)).items()}
    known, problems = find_photo(photos_of(held, dataset)), list[str]()
    found: dict[str, np.ndarray] = {}
    labelled = {record.id for record in held.records if record.labels}
    untouched: set[str] = set()
    for where, name, mask, is_drawn in _corrected(source, value_of, problems):
        size_hw = (mask.shape[0], mask.shape[1])
        named = known.get(name) or known.get(Path(name).name)
        photo = named if where is source else known.get(where.stem) or named  # CVAT's one file is called after none
        if photo is None:
            problems.append(f"{where}: {name!r} is no photo of {held.name}")
        elif named and named != photo:
            problems.append(f"{where}: is called after photo {photo.id!r}, and its imagePath names {named.id!r}; mend one of the two")
        elif photo.id in found or photo.id in untouched:
            problems.append(f"{where}: photo {photo.id!r} is there twice")
        elif image_size(photo.image) != size_hw:
            problems.append(f"{where}: says {size_hw[1]}x{size_hw[0]}, {photo.name} is {'x'.join(map(str, image_size(photo.image)[::-1]))}")
        elif photo.id in labelled and not is_drawn:
            untouched.add(photo.id)
        else:
            found[photo.id] = mask
    if problems:
        raise UserError(listing(f"{source}: nothing is written; mend these", problems))
    others = _rest(rest, held, set(found)) if rest else None
    copied = {photo.id for photo in others.photos} if others else set()
    _refuse_own_files(out, [*found, *copied], known.values())
    _refuse_dataset_files(out, held, dataset)
    left = sorted(untouched - copied)
    if stale := [i for i in left if (out / f"{i}.png").exists()]:
        raise UserError(f"{out}: holds files of photos in which nothing is drawn ({first_few(stale)}), which would pass for masks of this call; give another folder, or move them away")
    there = [i for i in (*found, *sorted(copied)) if (out / f"{i}.png").exists()]
    if there and not overwrite:
        raise UserError(f"{out}: {len(there)} masks are there ({', '.join(there[:5])}); give another folder, or say --overwrite")
    for photo, mask in others.masks() if others else ():
        write_mask(out / f"{photo.id}.png", mask)
    for item_id, mask in found.items():
        write_mask(out / f"{item_id}.png", mask)
    from_rest = f", {len(copied)} copied from {rest}" if others else ""
    return f"{out}: {len(found)} masks drawn from {source}{from_rest}{_undrawn(sorted(untouched & copied), left)}"


def _undrawn(kept: list[str], left: list[str]) -> str:
    """Of photos that have labels and in which nothing is drawn: what became of them, in words."""
    told = ""
    if kept:
        told += f"; nothing is drawn in {len(kept)} of these ({first_few(kept)}), which have labels: where a photo is empty, draw background in it"
    if left:
        told += f"; nothing is drawn in {len(left)} photos that have labels ({first_few(left)}), which are left out: give --rest, or draw background there"
    return told


def _rest(folder: str | Path, held: Dataset, drawn_ids: set[str]) -> MaskFolder:
    """The masks of photos that are not drawn. UserError where they are not of this dataset's photos and class list."""
    masks = open_masks(folder)
    if masks.names[1:] != held.classes:
        raise UserError(f"--rest {folder}: its classes are {', '.join(masks.names[1:])}, those of {held.name} {', '.join(held.classes)}; give masks of {held.name}")
    if strange := sorted({photo.id for photo in masks.photos} - {record.id for record in held.records}):
        raise UserError(f"--rest {folder}: holds masks of photos that {held.name} has not ({', '.join(strange[:5])}); give masks of {held.name}")
    return replace(masks, photos=tuple(photo for photo in masks.photos if photo.id not in drawn_ids))


def _refuse_own_files(out: Path, ids: Iterable[str], photos: Iterable[Photo]) -> None:
    """UserError where masks would be written over photos, or over those of a stage, which would no longer be what it made."""
    own = {os.path.realpath(photo.image) for photo in photos}
    if any(os.path.realpath(out / f"{i}.png") in own for i in ids):
        raise UserError(f"{out}: holds the photos themselves; give another folder")
    if (out / "index.json").is_file():
        raise UserError(f"{out}: holds what a stage made; give another folder, and import the masks from there (docs/import.md)")


def _refuse_dataset_files(out: Path, dataset: Dataset, results: Path) -> None:
    """UserError where `out` is a folder of the photos or ground truth of results/DATASET: masks put there would be taken for either."""
    if what := held_in(dataset, results, out):
        raise UserError(f"{out}: is the folder of the {what} of {dataset.name}; give another one")


def _corrected(source: Path, value_of: dict[str, int], problems: list[str]) -> Iterator[tuple[Path, str, np.ndarray, bool]]:
    """File, name of the photo, mask, and whether anything is drawn in it; what cannot be drawn goes to `problems`."""
    if source.suffix.lower() == ".xml":
        for name, mask, is_drawn in read_cvat(source, value_of):
            yield source, name, mask, is_drawn
        return
    files = sorted(source.glob("*.json")) if source.is_dir() else []
    if not files:
        raise UserError(f"{source}: neither a folder with LabelMe's .json files nor CVAT's annotations.xml (unpack its zip first)")
    for path in files:
        try:
            name, size_hw, shapes = read_labelme(path)
            if unknown := sorted({label for label, _ in shapes} - value_of.keys()):
                raise UserError(f"{path}: labels {', '.join(map(repr, unknown))} are no classes ({', '.join(value_of)})")
            yield path, name, drawn(size_hw, shapes, value_of), bool(shapes)
        except UserError as error:
            problems.append(str(error))
