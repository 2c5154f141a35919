"""Who holds Snakemake's lock: so that a run whose Snakemake was killed goes on without `--unlock`.

Snakemake locks the files it makes by lists in `.snakemake/locks`, and does not say who wrote them. Beside them lies a
file of ours for each Snakemake: machine, process, and what tells that process from a later one of the same number. A lock
is removed only where that process is certainly gone. Where this cannot be known (another machine, a container, a
reboot, no such file) it stays, and Snakemake refuses as ever.
"""

import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsss.engine.atomic import read_json, write_json
from wsss.errors import UserError

PREFIX = "holder."
PATIENCE_SECONDS = 60  # for stages of a killed Snakemake, which save what they have and end


def record(folder: Path, locks: Iterable[str | Path]) -> None:
    """Say that this process holds `locks`, files in `folder`."""
    marks = {Path(path).name: _mark(Path(path)) for path in locks}
    write_json(folder / f"{PREFIX}{os.getpid()}.json", {**identity(os.getpid()), "locks": marks})


def identity(pid: int) -> dict[str, Any]:
    """What a process is known by: machine, boot, namespace, number and start."""
    return {**_here(), "pid": pid, "started": started(pid)}


def started(pid: int) -> str | None:
    """Start of a process in ticks since the boot; None where there is none of that number, or it has ended (a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_gone(holder: dict[str, Any]) -> bool:
    """Whether the process of a holder's file has certainly ended: one of this machine, boot and namespace, and not there."""
    here, pid = _here(), holder.get("pid")
    if None in here.values() or not isinstance(pid, int) or holder.get("started") is None:
        return False
    return all(holder.get(key) == value for key, value in here.items()) and started(pid) != holder["started"]


def dead_holders(folder: Path) -> dict[Path, dict[str, Any]]:
    """Files of holders that are gone, with what they hold; none while any lock in `folder` has a holder that is not known."""
    holders = {path: _read(path) for path in sorted(folder.glob(f"{PREFIX}*.json"))}
    claimed = {name for holder in holders.values() for name in holder["locks"]}
    if {path.name for path in folder.glob("*.lock")} - claimed:
        return {}
    return {path: holder for path, holder in holders.items() if is_gone(holder)}


def release(dead: dict[Path, dict[str, Any]]) -> None:
    """Remove the locks of holders that are gone, and their files."""
    for path, holder in dead.items():
        for name in holder["locks"]:
            (path.parent / name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def wait_for_stages(pids: Iterable[int], variable: str, patience: float = PATIENCE_SECONDS) -> bool:
    """Wait for the stages that killed Snakemakes have started here: they save and end by themselves. False: they have not.

    variable: in the environment of a stage, the number of its Snakemake. Jobs of SLURM are none of these.
    """
    marks = {f"{variable}={pid}".encode() for pid in pids}
    end = time.monotonic() + patience
    while any(_is_stage(entry, marks) for entry in Path("/proc").glob("[0-9]*")):
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def _here() -> dict[str, str | None]:
    """Machine, boot of its kernel, and the namespace that process numbers are of; None where they cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"host": socket.gethostname(), "boot": boot, "namespace": os.readlink("/proc/self/ns/pid")}
    except OSError:
        return {"host": socket.gethostname(), "boot": None, "namespace": None}


def _mark(path: Path) -> str | None:
    """What tells a lock from a later one of the same name."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return f"{stat.st_ino}.{stat.st_mtime_ns}"


def _read(path: Path) -> dict[str, Any]:
    """A holder's file with those of its locks that still stand; one that cannot be read holds nothing."""
    try:
        holder = read_json(path)
    except (OSError, UserError):
        return {"locks": []}
    if not isinstance(holder, dict) or not isinstance(holder.get("locks"), dict):
        return {"locks": []}
    marks = holder["locks"].items()
    return {**holder, "locks": [n for n, mark in marks if Path(n).name == n and mark and _mark(path.parent / n) == mark]}


def _is_stage(entry: Path, marks: set[bytes]) -> bool:
    try:
        words = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    is_slurm = any(word.startswith(b"SLURM_JOB_ID=") for word in words)
    return bool(marks & set(words)) and not is_slurm and started(int(entry.name)) is not None
