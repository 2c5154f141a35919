"""Smaller copies of large photos, with their masks and saliency maps: what every stage reads in place of a phone's photo."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from wsss.data.manifest import Dataset, Row
from wsss.data.photos import LONG_SIDE
from wsss.data.places import cell, located
from wsss.data.text import first_few
from wsss.data.transforms import resize_image, resize_label, shrunk_size
from wsss.engine.atomic import atomic_path, read_json, write_json
from wsss.engine.threads import threaded
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask, write_mask
from wsss.io.saliency import read_saliency, write_saliency

log = logging.getLogger(__name__)
FOLDER, TABLE = "copies", "copies.json"
LARGE, VOC_PIXELS = 3_000_000, 375 * 500
QUALITY = 95  # of JPEG: a third of a PNG's bytes, and read twice as fast


@dataclass(frozen=True)
class Original:
    """A user's photo. `size`: (H, W) after EXIF orientation where stages work on a smaller copy, else None."""

    image: Path
    size: tuple[int, int] | None


def with_copies(rows: Sequence[Row], root: Path, long_side: int | None, out_dir: Path) -> list[Row]:
    """`rows`, with copies in place of photos that have a side above `long_side`; their masks and maps are copied too.

    Copies lie in `out_dir`/copies: photos as JPEG (bicubic), masks by nearest neighbour. `out_dir`/copies.json says what each
    is of. Copies of an earlier run are taken away. None keeps every photo as it is.

    Args:
        rows: whose files were looked at and are sound.
    """
    folder, table = out_dir / FOLDER, out_dir / TABLE
    shutil.rmtree(folder, ignore_errors=True)
    table.unlink(missing_ok=True)
    sizes = {row.id: image_size(root / row.image) for row in rows}
    shrunk = {key: shrunk_size(size, long_side) if long_side else size for key, size in sizes.items()}
    _warn(shrunk)
    large = [row for row in rows if shrunk[row.id] != sizes[row.id]]
    if not large:
        return list(rows)
    copies = {row.id: row for row in threaded(lambda row: _copy(row, root, shrunk[row.id], folder), large)}
    entries = {row.id: {"image": cell(row.image, root, out_dir), "size": sizes[row.id]} for row in large}
    write_json(table, {"long_side": long_side, "photos": entries})
    said = f"{len(large)} of {len(rows)} photos have a side above {long_side} pixels; stages work on copies of that size, in {folder}, and make masks of it"
    log.warning("%s: `python -m wsss export FOLDER --as png --out OUT` gives masks of the photos' own size", said)
    return [copies.get(row.id, row) for row in rows]


def _warn(sizes: dict[str, tuple[int, int]]) -> None:
    """Say which photos stay large: that is legal, and every stage takes time and memory by their pixels."""
    pixels = {key: height * width for key, (height, width) in sizes.items() if height * width > LARGE}
    if pixels:
        most = max(pixels.values())
        of = f"{len(pixels)} of {len(sizes)} photos have more than {LARGE // 1_000_000} megapixels ({first_few(list(pixels))})"
        cost = f"takes about {most // VOC_PIXELS} times the time and memory of a photo of 375x500"
        log.warning("%s; the largest, of %.0f, %s: set `long_side: %d`, unless your GPU bears it", of, most / 1e6, cost, LONG_SIDE)


def originals(folder: str | Path, dataset: Dataset) -> dict[str, Original]:
    """Id -> the photo it is a copy of, for the photos of results/DATASET that are copies."""
    table = Path(folder).absolute() / TABLE
    if not table.exists():
        return {}
    photos = read_json(table)["photos"]
    place = str(table.parent)
    return {key: Original(Path(dataset.root, located(entry["image"], place)), (entry["size"][0], entry["size"][1])) for key, entry in photos.items()}


def _copy(row: Row, root: Path, size_hw: tuple[int, int], folder: Path) -> Row:
    image = folder / f"{row.id}.jpg"
    with atomic_path(image) as temp:
        Image.fromarray(resize_image(read_image(root / row.image), size_hw)).save(temp, format="JPEG", quality=QUALITY, subsampling=0)
    return replace(
        row,
        image=image,
        mask=_copied_mask(row.mask, root, size_hw, folder / f"{row.id}.mask.png"),
        mask_train=_copied_mask(row.mask_train, root, size_hw, folder / f"{row.id}.mask_train.png"),
        saliency=_copied_map(row.saliency, root, size_hw, folder / f"{row.id}.saliency.png"),
    )


def _copied_mask(path: Path | None, root: Path, size_hw: tuple[int, int], out: Path) -> Path | None:
    if path is None:
        return None
    write_mask(out, resize_label(read_mask(root / path), size_hw))
    return out


def _copied_map(path: Path | None, root: Path, size_hw: tuple[int, int], out: Path) -> Path | None:
    if path is None:
        return None
    write_saliency(out, resize_image(read_saliency(root / path), size_hw))
    return out
