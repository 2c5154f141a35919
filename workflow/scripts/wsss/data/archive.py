"""Unpack archives that came over the network: nothing outside the folder, no links, never half done."""

from __future__ import annotations

import glob
import gzip
import io
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from wsss.engine.atomic import explain_os_errors
from wsss.errors import UserError

MAX_BYTES = 20 << 30
MAX_MEMBERS = 500_000
CHUNK = 1 << 20
LARGEST_READ = 4 * CHUNK  # of a tar at a time: more is a header that wants the memory, not a name
# RuntimeError (NotImplementedError with it): what zipfile says of encrypted members and unknown methods
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    """One entry of either archive kind. ``kind``: "file", "folder" or what else it is ("link", "device")."""

    name: str
    kind: str
    size: int
    entry: tarfile.TarInfo | zipfile.ZipInfo


def extract(
    archive: Path,
    target: Path,
    prefixes: tuple[str, ...] = (),
    strip: str = "",
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
) -> Path:
    """Unpack the members below ``prefixes`` (empty: all) into the new folder ``target``; return it.

    ``strip`` is a leading folder dropped from the names. Everything goes into a temporary folder that is
    moved to ``target`` at the end, so a ``target`` that exists is whole and is left alone; a killed run
    starts afresh.

    Raises:
        UserError: not a zip, tar or tar.gz, or cut short; a member that leaves the folder, a wanted link or device,
            a name twice; more than ``max_bytes`` or ``max_members``; nothing below the prefixes.
    """
    archive, target = Path(archive), Path(target)
    if target.is_dir():
        return target
    _remove_leftovers(target)
    temp = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with explain_os_errors(target):
            temp.mkdir(parents=True)
            count = _unpack(archive, temp, prefixes, strip, max_bytes, max_members)
            if not count:
                wanted = ", ".join(prefixes) or "any file"
                raise UserError(f"{archive}: holds nothing below {wanted}; is it the right archive?")
            if not target.is_dir():  # a second process may have been faster
                temp.replace(target)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return target


def _remove_leftovers(target: Path) -> None:
    """Remove the partial folders of processes that live no more."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        pid = folder.name.split(".")[-2]
        if not pid.isdecimal() or int(pid) == os.getpid() or not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _unpack(
    archive: Path, folder: Path, prefixes: tuple[str, ...], strip: str, max_bytes: int, max_members: int
) -> int:
    """Number of files written. Skipped members count too: skipping costs decompression as well."""
    files = members = total = 0
    try:
        for member, opened in _members(archive):
            members, total = members + 1, total + member.size
            _refuse_unsafe_name(archive, member.name)
            if members > max_members or total > max_bytes:
                raise UserError(
                    f"{archive}: more than {max_members} members or {max_bytes / 1e9:.1f} GB unpacked; "
                    "not the expected archive"
                )
            if _below(member.name, prefixes) and member.kind != "folder":
                _refuse_special(archive, member)
                source = opened()
                assert source is not None  # tarfile has bytes of all files
                with source:
                    _write(archive, source, folder / _stripped(member.name, strip), member)
                files += 1
    except FileNotFoundError as error:
        raise UserError(f"{archive}: there is no such archive; download it or give another path") from error
    except _DAMAGE as error:
        raise UserError(
            f"{archive}: damaged or cut short ({error}); delete it and download it again"
        ) from error
    return files


def _members(archive: Path) -> Iterator[tuple[_Member, Callable[[], IO[bytes] | None]]]:
    with open(archive, "rb") as handle:
        head = handle.read(4)
    if head in (b"PK\3\4", b"PK\5\6"):  # is_zipfile also says yes to a tar that holds a zip
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                yield _Member(info.filename, _zip_kind(info), info.file_size, info), partial(zipped.open, info)
    else:
        is_packed = head.startswith(b"\x1f\x8b")
        with (gzip.open(archive) if is_packed else open(archive, "rb")) as raw, tarfile.open(fileobj=_Bounded(raw), mode="r:") as tar:
            for entry in tar:
                kind = "file" if entry.isreg() else "folder" if entry.isdir() else "link or device"
                yield _Member(entry.name, kind, entry.size, entry), partial(tar.extractfile, entry)


class _Bounded(io.RawIOBase):
    """A tar's bytes, few at a time: `tarfile` reads long names and the like whole, of whatever size they say they are."""

    def __init__(self, raw: gzip.GzipFile | io.BufferedReader) -> None:
        self.raw = raw

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        return self.raw.tell()

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.raw.read(size)


def _zip_kind(info: zipfile.ZipInfo) -> str:
    file_type = (
        info.external_attr >> 28
    )  # the upper bits of the Unix mode; 0 where another system wrote the zip
    return "folder" if info.is_dir() else "file" if file_type in (0, 0o10) else "link or device"


def _refuse_unsafe_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    unsafe = (
        not name
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or name[1:2] == ":"
    )
    if unsafe:
        raise UserError(f"{archive}: member {name!r} would leave the folder; do not trust this archive")


def _refuse_special(archive: Path, member: _Member) -> None:
    if member.kind != "file":
        raise UserError(f"{archive}: member {member.name!r} is a {member.kind}; do not trust this archive")


def _below(name: str, prefixes: tuple[str, ...]) -> bool:
    clean = PurePosixPath(name)
    return not prefixes or any(clean.is_relative_to(PurePosixPath(prefix)) for prefix in prefixes)


def _stripped(name: str, strip: str) -> PurePosixPath:
    path, top = PurePosixPath(name), PurePosixPath(strip)
    return path.relative_to(top) if strip and path.is_relative_to(top) and path != top else path


def _write(archive: Path, source: IO[bytes], path: Path, member: _Member) -> None:
    """Copy one member, never more than the size its header announces (the header is what was counted)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    try:
        with open(path, "xb") as handle:
            while chunk := source.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise UserError(
                        f"{archive}: member {member.name!r} is larger than announced; do not trust it"
                    )
                handle.write(chunk)
    except FileExistsError as error:
        raise UserError(
            f"{archive}: member {member.name!r} stands there twice; do not trust this archive"
        ) from error
    if left:
        raise UserError(
            f"{archive}: member {member.name!r} is cut short; delete the archive and download it again"
        )
