"""Machine code of the CRF, made by numba once and kept on disk for later jobs.

Many jobs may start at once on machines that differ. numba's own cache numbers the variants of a function in
one index file, which jobs that write at the same time can mix up. Here each folder holds code for one kind of
processor, one version of everything and one text of these modules, and each function has one variant: jobs at
the same time write the same.
"""

import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.registry import cpu_target

# No `fastmath`: with it the last bits would depend on what is inlined where, which differs between code compiled in one
# go and code of which a part was on disk. It would make nothing faster.
_OPTIONS: dict[str, Any] = {"error_model": "numpy"}


def compiled(function: Callable) -> Callable:
    """A function as numba's machine code, compiled at its first call or read from `cache_folder`."""
    folder = cache_folder()
    if folder is None:
        return numba.njit(**_OPTIONS)(function)
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    finally:
        config.CACHE_DIR = before


def inlined(function: Callable) -> Callable:
    """A function that becomes a part of each that calls it, always: what vector instructions it is made of depends on that."""
    return numba.njit(inline="always", **_OPTIONS)(function)


@cache
def cache_folder() -> Path | None:
    """Where machine code is kept: below NUMBA_CACHE_DIR, else XDG_CACHE_HOME or ~/.cache, else the temporary folder.

    None where none of them can be written: every job then compiles for itself.
    """
    set_by_user = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [Path(set_by_user)] if set_by_user else [Path(home) / "wsss", Path(tempfile.gettempdir()) / f"wsss-{os.getuid()}"]
    return next((folder for place in places if (folder := _own_folder(place / f"lattice-{_stamp()}"))), None)


def _own_folder(folder: Path) -> Path | None:
    """The folder, made where it is missing; None unless it is ours alone to write: what lies in it is run."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        is_ours = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        with tempfile.TemporaryFile(dir=folder):
            return folder if is_ours else None
    except OSError:
        return None


def _stamp() -> str:
    """Of all that machine code depends on."""
    processor = cpu_target.target_context.codegen().magic_tuple()  # kind and features, as numba sees them
    facts = [platform.python_version(), numba.__version__, *map(str, processor)]
    facts += [path.read_text("utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
