"""Kill a run again and again at random moments: it must end with every byte that an undisturbed run ends with.

python tests/chaos.py --kills 30 --seed 0 [--folder DIR]

The run is demo_tiny by AMN, from nothing to miou.txt. Each kill is a SIGKILL, aimed at one job of the run:

- who: `all` (Snakemake and all it started, as a machine that stops), `snakemake` (it alone), `stage` (the job alone);
- when: while the job's Python starts, while it works, as soon as it has left something to go on from, or when it has
  just ended and Snakemake takes note of that.

After each, what a user would type: the same command again (the lock of a Snakemake that was killed is no obstacle).
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from helpers import copy_project, edit, environment, snakemake
from wsss.digest import sha256_file
from wsss.engine.atomic import read_json
from wsss.recipes.config import SECTIONS

TARGET = "results/demo_tiny/amn/miou.txt"
JOBS = ("dataset", *(f"cam/{stage}" for stage in SECTIONS[:4]), *(f"amn/{stage}" for stage in SECTIONS))
STATELESS = ("dataset", "amn/evaluation")  # they start over
WHO = ("all", "all", "snakemake", "stage")
WHEN = ("start", "work", "work", "saved", "saved", "ended")
PATIENCE = 300  # seconds for a run to come to the next job


@dataclass(frozen=True)
class Kill:
    """One kill to come: of `who` in `job`, `share` (0 to 1) of the way through the part called `when`."""

    job: str
    who: str
    when: str
    share: float


@dataclass
class Outcome:
    """What came of the kills; `differences` names artefacts that are missing, too many, or of other bytes."""

    hits: list[Kill] = field(default_factory=list)
    missed: int = 0  # no job was left for them
    resumed: int = 0  # the killed job, started again, went on from what was there
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)


def plan(kills: int, seed: int) -> list[Kill]:
    """`kills` of them in the order of the jobs: each job as often as any other, or once more."""
    rng = random.Random(seed)
    rounds, rest = divmod(kills, len(JOBS))
    counts = Counter(dict.fromkeys(JOBS, rounds)) + Counter(rng.sample(JOBS, rest))
    kills = []
    for job in (name for name in JOBS for _ in range(counts[name])):
        who, when, share = rng.choice(WHO), rng.choice(WHEN), rng.random()
        kills.append(Kill(job, who, "work" if job in STATELESS and when == "saved" else when, share))
    return kills


def artefacts(project: Path) -> dict[str, str]:
    """File -> sha256 of all that a run leaves but how it was run: run.json, logs and benchmarks."""
    places = (project / "results", project / "resources")
    files = (path for place in places for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(project)): sha256_file(path) for path in files if path.name != "run.json"}


def durations(project: Path) -> dict[str, tuple[float, float]]:
    """Job -> seconds until its stage began, and of the stage itself, in a run that has finished."""
    parts = {}
    for job in JOBS:
        lines = (project / f"logs/demo_tiny/{job}.tsv").read_text().splitlines()
        whole = float(lines[1].split("\t")[0])
        inside = read_json(_record(project, job))["wall_seconds"]
        parts[job] = max(whole - inside, 0.0), inside
    return parts


def _record(project: Path, job: str) -> Path:
    folder = project / "results/demo_tiny"
    if job == "dataset":
        return folder / "run.json"
    return folder / job.removesuffix("/evaluation") / "run.json"


class Run:
    """A Snakemake with a session of its own."""

    def __init__(self, project: Path) -> None:
        self.project = project
        command = [sys.executable, "-m", "snakemake", "--cores", "2", TARGET]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(
            command, cwd=project, env=environment(), start_new_session=True, **quiet
        )

    def stage(self, jobs: Sequence[str]) -> tuple[str, int] | None:
        """Job and process of a script that runs; the script that Snakemake writes for a job names its log."""
        for task in Path(f"/proc/{self.process.pid}/task").glob("*"):
            for pid in _read(task / "children").split():
                words = _read(Path(f"/proc/{pid}/cmdline")).split("\0")
                scripts = [w for w in words if "/.snakemake/scripts/" in w]
                content = _read(Path(scripts[0])) if scripts else ""
                if found := [job for job in jobs if f"logs/demo_tiny/{job}.log" in content]:
                    return found[0], int(pid)
        return None

    def wait_for(self, ready, seconds: float = PATIENCE):
        """The first true answer of `ready()`, or None where the run ends or `seconds` pass."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if answer := ready():
                return answer
            time.sleep(0.005)
        return None

    def kill(self, who: str, stage: int) -> bool:
        """Send SIGKILL; whether there was somebody to get it. Returns when Snakemake is gone."""
        if self.process.poll() is not None:
            return False
        if who == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif who == "snakemake":
            self.process.kill()
        else:
            try:
                os.kill(stage, signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        return True


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def strike(run: Run, kill: Kill, durations: dict[str, tuple[float, float]]) -> Kill | None:
    """Wait for the moment, then kill the job, or one after it where it is done already; what was hit, None where nothing."""
    found = run.wait_for(lambda: run.stage(JOBS[JOBS.index(kill.job) :]))
    if found is None:
        return None
    job, stage = found
    kill, begun = replace(kill, job=job), time.time()
    log = run.project / f"logs/demo_tiny/{kill.job}.log"
    alive = f"/proc/{stage}/exe"  # gone for a zombie too
    starting, working = durations[job]

    def over():
        return not os.path.exists(alive)

    def saved():
        return over() or left_over(run.project, kill.job)

    def works():
        return over() or (log.exists() and log.stat().st_mtime >= begun)

    if kill.when == "start":
        run.wait_for(over, kill.share * starting)
    elif kill.when == "work":
        run.wait_for(works)
        run.wait_for(over, kill.share * working)
    elif kill.when == "saved":
        run.wait_for(saved)
        run.wait_for(over, kill.share * working / 2)
    else:
        run.wait_for(over)
        time.sleep(0.1 * kill.share)
    if over() and kill.who == "stage":
        kill = replace(kill, who="all")
    return kill if run.kill(kill.who, stage) else None


def left_over(project: Path, job: str) -> bool:
    """Whether the job has left something to go on from: a checkpoint, or images in its journal."""
    folder = project / "results/demo_tiny" / job
    return (folder / "train_state.pt").exists() or _read(folder / "journal.jsonl").count("\n") > 1


def went_on(project: Path, interrupted: tuple[str, float] | None) -> bool:
    """Whether the job that was interrupted has begun again since, and from something."""
    if interrupted is None:
        return False
    log = project / f"logs/demo_tiny/{interrupted[0]}.log"
    words = _read(log) if log.exists() and log.stat().st_mtime > interrupted[1] else ""
    return bool(re.search(r"from step [1-9]| [1-9]\d* already done|had finished", words))


def unlock(project: Path) -> None:
    """What a user does where the kill fell between Snakemake's lock and the note of who holds it: the command says so."""
    locks = project / ".snakemake/locks"
    if any(locks.glob("*.lock")) and not any(locks.glob("holder.*")):
        done = snakemake(project, "--unlock", TARGET)
        assert done.returncode == 0, done.stdout[-3000:]


def torment(project: Path, kills: list[Kill], parts: dict[str, tuple[float, float]], whole: dict[str, str]) -> Outcome:
    """Run the chain in `project`, killed as planned, to its end; compare what it leaves with `whole`.

    Raises:
        AssertionError: a command that a user would give ended in an error.
    """
    outcome, begun, interrupted = Outcome(), time.monotonic(), None
    for number, planned in enumerate(kills):
        run = Run(project)
        kill = strike(run, planned, parts)
        outcome.resumed += went_on(project, interrupted)
        if kill is None:  # it has come to its end
            run.process.wait(PATIENCE)
            outcome.missed, interrupted = len(kills) - number, None
            break
        outcome.hits.append(kill)
        interrupted = (kill.job, time.time()) if left_over(project, kill.job) else None
        unlock(project)
    done = snakemake(project, "--cores", "2", TARGET, timeout=1800)
    assert done.returncode == 0, done.stdout[-5000:]
    outcome.resumed += went_on(project, interrupted)
    outcome.seconds = time.monotonic() - begun
    now = artefacts(project)
    outcome.differences = sorted(name for name in whole.keys() | now.keys() if whole.get(name) != now.get(name))
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder, removed at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos") as place:
        project = copy_project((options.folder or Path(place)) / "clone")
        raise SystemExit(report(project, plan(options.kills, options.seed)))


def report(project: Path, kills: list[Kill]) -> int:
    """Run undisturbed, run killed, print what came of it; the exit status."""
    edit(project / "config/config.yaml", lambda c: (c["runtime"].update(checkpoint_seconds=0, workers=1), c["compute"].update(cpu_threads=1)))
    begun = time.monotonic()
    done = snakemake(project, "--cores", "2", TARGET, timeout=1800)
    assert done.returncode == 0, done.stdout[-5000:]
    print(f"undisturbed: {time.monotonic() - begun:.0f} s", flush=True)
    whole, parts = artefacts(project), durations(project)
    for name in ("results", "logs", ".snakemake"):
        shutil.rmtree(project / name)
    outcome = torment(project, kills, parts, whole)
    print(f"{len(outcome.hits)} kills: {outcome.seconds:.0f} s; {outcome.missed} found no job left")
    for part in ("who", "when", "job"):
        print(f"{part}: {dict(Counter(getattr(kill, part) for kill in outcome.hits))}")
    print(f"went on from checkpoint or journal: {outcome.resumed} times")
    print(f"artefacts: {len(whole)}, different: {len(outcome.differences)}", *outcome.differences, sep="\n  ")
    unhurt = set(JOBS) - {kill.job for kill in outcome.hits}
    return bool(outcome.differences or (unhurt and len(kills) >= len(JOBS)))


if __name__ == "__main__":
    main()
