"""Smaller copies of large photos, with their masks and saliency maps: what every stage reads in place of a phone's photo."""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from wsss.constants import LONG_SIDE
from wsss.data.manifest import Dataset, Row
from wsss.data.places import cell, located
from wsss.data.text import first_few
from wsss.data.transforms import resize_image, resize_label, shrunk_size
from wsss.data.validate import SMALL
from wsss.engine.atomic import atomic_path, explain_os_errors, read_json, write_json
from wsss.engine.recovery import remedy
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.io.images import image_size, read_image, room_to_decode
from wsss.io.masks import read_mask, write_mask
from wsss.io.saliency import read_saliency, write_saliency

log = logging.getLogger(__name__)
FOLDER, TABLE = "copies", "copies.json"
LARGE, VOC_PIXELS = 3_000_000, 375 * 500
QUALITY = 95  # of JPEG: a third of a PNG's bytes, and read twice as fast
_MASK = read_mask, resize_label, write_mask
BESIDE = {"mask": _MASK, "mask_train": _MASK, "saliency": (read_saliency, resize_image, write_saliency)}  # what a row has beside its photo


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
    refuse_inside([root / path for row in rows for path in row.files if path], folder)
    shutil.rmtree(folder, ignore_errors=True)
    with explain_os_errors(table):
        table.unlink(missing_ok=True)
    sizes = {row.id: image_size(root / row.image) for row in rows}
    shrunk = {key: shrunk_size(size, long_side) if long_side else size for key, size in sizes.items()}
    _warn(shrunk, sizes)
    large = [row for row in rows if shrunk[row.id] != sizes[row.id]]
    if not large:
        return list(rows)
    copies = {row.id: row for row in threaded(lambda row: _copy(row, root, shrunk[row.id], folder), large)}
    entries = {row.id: {"image": cell(row.image, root, out_dir), "size": sizes[row.id]} for row in large}
    write_json(table, {"long_side": long_side, "photos": entries})
    said = f"{len(large)} of {len(rows)} photos have a side above {long_side} pixels; stages work on copies of that size, in {folder}, and make masks of it"
    log.warning("%s: `python -m wsss export FOLDER --as png --out OUT` gives masks of the photos' own size", said)
    return [copies.get(row.id, row) for row in rows]


def refuse_inside(paths: Iterable[Path], folder: Path) -> None:
    """UserError where a user's file lies in the folder of copies, which is emptied."""
    inside = os.path.join(os.path.realpath(folder), "")
    if mine := next((path for path in paths if os.path.realpath(path).startswith(inside)), None):
        raise UserError(f"{mine}: lies in the folder that the workflow puts its smaller copies into, and empties; move your files out of {folder}")


def _warn(sizes: dict[str, tuple[int, int]], own: dict[str, tuple[int, int]]) -> None:
    """Say which photos stay large: that is legal, and every stage takes time and memory by their pixels. And which become slivers."""
    slivers = [key for key, size in sizes.items() if min(size) < SMALL <= min(own[key])]
    if slivers:
        words = f"{len(slivers)} of {len(sizes)} photos are so long and narrow that their copies have a side below {SMALL} pixels ({first_few(slivers)})"
        log.warning("%s, of which a network sees next to nothing: cut them into parts, or set a larger `long_side`", words)
    pixels = {key: height * width for key, (height, width) in sizes.items() if height * width > LARGE}
    if pixels:
        most = max(pixels.values())
        of = f"{len(pixels)} of {len(sizes)} photos have more than {LARGE // 1_000_000} megapixels ({first_few(list(pixels))})"
        cost = f"takes about {most // VOC_PIXELS} times the time and memory of a photo of 375x500"
        log.warning("%s; the largest, of %.0f, %s: set `long_side: %d`, unless your GPU bears it", of, most / 1e6, cost, LONG_SIDE)


def originals(folder: str | Path, dataset: Dataset) -> dict[str, Original]:
    """Id -> the photo it is a copy of, for the photos of results/DATASET that are copies.

    Raises:
        UserError: they are copies, and copies.json, which says of what, is missing or damaged.
    """
    table = Path(folder).absolute() / TABLE
    own = os.path.realpath(table.parent / FOLDER)
    copies = {r.id for r in dataset.records if r.image.parent.name == FOLDER and os.path.realpath(r.image.parent) == own}
    if not copies:
        return {}
    try:
        entries = {key: (entry["image"], *map(int, entry["size"])) for key, entry in read_json(table)["photos"].items()}
        found = {key: Original(Path(dataset.root, located(name, str(table.parent))), (height, width)) for key, (name, height, width) in entries.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{table}: damaged; {remedy(table)}") from error
    if lost := sorted(copies - found.keys()):
        raise UserError(f"{table}: does not say of which photos {first_few(lost)} are copies; {remedy(table)}")
    return found


def copy_words(original: Original | None) -> str:
    """The end of a message that names the size of an image, where that is a copy of a user's photo; else empty."""
    return f", which is the size of the copy that stages work on; the photo is {original.size}" if original else ""


def _copy(row: Row, root: Path, size_hw: tuple[int, int], folder: Path) -> Row:
    image = folder / f"{row.id}.jpg"
    with room_to_decode(root / row.image), atomic_path(image) as temp:
        Image.fromarray(resize_image(read_image(root / row.image), size_hw)).save(temp, format="JPEG", quality=QUALITY, subsampling=0)
    made: dict[str, Any] = {"image": image}
    for kind, (read, resize, write) in BESIDE.items():
        if path := getattr(row, kind):
            made[kind] = folder / f"{row.id}.{kind}.png"
            write(made[kind], resize(read(root / path), size_hw))
    return replace(row, **made)
