"""`journal.jsonl`: what a killed per-image stage has finished; not declared to Snakemake, so it survives."""

import json
import os
from pathlib import Path

from wsss.io.atomic import explain_os_errors, write_text
from wsss.io.digest import sha256_file

NAME = "journal.jsonl"


class Journal:
    """Finished ids of one folder under one fingerprint.

    The first line is the fingerprint, each further line an id and its files' sha256. Opening verifies
    every entry against the files; entries of another fingerprint, or whose files changed, are dropped
    and redone.
    """

    def __init__(self, folder: str | Path, fingerprint: str, suffixes: list[str]) -> None:
        self.folder = Path(folder)
        self.suffixes = suffixes
        self.path = self.folder / NAME
        self.done: dict[str, list[str]] = self._recover(fingerprint)
        lines = [json.dumps({"fingerprint": fingerprint})]
        lines += [json.dumps({"id": i, "sha256": d}, ensure_ascii=False) for i, d in self.done.items()]
        write_text(self.path, "\n".join(lines) + "\n")

    def add(self, item_id: str) -> None:
        """Record that all files of `item_id` stand under their final names."""
        self.done[item_id] = self._digests(item_id)
        line = json.dumps({"id": item_id, "sha256": self.done[item_id]}, ensure_ascii=False) + "\n"
        with explain_os_errors(self.path), open(self.path, "ab") as handle:
            handle.write(line.encode("utf-8"))
            handle.flush()
            os.fsync(handle.fileno())

    def _digests(self, item_id: str) -> list[str]:
        return [sha256_file(self.folder / f"{item_id}{suffix}") for suffix in self.suffixes]

    def _recover(self, fingerprint: str) -> dict[str, list[str]]:
        entries = _read_lines(self.path)
        if not entries or entries[0].get("fingerprint") != fingerprint:
            return {}
        return {e["id"]: e["sha256"] for e in entries[1:] if "id" in e and self._holds(e)}

    def _holds(self, entry: dict) -> bool:
        try:
            return self._digests(entry["id"]) == entry["sha256"]
        except OSError:
            return False


def _read_lines(path: Path) -> list[dict]:
    """The journal's entries up to the first broken line (a kill may cut the last one)."""
    entries: list[dict] = []
    if path.exists():
        for line in path.read_bytes().decode("utf-8", "replace").splitlines():
            try:
                entries.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return entries
