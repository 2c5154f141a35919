"""A folder of a user's own photos to predict on: what is in it, before anything runs. No torch, no numpy here."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from wsss.constants import LONG_SIDE
from wsss.data.table import bad_id, listing
from wsss.data.text import shown
from wsss.errors import UserError
from wsss.io.folders import files_below

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2", ".jfif")
OTHERS = (".gif", ".dng", ".cr2", ".nef", ".ppm", ".svg")  # pictures that are not looked for


def photo_source(predict: dict[str, Any], name: str) -> dict[str, Any]:
    """{"folder", "long_side"} of the entry `name` of config.yaml's `predict`, which is a folder, or has both keys.

    Raises:
        UserError: there is no such entry.
    """
    if name not in predict:
        known = f"; known: {', '.join(sorted(predict))}" if predict else ""
        raise UserError(
            f"predict: there is no folder called {name!r} in config/config.yaml; "
            f"add it there: `predict: {{{name}: FOLDER}}`{known}"
        )
    entry = predict[name]
    entry = {"folder": entry} if isinstance(entry, str) else entry
    return {"folder": entry["folder"], "long_side": entry.get("long_side", LONG_SIDE)}


def find_photos(folder: str | Path) -> dict[str, str]:
    """Id -> path below `folder` of every image in it and in its folders, sorted by id; a/b.jpg has the id a__b.

    Files and folders whose names begin with a dot, and files of other kinds, are left out. Linked folders count.

    Raises:
        UserError: no such folder, no image in it, a folder in it that cannot be read, or names that cannot serve as ids.
    """
    if not os.path.isdir(folder):
        what = "is a file, not a folder" if os.path.isfile(folder) else "no such folder"
        raise UserError(f"{folder}: {what}; mend `predict` in config/config.yaml")
    found: dict[str, str] = {}
    problems = []
    for path in _images_below(folder):
        item_id = PurePosixPath(path).with_suffix("").as_posix().replace("/", "__")
        if reason := bad_id(item_id):
            problems.append(f"{shown(path)}: its id {item_id!r} {reason}")
        elif item_id in found:
            problems.append(f"{path} and {found[item_id]} would have the same id {item_id!r}")
        found.setdefault(item_id, path)
    if problems:
        raise UserError(listing(f"{folder}: rename these images", problems))
    if not found:
        raise UserError(f"{folder}: holds no image ({', '.join(SUFFIXES)}); mend `predict` in config/config.yaml")
    return dict(sorted(found.items()))


def left_out(folder: str | Path) -> list[str]:
    """Pictures of kinds that `find_photos` leaves out, below `folder`, sorted."""
    return sorted(os.path.relpath(path, folder) for path in files_below(folder, hidden=False) if path.lower().endswith(OTHERS))


def require_apart(folder: str | Path, out: str | Path) -> None:
    """Masks are written into `out`: over photos of that name, or to be taken for photos the next time.

    Raises:
        UserError: one of the two lies in the other.
    """
    photos, masks = (os.path.join(os.path.realpath(path), "") for path in (folder, out))
    if photos.startswith(masks) or masks.startswith(photos):
        raise UserError(f"{folder}: photos and their masks, which go to {out}, must lie apart; mend `predict` in config/config.yaml")


def _images_below(folder: str | Path) -> list[str]:
    images = (path for path in files_below(folder, hidden=False) if path.lower().endswith(SUFFIXES))
    return sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in images)
