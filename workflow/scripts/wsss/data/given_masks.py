"""Ground truth that a user has given and that is not found: said before anything is trained, not when it is to be scored."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from wsss.data.manifest import Row
from wsss.data.text import first_few
from wsss.io.folders import files_below

SHOWN = 3
INDEX = "index.json"  # of what a stage made
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
    found, said = [], []
    for split, some in of.items():
        bare = [row.id for row in some if not row.mask]
        if bare and len(bare) == len(some):
            said.append(f"{where}: no {split} image has a mask, so {lost[split]}")
        elif bare and split == "val" and folder:
            found.append(f"{where}: {len(bare)} of {len(some)} val images have no mask ({first_few(bare)}), yet val images are scored; add them, or change the split")
        elif bare:
            said.append(f"{where}: {len(bare)} of {len(some)} {split} images have no mask ({first_few(bare)})")
    shared = [path for path, count in Counter(row.mask for row in rows if row.mask).items() if count > 1]
    if shared:
        said.append(f"{where}: {len(shared)} masks serve several images ({', '.join(path.name for path in shared[:SHOWN])})")
    if folder and (folder / INDEX).is_file() and (folder / "run.json").is_file():
        said.append(f"{where}: holds what a stage of this workflow made; an mIoU by these masks compares networks with each other, not with the truth")
    return found, said


def _example(folder: Path) -> str:
    found = sorted(os.path.relpath(path, folder) for path in islice(files_below(folder), LOOKED_AT))
    return f"it holds {first_few(found)}" if found else "it is empty"
