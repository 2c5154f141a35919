"""`index.json`: the declared output of a per-image stage, written last; vouches for every file beside it."""

from pathlib import Path
from typing import Any

from wsss.errors import UserError
from wsss.io.atomic import read_json, write_json
from wsss.io.digest import fingerprint


def write_index(folder: str | Path, digests: dict[str, Any], suffixes: list[str], **facts: Any) -> None:
    """Write `folder/index.json`.

    Args:
        digests: id -> sha256 (or a list of them) of the files of that id.
        suffixes: what is appended to an id to name its files, for example ``[".npy"]``.
        facts: whatever readers need (geometry, norm, parameters).
    """
    content = {
        **facts,
        "ids": sorted(digests),
        "suffixes": suffixes,
        "digest": fingerprint(sorted(digests.items())),
    }
    write_json(Path(folder) / "index.json", content)


def read_index(path: str | Path, ids: list[str], remake: str) -> dict[str, Any]:
    """Read an index and check that it and the folder beside it hold all of `ids`.

    Args:
        remake: the command that makes the folder again, for the error text.

    Raises:
        UserError: listing the missing ids or files (Snakemake does not watch them).
    """
    path = Path(path)
    index = read_json(path)
    if not isinstance(index, dict) or not all(isinstance(index.get(key), list) for key in ("ids", "suffixes")):
        raise UserError(f"{path}: not an index of this workflow; delete it and run: {remake}")
    absent = sorted(set(ids) - set(index["ids"]))
    present = {entry.name for entry in path.parent.iterdir()}
    absent += [i for i in ids if any(i + suffix not in present for suffix in index["suffixes"]) and i not in absent]
    if absent:
        names = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
        raise UserError(f"{path.parent}: {len(absent)} of {len(ids)} ids have no file here ({names}); run: {remake}")
    return index
