"""Write to a temporary name, then `os.replace`: no file is ever half-written under its final name."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wsss.engine.recovery import remedy
from wsss.errors import UserError

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again (finished work is kept)",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder (snakemake --directory)",
    errno.EACCES: "no permission to write here; change the folder's owner or mode",
    errno.EPERM: "no permission to write here; change the folder's owner or mode",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.ENAMETOOLONG: "the file system does not take so long a name; shorten the id, or work in a folder with a shorter path",
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.EEXIST: "a file stands where a folder is needed; move it away",
}


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the OSErrors a user can mend (full, read-only, no permission) into UserErrors naming `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _MENDS:
            raise UserError(f"{path}: cannot write: {_MENDS[error.errno]}") from error
        raise


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and moved to `path`, else removed.

    Raises:
        UserError: the disk is full or read-only, or permission is missing.
    """
    path = Path(path)
    temp = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with explain_os_errors(path):
        _make_folder(path.parent)
        try:
            yield temp
            with open(temp, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temp, path)
        finally:
            temp.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError) as error:
        if link := next((one for one in (folder, *folder.parents) if one.is_symlink() and not one.exists()), None):
            raise UserError(f"{folder}: cannot be made: {link} is a link to {os.readlink(link)}, which is not there") from error
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{folder}: cannot be made; choose another folder") from error
        raise


def drop_temporaries(folder: str | Path, of: Iterable[str] = ("",)) -> None:
    """Remove what killed writers left in `folder`: of the files whose names `of` lists, by default of all.

    A living writer would lose its file, so a folder that several jobs write into needs the names.
    """
    for path in (left for name in of for left in Path(folder).glob(f".{name}*.tmp")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write `data` atomically."""
    with atomic_path(path) as temp:
        temp.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as JSON with sorted keys, so that equal content is equal bytes."""
    write_text(path, json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path, mend: str | None = None) -> Any:
    """Read JSON, with or without a byte order mark.

    Args:
        mend: what to do where the file is damaged or missing, if it is no file of the workflow's own: such a one would
            be deleted and made again, and a user's work with it.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {mend or remedy(path, 'restore it')}") from error
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read it; change its mode or owner") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, and a JSON file is wanted; give the file in it, or move the folder away") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, brackets without end
        again = mend or remedy(path, "delete it and run the same command again")
        raise UserError(f"{path}: not valid JSON ({error}); {again}") from error
