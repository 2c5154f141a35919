"""`journal.jsonl`: what a killed per-image stage has finished; not declared to Snakemake, so it survives."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from wsss.digest import sha256_file
from wsss.engine.atomic import explain_os_errors, write_text
from wsss.engine.shards import FOLDER
from wsss.engine.threads import threaded

NAME = "journal.jsonl"


class Journal:
    """Finished ids of one folder under one fingerprint.

    The first line is the fingerprint, each further line an id and its files' sha256. Opening verifies
    every entry against the files; entries of another fingerprint, or whose files changed, are dropped
    and redone. What the journals of another split of the stage hold counts too: equal fingerprints mean
    equal files, whichever job wrote them.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: str,
        suffixes: list[str],
        ids: Collection[str] | None = None,
        path: str | Path | None = None,
    ) -> None:
        """`ids`: those to look for, None for all; `path`: of a shard's journal."""
        self.folder = Path(folder)
        self.suffixes = suffixes
        self.path = Path(path or self.folder / NAME)
        self.fingerprint = fingerprint
        self.done: dict[str, list[str]] = self._recover(fingerprint, ids)
        self._write(self.done)

    def close(self) -> None:
        """Put the entries into the order of their ids: a finished journal does not tell of kills on the way."""
        self._write(sorted(self.done))

    def _write(self, ids: Iterable[str]) -> None:
        lines = [json.dumps({"fingerprint": self.fingerprint}), *map(self._line, ids)]
        write_text(self.path, "\n".join(lines) + "\n")

    def _line(self, item_id: str) -> str:
        return json.dumps({"id": item_id, "sha256": self.done[item_id]}, ensure_ascii=False)

    def add(self, item_id: str) -> None:
        """Record that all files of `item_id` stand under their final names.

        Not synced to disk: a line that a power failure takes costs the work of one image, never a result.
        """
        self.done[item_id] = self._digests(item_id)
        with explain_os_errors(self.path), open(self.path, "ab") as handle:
            handle.write(f"{self._line(item_id)}\n".encode())

    def _digests(self, item_id: str) -> list[str]:
        return [sha256_file(self.folder / f"{item_id}{suffix}") for suffix in self.suffixes]

    def _recover(self, fingerprint: str, ids: Collection[str] | None) -> dict[str, list[str]]:
        vouched: dict[str, list[list[str]]] = defaultdict(list)
        for path in dict.fromkeys([self.path, *_journals(self.folder)]):
            for entry in _entries(path, fingerprint):
                if ids is None or entry["id"] in ids:
                    vouched[entry["id"]].append(entry["sha256"])
        found = threaded(self._digests_if_there, vouched)
        return {i: digests for i, digests in zip(vouched, found, strict=True) if digests in vouched[i]}

    def _digests_if_there(self, item_id: str) -> list[str] | None:
        try:
            return self._digests(item_id)
        except OSError:
            return None


def recorded_ids(folder: Path) -> set[str]:
    """Ids whose files some run of the stage has made in `folder`, whatever it was run with."""
    entries = (entry for path in _journals(folder) for entry in _entries(path, None))
    return {entry["id"] for entry in entries if isinstance(entry["id"], str)}


def _journals(folder: Path) -> list[Path]:
    return [folder / NAME, *sorted(folder.glob(f"{FOLDER}/*{NAME}"))]


def _entries(path: Path, fingerprint: str | None) -> Iterator[dict]:
    """The entries of a journal of this fingerprint (None: of any), up to the first broken line (a kill may cut the last one)."""
    try:
        with open(path, "rb") as handle:
            found = json.loads(handle.readline()).get("fingerprint")
            if fingerprint in (None, found):
                yield from (entry for entry in map(json.loads, handle) if {"id", "sha256"} <= entry.keys())
    except (FileNotFoundError, ValueError, AttributeError):
        return
