"""What stages go by when a dataset changes: a digest over what training sees, others over the masks that scores go by.

They say nothing of where files lie, so a dataset that was moved, and its manifest made again, reruns nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss.digest import fingerprint, sha256_file
from wsss.engine.threads import threaded

if TYPE_CHECKING:
    from wsss.data.manifest import Record, Row


def digests(rows: Sequence["Row"], root: Path, **facts: Any) -> dict[str, dict[str, Any]]:
    """Name -> content of each NAME.json beside the manifest.

    images: ids, splits, labels and photos in their order, with `facts` (class list ...); saliency: the maps of training
    images, which classifiers of some methods learn from;
    masks_train: the masks of training images (full supervision learns from them, seeds are scored by them);
    masks_val: those of val; scored: whether there are any, which decides what is predicted.
    """
    images, maps, train, val = [], [], [], []
    for row, (image, mask, mask_train, saliency) in zip(rows, _contents(rows, root), strict=True):
        images.append((row.id, row.splits, sorted(row.labels), image))
        if "trainaug" in row.splits:
            maps.append((row.id, saliency))
            train.append((row.id, mask, mask_train))
        if "val" in row.splits:
            val.append((row.id, mask))
    return {
        "images": {**facts, "digest": fingerprint(images)},
        "saliency": {"digest": fingerprint(maps)},
        "masks_train": {"digest": fingerprint(train)},
        "masks_val": {"digest": fingerprint(val)},
        "scored": {"val": any(mask for _, mask in val)},
    }


def _contents(rows: Sequence["Row"], root: Path) -> Iterable[list[str]]:
    """The sha256 of each of a row's files, "" where there is none."""
    found = threaded(sha256_file, (root / path for row in rows for path in row.files if path))
    return ([next(found) if path else "" for path in row.files] for row in rows)


def masks_digest(records: Iterable["Record"]) -> str:
    """Digest over the masks of some images, in their order; an image without one counts as that."""
    return fingerprint([None if record.mask is None else sha256_file(record.mask) for record in records])
