"""Ground truth that a user has given and that is not found: said before anything is trained, not when it is to be scored."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from wsss.data.manifest import Row

SHOWN = 3
LOOKED_AT = 10_000  # names of a folder, for an example of what is there


def missing_masks(rows: Sequence[Row], folder: Path | None, is_column: bool, named: bool = False) -> tuple[list[str], list[str]]:
    """(problems, what is to be said) where masks are given, as a folder or a column.

    Args:
        rows: as the builder found them.
        folder: `masks` of the dataset.
        is_column: whether the table has the column `mask`; named: whether one of its cells names a file, found or not.
    """
    if not rows or not (folder or is_column):
        return [], []
    where = str(folder) if folder else "column mask"
    if not any(row.mask for row in rows) and (folder or not named):
        there = _example(folder) if folder else "its cells are empty"
        mend = "name masks as their images are (sub/a.jpg: sub/a.png)" if folder else "fill it"
        return [f"{where}: no image has a mask there ({there}); {mend}, or take `mask{'s' if folder else ''}` out: nothing could be scored"], []
    of = {"training": [r for r in rows if "trainaug" in r.splits], "val": [r for r in rows if "val" in r.splits]}
    lost = {"training": "no seed or pseudo-mask gets a score", "val": "segmentation gets no score"}
    said = []
    for split, some in of.items():
        bare = [row.id for row in some if not row.mask]
        if bare and len(bare) == len(some):
            said.append(f"{where}: no {split} image has a mask, so {lost[split]}")
        elif bare:
            said.append(f"{where}: {len(bare)} of {len(some)} {split} images have no mask ({', '.join(bare[:SHOWN])}{', ...' if len(bare) > SHOWN else ''})")
    shared = [path for path, count in Counter(row.mask for row in rows if row.mask).items() if count > 1]
    if shared:
        said.append(f"{where}: {len(shared)} masks serve several images ({', '.join(path.name for path in shared[:SHOWN])})")
    return [], said


def _example(folder: Path) -> str:
    found = sorted(islice(_files(folder), LOOKED_AT))
    return f"it holds {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}" if found else "it is empty"


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.relpath(os.path.join(parent, name), folder) for name in names)
