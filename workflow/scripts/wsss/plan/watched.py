"""What of a user's data the workflow watches: a dataset is built again when one of these files is another."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wsss.data import folder
from wsss.data.user_files import folder_stamp, own_data, voc_trees
from wsss.digest import sha256_file
from wsss.engine.atomic import read_json
from wsss.errors import UserError


def dataset_files(spec: dict[str, Any]) -> Sequence[str | Path]:
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


def require_manifest(spec: dict[str, Any], name: str) -> None:
    """Refuse a manifest that was edited, or made of other photos than the dataset file names, such as one copied from elsewhere.

    Snakemake makes it again by itself where it knows of what the manifest was made; a copy may not say that. It does
    not look at the manifest itself, whose content goes by digests.

    Args:
        spec: the dataset file; name: of the dataset, whose results lie below the working directory.

    Raises:
        UserError: it is of another folder, or not as it was written.
    """
    results, expected = Path("results", name), own_root(spec)
    table = results / "manifest.csv"
    again = f"make it again (what follows reruns only where its content is another): snakemake --force {table}"
    if not (results / "dataset.json").is_file() or not table.is_file():
        return
    facts = read_json(results / "dataset.json")
    root, digest = (facts.get(key) if isinstance(facts, dict) else None for key in ("root", "table"))
    found = os.path.realpath(os.path.join(os.path.abspath(results), root)) if isinstance(root, str) else None
    if found and expected and found != expected:  # a damaged one is its reader's to name
        raise UserError(f"{table}: is of the photos in {found}, config/datasets/{name}.yaml names {expected}; {again}")
    if digest and digest != sha256_file(table):
        raise UserError(f"{table}: was edited or damaged; edit the data that it is made of, and {again}")
