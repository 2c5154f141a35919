"""The lines of a run, as text: what a job is called, how long it took, what went wrong in it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SERIOUS = re.compile(r"^\d\d:\d\d:\d\d (WARNING|ERROR) ")
ENTRY = re.compile(r"^\d\d:\d\d:\d\d [A-Z]+ ")
TAIL_LINES = 15  # of a log that names no error: whatever ended the job


def job_name(rule: str, wildcards: Mapping[str, str], *, several: bool = False) -> str:
    """`seeds · amn`: the stage and whose it is; `several`: with the dataset, as the run makes more than one."""
    part = f" {wildcards['shard']}of{wildcards['shards']}" if "shard" in wildcards else ""
    whose = [wildcards[key] for key in ("method", "name") if key in wildcards]
    if "dataset" in wildcards and (several or not whose):
        whose = [wildcards["dataset"], *whose]
    whose = whose or list(wildcards.values())[:1]
    return " · ".join([rule + part, *(["/".join(whose)] if whose else [])])


def duration(seconds: float) -> str:
    """`8 s`, `4 min 32 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def job_line(done: int, total: int, name: str, seconds: float, then: str) -> str:
    """` 3/12 cam · amn  38 s` and, behind it, what comes next."""
    width = len(str(total))
    return f"{done:{width}}/{total} {name:<28} {duration(seconds):>8}{f'   {then}' if then else ''}"


def shortened(names: Iterable[str], most: int = 2) -> str:
    """`a, b and 3 more`."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def entries(path: str | Path, levels: Iterable[str]) -> list[str]:
    """The entries of these levels in a stage's log, lines that belong to them included, without time and level."""
    found: list[str] = []
    taking = False
    for line in _lines(path):
        if ENTRY.match(line):
            serious = SERIOUS.match(line)
            taking = bool(serious) and serious[1] in levels
            line = ENTRY.sub("", line)
        if taking:
            found.append(line)
    return found


def failure(logs: Iterable[str]) -> list[str]:
    """What to show of a job that failed: the errors in its log, or where no log names one the end of the last; then the paths."""
    logs = list(logs)
    errors = next(filter(None, (entries(path, {"ERROR"}) for path in logs)), None)
    shown = errors or next(filter(None, (_lines(path)[-TAIL_LINES:] for path in reversed(logs))), [])
    return [f"  {line}" for line in shown] + ([f"  log: {', '.join(logs)}"] if logs else [])


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
