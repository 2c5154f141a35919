"""How far a running stage is, from its log, and the bar that shows it."""

import re
from dataclasses import dataclass
from pathlib import Path

from wsss.console.lines import duration

# "step 48/240" of a training, "cam: 16 of 160" of a stage over images, "12.0 of 2000.1 MB" of a download
COUNT = re.compile(r"\bstep (\d+)/(\d+)|(\d+(?:\.\d+)?) of (\d+(?:\.\d+)?)(?: MB)?$", re.M)
TAIL_BYTES = 4096
CELLS = 20
PATIENCE_SECONDS = 10  # shorter jobs show no bar


@dataclass
class Running:
    """A job that runs: its name, when it began (monotonic and wall clock), and its log."""

    name: str
    begun: float
    begun_wall: float
    log: str | None = None

    def share(self) -> float | None:
        """How much of it is done, 0 to 1, as far as its log says."""
        if self.log is None:
            return None
        try:
            path = Path(self.log)
            if path.stat().st_mtime < self.begun_wall:
                return None  # another run's
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
                return share_in(file.read().decode("utf-8", errors="replace"))
        except OSError:
            return None


def share_in(text: str) -> float | None:
    """The last count in a piece of log as a share, 0 to 1; None where there is none."""
    found = COUNT.findall(text)
    if not found:
        return None
    done, total = (float(part) for part in found[-1] if part)
    return min(done / total, 1.0) if total else None


def bar(job: Running, now: float, more: int, width: int) -> str:
    """One line for a job, `more` others running beside it, at most `width` characters."""
    share, seconds = job.share(), now - job.begun
    beside = f"   and {more} more" if more else ""
    if share is None:
        return f"{job.name}   {duration(seconds)}{beside}"[:width]
    full = int(share * CELLS)
    left = f", {duration(seconds * (1 - share) / share)} left" if share else ""
    return f"{job.name}   {'█' * full}{'░' * (CELLS - full)} {share:4.0%}   {duration(seconds)}{left}{beside}"[:width]
