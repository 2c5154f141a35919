"""The command behind `workflow/scripts/import_labels.py`: a `cls_labels.npy` becomes a CSV of image labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss.data.cls_labels import coco_key, read_cls_labels, voc_id
from wsss.data.coco_labels import COCO_CLASSES, any_number
from wsss.data.label_csv import write_labels
from wsss.data.table import bad_id, listing
from wsss.data.voc_lists import VOC_CLASSES, read_id_list
from wsss.engine.command import ended
from wsss.errors import UserError
from wsss.io.pickles import NOTE


@dataclass(frozen=True)
class Family:
    """How a dataset family writes classes and ids. `same`: equal for all forms of one id, None for no id."""

    classes: tuple[str, ...]
    id_of: Callable[[Any], str | None]
    same: Callable[[str], Hashable | None]


FAMILIES = {"voc": Family(VOC_CLASSES, voc_id, str), "coco": Family(COCO_CLASSES, coco_key, any_number)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all is well, 1 with a plain line on stderr where the user can mend it."""
    parser = argparse.ArgumentParser(
        description="Turn a cls_labels.npy of this field into a CSV of image labels.", epilog=NOTE
    )
    parser.add_argument("source", type=Path, help="cls_labels.npy: a pickled dict, id -> multi-hot vector")
    parser.add_argument("target", type=Path, help="CSV to write, for `labels` of a dataset file")
    parser.add_argument("--classes", choices=FAMILIES, required=True, help="whose classes, in official order")
    parser.add_argument(
        "--ids", type=Path, metavar="LIST", help="keep the images of this list, in its order and form"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the CSV where there is one")
    options = parser.parse_args(arguments)

    def done() -> None:
        if options.target.resolve() in [path.resolve() for path in (options.source, options.ids) if path]:
            raise UserError(f"{options.target}: is what is to be read; give another name")
        if options.target.exists() and not options.overwrite:
            raise UserError(f"{options.target}: is there; give another name, or say --overwrite")
        print(import_labels(options.source, options.target, options.classes, options.ids))

    return ended(done)


def import_labels(source: Path, target: Path, family: str, ids: Path | None = None) -> str:
    """Write the CSV; returns what was read and written, in words.

    Raises:
        UserError: a bad or hostile file, or ids of the list that it does not hold.
    """
    names = FAMILIES[family]
    found = read_cls_labels(source, names.classes, names.id_of)
    kept = _pick(found, source, ids, names.same) if ids else found
    bad = [f"{image!r} {reason}" for image in kept if (reason := bad_id(image))]
    if bad:
        raise UserError(listing(f"{ids or source}: ids that cannot serve as file names", bad))
    write_labels(target, kept)
    mean = sum(map(len, kept.values())) / len(kept)
    bare = sum(not labels for labels in kept.values())
    return "\n".join(
        [
            f"{source}: {len(found)} ids, {len(names.classes)} classes ({NOTE})",
            f"{target}: {len(kept)} images, {mean:.3f} labels an image, {bare} without a label",
        ]
    )


def _pick(
    found: dict[str, tuple[str, ...]], source: Path, ids: Path, same: Callable[[str], Hashable | None]
) -> dict[str, tuple[str, ...]]:
    by_image = {same(image): labels for image, labels in found.items()}
    wanted = read_id_list(ids)
    missing = [image for image in wanted if same(image) is None or same(image) not in by_image]
    if missing:
        raise UserError(
            listing(f"{ids}: ids that {source} has no labels of; take them off, or use another file", missing)
        )
    return {image: by_image[same(image)] for image in wanted}
