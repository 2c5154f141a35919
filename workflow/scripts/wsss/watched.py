"""What of a user's data the workflow watches: a dataset is built again when one of these files is another."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss.data import folder
from wsss.userdata import folder_stamp, own_data


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
