"""What of a user's data the workflow watches: a dataset is built again when one of these files is another."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss.data import folder
from wsss.errors import UserError
from wsss.io.atomic import read_json
from wsss.userdata import folder_stamp, own_data, voc_trees


def dataset_files(spec: dict[str, Any]) -> list[str | Path]:
    """Files and folders of the user that a dataset is built from; none where it is generated or downloaded.

    Of a CSV with images these are the files that its rows name, wherever they lie, as the builder finds them.

    Raises:
        UserError: the CSV or a folder is missing, or the CSV is laid out otherwise.
    """
    return folder.named_files(spec["params"]) if spec["kind"] == "folder" else own_data(spec)


def stamp(paths: Iterable[str | Path]) -> str | None:
    """`folder_stamp` of the paths, or None where there are none."""
    paths = list(paths)
    return folder_stamp(paths) if paths else None


def own_root(spec: dict[str, Any]) -> str | None:
    """The folder of photos that a dataset file names; None where the photos are generated or downloaded."""
    path = spec["params"].get("images" if spec["kind"] == "folder" else "path")
    if path and spec["kind"] == "voc":
        path = next(iter(voc_trees(path)), path)
    return os.path.realpath(path) if path else None


def require_root(spec: dict[str, Any], name: str) -> None:
    """Refuse a manifest that was made of other photos than the dataset file names, such as one copied from elsewhere.

    Snakemake makes it again by itself where it knows of what the manifest was made; a copy may not say that.

    Args:
        spec: the dataset file; name: of the dataset, whose results lie below the working directory.

    Raises:
        UserError: the two name different folders.
    """
    folder, expected = Path("results", name), own_root(spec)
    if expected is None or not (folder / "dataset.json").is_file():
        return
    facts = read_json(folder / "dataset.json")
    root = facts.get("root") if isinstance(facts, dict) else None
    found = os.path.realpath(os.path.join(os.path.abspath(folder), root)) if isinstance(root, str) else None
    if found and found != expected:  # a damaged one is its reader's to name
        raise UserError(
            f"{folder}/manifest.csv: is of the photos in {found}, config/datasets/{name}.yaml names {expected}; make it again "
            f"(what follows reruns only where its content is another): snakemake --force {folder}/manifest.csv"
        )
