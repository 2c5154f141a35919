"""Photos that lie beside those of a table and are in none of its rows: half of a table trains on half of the photos."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from wsss.data.manifest import Row
from wsss.data.own_files import Source, stem_of
from wsss.data.photos import SUFFIXES
from wsss.data.text import first_few, shown
from wsss.errors import UserError
from wsss.io.folders import files_below

MOST_LISTED = 300_000  # files; of a larger folder a part is mostly meant, and listing it takes long
OTHERS = {"val", "valid", "validation", "test", "testing"}  # folders that are left out on purpose
NO_PHOTOS = ("mask", "saliency", "segmentation", "annotation")  # in names of folders


def unnamed_photos(rows: Sequence[Row], source: Source, table: Path, out_dir: Path) -> list[str]:
    """What is to be said of photos below `images` that no row names; masks, and folders of a test or val set, are passed over.

    Args:
        rows: with absolute paths, as the builder found them.
        out_dir: the dataset's own folder, in which copies of photos lie.
    """
    try:
        paths = list(islice(files_below(source.images, hidden=False), MOST_LISTED + 1))
    except UserError:  # a folder that no row leads to
        return []
    if len(paths) > MOST_LISTED:
        return []
    named = {str(row.image) for row in rows}
    others = [path for path in paths if path not in named and _may_be_meant(path, source, out_dir)]
    left = _never_named(others, rows, source)
    if not left:
        return []
    total, names = len(left) + len(named.intersection(paths)), sorted(shown(os.path.relpath(path, source.images)) for path in left)
    return [f"{len(left)} of {total} photos in {source.images} are in no row of {table.name} ({first_few(names)}): nothing is learned from them; add their rows if they are meant"]


def _may_be_meant(path: str, source: Source, out_dir: Path) -> bool:
    apart = [f"{folder}{os.sep}" for folder in (source.masks, source.saliency, out_dir) if folder]
    folders = PurePosixPath(os.path.relpath(path, source.images).lower()).parts[:-1]
    is_other = any(name in OTHERS or any(word in name for word in NO_PHOTOS) for name in folders)
    return path.lower().endswith(SUFFIXES) and not is_other and not path.startswith(tuple(apart))


def _never_named(paths: Sequence[str], rows: Sequence[Row], source: Source) -> list[str]:
    """Those of `paths` that are no row's file by another way, and no mask beside a photo, by its name."""
    if not paths:
        return []
    known = {os.path.realpath(path) for row in rows for path in row.files if path}
    stems = {stem_of(str(row.image), source) for row in rows}
    return [path for path in paths if stem_of(path, source) not in stems and os.path.realpath(path) not in known]
