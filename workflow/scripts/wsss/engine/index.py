"""`index.json`: the declared output of a per-image stage, written last; vouches for every file beside it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from wsss.digest import fingerprint
from wsss.engine.atomic import read_json, write_json
from wsss.engine.recovery import OUTPUTS, remedy
from wsss.errors import UserError


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


def write_shard(path: str | Path, digests: dict[str, Any], suffixes: list[str], **facts: Any) -> None:
    """Write what one job of a split stage made, for `merge_shards`; arguments as for `write_index`."""
    write_json(path, {**facts, "suffixes": suffixes, "digests": digests})


def merge_shards(paths: Sequence[Path], folder: str | Path) -> int:
    """Write `folder/index.json`, byte by byte the one of a stage that was not split; returns the number of ids.

    Raises:
        UserError: the jobs do not belong together.
    """
    digests: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for path in paths:
        part = read_json(path)
        if not isinstance(part, dict) or not isinstance(part.get("digests"), dict) or not are_words(part.get("suffixes")):
            raise UserError(f"{path}: not an index of this workflow; {remedy(path)}")
        digests |= part.pop("digests")
        facts = facts or part
        if part != facts:
            differing = ", ".join(sorted(key for key in facts | part if facts.get(key) != part.get(key)))
            raise UserError(
                f"{path}: differs from {paths[0].name} in {differing}: they were made by other settings, code, packages, inputs or "
                f"kinds of device; delete {path.parent} and run the same command again (finished work is kept where it fits)"
            )
    write_index(folder, digests, **facts)
    return len(digests)


def are_words(value: Any) -> TypeGuard[list[str]]:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def read_index(path: str | Path, ids: list[str]) -> dict[str, Any]:
    """Read an index and check that it and the folder beside it hold all of `ids`.

    Raises:
        UserError: listing the missing ids or files (Snakemake does not watch them), with the command that makes them.
    """
    path = Path(path)
    index = read_json(path)
    if not isinstance(index, dict) or not all(are_words(index.get(key)) for key in ("ids", "suffixes")) or not are_words(index.get("classes", [])):
        raise UserError(f"{path}: not an index of this workflow; {remedy(path)}")
    known, present = set(index["ids"]), set(os.listdir(path.parent))
    absent = sorted(set(ids) - known)
    absent += [i for i in ids if i in known and any(i + suffix not in present for suffix in index["suffixes"])]
    if absent:
        missing = remedy(path, ids=absent)
        names = ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
        raise UserError(f"{path.parent}: {len(absent)} of {len(ids)} ids have no file here ({names}); {missing}")
    return index


def file_of(index_path: str | Path, item_id: str, suffix: str) -> Path:
    """The file of `item_id` beside an index."""
    return Path(index_path).parent / f"{item_id}{suffix}"


def refuse_stage_file(out: Path, suffix: str) -> None:
    """UserError where `out` stands, and is a file of those that stages make, or no file of that suffix."""
    if not out.exists():
        return
    beside = any((out.parent / name).exists() for name in ("run.json", "manifest.csv"))
    if beside or out.name in OUTPUTS or out.name == "index.json" and "suffixes" in read_json(out, "give another name"):
        raise UserError(f"{out}: lies where stages write; give the name of a new file")
    if out.suffix.lower() != suffix:
        raise UserError(f"{out}: is there, and is no {suffix} file; give another name")
