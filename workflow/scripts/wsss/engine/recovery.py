"""The command that makes a damaged or lost file again, for the errors that name it."""

import contextlib
import json
import os
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from wsss.engine.shards import FOLDER

AGAIN = "run the stage that writes it again"  # where no command is known
IMPORT_AGAIN = "import it again (docs/import.md)"  # where the import's own index is damaged, which knows the command
OUTPUTS = (  # declared to Snakemake one by one
    "model.safetensors", "history.csv", "check.json", "scores.json", "sweep.csv", "per_image.csv", "threshold.json", "diagnosis.json",
)  # fmt: skip


def remake_command(path: str | Path, ids: Collection[str] = ()) -> str | None:
    """The command that makes the file at `path` again, or None where nothing here made it.

    A stage that is forced goes by its journal: it makes what is damaged or missing and keeps the rest.

    Args:
        ids: where `path` is an index, those whose files are missing.
    """
    path = Path(path)
    index = _content(path.parent / "index.json")
    if isinstance(index.get("remake"), str):  # an imported folder says its command
        return index["remake"]
    if _is_imported(path):
        return None
    targets = [shlex.quote(_as_rules_know(target)) for target in _targets(path, index, ids)]
    return f"snakemake --force {' '.join(targets)}" if targets else None


def _as_rules_know(path: Path) -> str:
    """Relative to the working directory where it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def remedy(path: str | Path, otherwise: str = AGAIN, ids: Collection[str] = ()) -> str:
    """How to bring the file at `path` back, for an error message: run a command, or `otherwise` where there is none."""
    command = remake_command(path, ids)
    return f"run: {command}" if command else IMPORT_AGAIN if _is_imported(Path(path)) else otherwise


def _is_imported(path: Path) -> bool:
    """imports/DATASET/NAME/STAGE/FILE: a command of the user's put it there, and no rule makes it."""
    return path.absolute().parts[-5:-4] == ("imports",)


def _targets(path: Path, index: dict[str, Any], ids: Collection[str]) -> list[Path]:
    folder = path.parent
    if path.name in OUTPUTS or folder.name == FOLDER:
        return [path]
    if path.name == "index.json":
        return _shards(folder, ids) or [path]
    if index:
        listed = index.get("suffixes")
        suffixes = listed if isinstance(listed, list) else []
        ids = {path.name.removesuffix(suffix) for suffix in suffixes if isinstance(suffix, str)}
        return _shards(folder, ids) or [folder / "index.json"]
    return [parent / "manifest.csv" for parent in path.parents if (parent / "dataset.json").exists()][:1]


def _shards(folder: Path, ids: Collection[str]) -> list[Path]:
    """What the jobs declare that make `ids`; where a stage was split, forcing its index would only merge it again."""
    return [path for path in sorted(folder.glob(f"{FOLDER}/*of*.json")) if _holds(_content(path), ids)]


def _holds(shard: dict[str, Any], ids: Iterable[str]) -> bool:
    digests = shard.get("digests")
    return isinstance(digests, dict) and any(item_id in digests for item_id in ids)


def _content(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else {}
    return {}


def after_divergence(stage: str) -> str:
    """What to do where the network that `stage` trained makes no numbers, for an error message."""
    return f"the network diverged: train it again with a lower {stage}.lr, or with compute.precision: fp32"
