"""Checksums of downloads: the publisher's where known, else the first download's, kept in a lock file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wsss.digest import sha256_file
from wsss.engine.atomic import explain_os_errors, read_json, write_json
from wsss.errors import UserError


@dataclass(frozen=True)
class Checksums:
    """What is known about a file before it is fetched; all hex, any of them may be None."""

    sha256: str | None = None
    md5: str | None = None
    sha256_prefix: str | None = None

    @property
    def known(self) -> bool:
        """Whether anything can be checked."""
        return any((self.sha256, self.md5, self.sha256_prefix))

    def check(self, path: Path) -> tuple[str, str | None]:
        """The file's hex sha256, and what disagrees (None where all is well)."""
        digest = sha256_file(path)
        if self.sha256 and digest != self.sha256.lower():
            return digest, f"wrong checksum: sha256 is {digest}, not {self.sha256}"
        if self.sha256_prefix and not digest.startswith(self.sha256_prefix.lower()):
            return digest, f"wrong checksum: sha256 is {digest}, which should begin with {self.sha256_prefix}"
        if self.md5:
            with open(path, "rb") as handle:
                md5 = hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if md5 != self.md5.lower():
                return digest, f"wrong checksum: md5 is {md5}, not {self.md5}"
        return digest, None


LOCK_FILE = Path(__file__).resolve().parents[4] / "config/checksums.json"  # of the repository; no parameter, since where it lies shapes nothing


def locked_sha256(lock_file: Path, name: str) -> str | None:
    """The sha256 recorded for a file name, or None. UserError where the lock file is damaged."""
    entry = _read_lock(Path(lock_file)).get(name)
    return entry["sha256"] if entry else None


def record_sha256(lock_file: Path, name: str, sha256: str, url: str) -> None:
    """Add a file to the lock; an entry already there for the same name must agree."""
    lock_file = Path(lock_file)
    with explain_os_errors(lock_file), _alone(lock_file.parent):
        lock = _read_lock(lock_file)
        if name in lock and lock[name]["sha256"] != sha256:
            raise UserError(f"{lock_file}: {name} was recorded with another sha256 meanwhile; run again")
        lock[name] = {"sha256": sha256, "url": url}
        write_json(lock_file, lock)


def _read_lock(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    lock = read_json(path)
    good = isinstance(lock, dict) and all(
        isinstance(entry, dict) and re.fullmatch("[0-9a-f]{64}", str(entry.get("sha256")))
        for entry in lock.values()
    )
    if not good:
        raise UserError(
            f"{path}: not a checksum lock file; restore it, or delete it to record checksums afresh"
        )
    return lock


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two downloads that end together must not lose each other's entry."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock a folder
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
