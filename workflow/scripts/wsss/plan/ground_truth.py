"""Whether a dataset has masks to score with, as far as can be known before it is built."""

import os
from pathlib import Path
from typing import Any

from wsss.data.own_files import located, source_of
from wsss.data.table import read_rows
from wsss.data.user_files import voc_trees


def has_masks(spec: dict[str, Any], split: str = "train") -> bool:
    """Of a checked dataset file; `split`: train stands for any.

    Raises:
        UserError: a folder dataset's CSV is not readable; with val, a folder is missing.
    """
    params = spec["params"]
    if spec["kind"] == "voc" and params.get("path"):
        trees = voc_trees(params["path"])  # without a tree the builder complains
        return not trees or any(_is_filled(tree / "SegmentationClass") for tree in trees)
    if spec["kind"] != "folder":
        return True
    rows = ({key: cell.strip() for key, cell in cells.items()} for _, cells in read_rows(params["labels"], ()))
    if split != "val":
        return bool(params.get("masks") or any(row.get("mask") for row in rows))
    source = source_of(params)
    return any(located(row, source)[1] for row in rows if row.get("split") == "val")


def _is_filled(folder: Path) -> bool:
    return os.path.isdir(folder) and any(True for _ in os.scandir(folder))
