"""A per-image stage split into jobs: which of them makes an image, and what they leave beside its files.

Job 3 of 8 declares `shards/3of8.json`, below the stage's folder: the digests of its files, of which the merge
makes the index.json that one job for all images would have written. The files themselves lie in the stage's folder.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from wsss.digest import stable_hash

FOLDER = "shards"


@dataclass(frozen=True)
class Shard:
    """Job `number`, from 1, of `total`."""

    number: int
    total: int

    @classmethod
    def parse(cls, name: str) -> "Shard":
        """3of8"""
        number, total = name.split("of")
        return cls(int(number), int(total))

    def holds(self, item_id: str) -> bool:
        """Whether this job makes the image; what other images there are plays no part."""
        return stable_hash(item_id) % self.total == self.number - 1


def index_paths(folder: str | Path, total: int) -> list[Path]:
    """What the `total` jobs of a stage declare."""
    return [Path(folder, FOLDER, f"{number}of{total}.json") for number in range(1, total + 1)]


def drop_claims(folder: Path, kept: Path, ids: set[str]) -> None:
    """Remove every index but `kept` that vouches for files of `ids`, before the first of them changes.

    Jobs of two splits write the same files, which Snakemake does not know: with the old number of shards it
    would take the old indexes for good again.
    """
    for path in (folder / "index.json", *folder.glob(f"{FOLDER}/*of*.json")):
        if path != kept and not ids.isdisjoint(_claimed(path)):
            path.unlink(missing_ok=True)


def _claimed(path: Path) -> list[str]:
    with contextlib.suppress(OSError, ValueError):  # gone meanwhile, or damaged: no reader takes it for good
        content = json.loads(path.read_bytes())
        return content.get("ids") or list(content.get("digests", ()))
    return []


def drop_leftovers(folder: Path, total: int) -> None:
    """Remove what other splits left for resuming, once the index of this one (1: no split) stands."""
    if total > 1:
        (folder / "journal.jsonl").unlink(missing_ok=True)
    for path in folder.glob(f"{FOLDER}/*"):
        if not path.name.split(".")[0].endswith(f"of{total}"):
            path.unlink(missing_ok=True)
