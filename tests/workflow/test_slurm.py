"""The SLURM profile on a real SLURM of one node: three runs at once, and what accounting says about them afterwards.

- `chain`: cam and full, Snakemake killed with SIGKILL while a network trains, a job sent back into the queue later;
- `late`: a network whose first job runs into its time limit;
- `failing`: a job that fails twice.

Needs root and Debian's packages; `.ci/run` installs them. The tests below read what the runs left.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import GPU_RULES, artefacts, copy_project, edit, environment, own_photos, shorten
from slurm_cluster import Cluster, why_not

pytestmark = pytest.mark.slurm

PROFILE = ("--workflow-profile", "profiles/slurm")
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--slurm-no-account", "--latency-wait", "10")
CHAIN = [f"results/demo_tiny/{name}" for name in ("cam/miou.txt", "cam/ir_labels/index.json", "full/miou.txt")]
MODEL = "results/demo_tiny/cam/classifier/model.safetensors"
PATIENCE = float(os.environ.get("WSSS_SLURM_PATIENCE", 900))  # seconds for one thing to happen, on a busy machine


@pytest.fixture(scope="module")
def cluster():
    if reason := why_not():
        pytest.skip(reason)
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="wsss-slurm-", dir=memory if memory.is_dir() else None)
    try:
        with ExitStack() as stack:
            yield started(stack, Cluster(Path(folder)))
            for run in Run.started:
                run.kill()
    finally:
        subprocess.run(["rm", "-r", folder], check=True)


def started(stack, cluster):
    """Daemons that do not come up are this machine's matter, not the workflow's; why is told in full."""
    try:
        return stack.enter_context(cluster)
    except RuntimeError as error:
        pytest.skip(f"no SLURM could be started: {error}")


# --- driving the runs ----------------------------------------------------------------------------------


def small_project(folder):
    """demo_tiny, few steps a network, but enough to be met while it trains; a worker, which SIGTERM reaches too."""
    project = shorten(copy_project(folder))
    runtime = {"device": "cpu", "checkpoint_seconds": 0, "workers": 1}
    edit(project / "config/config.yaml", lambda c: c["runtime"].update(runtime))
    for stage in ("classifier", "segmentation"):
        edit(project / "config/presets/tiny.yaml", lambda c, stage=stage: c["common"][stage].update(steps=16))
    return project


class Run:
    """A Snakemake of its own session, its words in a file."""

    started: list["Run"] = []

    def __init__(self, project, *arguments):
        self.project, self.words = project, project / "words.txt"
        command = [sys.executable, "-m", "snakemake", *arguments]
        with self.words.open("w") as out:
            self.process = subprocess.Popen(
                command,
                cwd=project,
                env=environment(),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.started.append(self)

    def end(self):
        """Wait for it; returns its status and words."""
        try:
            return SimpleNamespace(status=self.process.wait(2 * PATIENCE), words=self.words.read_text())
        finally:
            self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def until(self, happened, what):
        deadline = time.monotonic() + PATIENCE
        while not (found := happened()):
            assert self.process.poll() is None, self.words.read_text()
            assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}\n{self.words.read_text()}"
            time.sleep(0.02)
        return found

    def halt(self, rule, log):
        """SIGSTOP the script of a rule as soon as it trains: time goes by and nothing is done, on any machine."""
        path = self.project / "logs/demo_tiny" / log
        self.until(lambda: path.is_file() and "loss" in path.read_text(), f"{rule} trains")
        pid = self.until(lambda: script_process(self.project, rule), f"the process of {rule}")
        os.kill(pid, signal.SIGSTOP)
        return path


def script_process(project, rule):
    """Process id of the script of `rule` in `project`, None where there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if len(words) > 1 and words[1].startswith(f"{project}/.snakemake/scripts/") and words[1].endswith(f".{rule}.py"):
            return int(folder.name)
    return None


def job_of(cluster, project, rule):
    """Number of the running job of a rule."""
    running = cluster.queued(project, "RUNNING")
    return next(number for number, comment in running.items() if comment.startswith(f"rule_{rule}_"))


def run_chain(cluster, project):
    """Kill Snakemake while the classifier trains, start it again, send a later job back into the queue."""
    first = Run(project, *CHAIN, *PROFILE, *QUICK)
    first.halt("classifier", "cam/classifier.log")
    orphan = job_of(cluster, project, "classifier")
    first.kill()
    time.sleep(1)
    survived = orphan in cluster.queued(project, "RUNNING")
    second = Run(project, *CHAIN, *PROFILE, *QUICK)
    log = second.halt("segmentation", "cam/segmentation.log")
    requeued = job_of(cluster, project, "segmentation")
    subprocess.run(["scontrol", "requeue", requeued], check=True)
    second.until(lambda: requeued in cluster.queued(project, "PENDING"), "the job is back in the queue")
    stopped = log.read_text()
    subprocess.run(["scontrol", "update", f"jobid={requeued}", "StartTime=now"], check=True)  # else in two minutes
    return SimpleNamespace(
        orphan=orphan, survived=survived, requeued=requeued, stopped=stopped, end=second.end()
    )


def run_late(project):
    """One minute for the first attempt, in which the classifier is halted, five for the second, nine for the third."""
    limit = ("--set-resources", "classifier:runtime=4 * attempt - 3", "classifier:gpu=0", "classifier:mem_mb=2000")
    run = Run(project, MODEL, *PROFILE, *QUICK, *limit)
    log = run.halt("classifier", "cam/classifier.log")
    stopped = run.until(lambda: "stopped by SIGTERM" in log.read_text() and log.read_text(), "the time limit")
    return SimpleNamespace(stopped=stopped, end=run.end())


def run_failing(project):
    """A photo that is cut short ends the job `dataset`, at the first attempt and at the second."""
    photo = own_photos(project)
    photo.write_bytes(photo.read_bytes()[:100])
    return Run(project, "results/own/manifest.csv", *PROFILE, *QUICK, "--retries", "1").end()


@pytest.fixture(scope="module")
def runs(cluster, tmp_path_factory):
    """All runs at once, with an undisturbed local one to compare with."""
    base = tmp_path_factory.mktemp("slurm")
    projects = {name: small_project(base / name) for name in ("local", "chain", "late", "failing")}
    local = Run(projects["local"], *CHAIN, "--cores", "2")
    made, errors = {}, []

    def drive(name, function, *arguments):
        try:
            made[name] = function(*arguments)
        except BaseException as error:  # shown by the fixture, in the main thread
            errors.append(error)

    drives = [
        threading.Thread(target=drive, args=arguments, daemon=True)
        for arguments in (
            ("chain", run_chain, cluster, projects["chain"]),
            ("late", run_late, projects["late"]),
            ("failing", run_failing, projects["failing"]),
        )
    ]
    for thread in drives:
        thread.start()
    for thread in drives:
        thread.join()
    assert local.end().status == 0
    if errors:
        raise errors[0]
    return SimpleNamespace(projects=projects, **made)


@pytest.fixture(scope="module")
def jobs(cluster, runs):
    """Rows of slurmdbd by the run they belong to; `rule` is what a job ran."""
    fields = ("JobIDRaw", "Comment", "WorkDir", "State", "AllocTRES", "ReqMem", "Timelimit", "Submit", "Start", "End")
    rows = {name: [] for name in runs.projects}
    for row in cluster.accounted(*fields):
        row["rule"] = re.sub(r"^rule_|_wildcards_.*", "", row["Comment"])
        rows[Path(row["WorkDir"]).name].append(row)
    return rows


# --- what they left ------------------------------------------------------------------------------------


def gpus(row):
    return int((re.search(r"gres/gpu=(\d+)", row["AllocTRES"]) or [0, 0])[1])


def test_the_chain_ends_with_the_bytes_of_a_local_run(runs):
    assert runs.chain.end.status == 0, runs.chain.end.words
    assert artefacts(runs.projects["chain"] / "results") == artefacts(runs.projects["local"] / "results")


def test_a_gpu_for_gpu_rules_and_for_no_others(runs, jobs):
    given = {row["rule"]: gpus(row) for row in jobs["chain"] if row["AllocTRES"]}
    assert {"dataset", "seeds", "ir_labels", "evaluation", "classifier", "segmentation", "predictions"} <= set(given)
    expected = {rule: int(rule in GPU_RULES) for rule in given}
    assert given == {**expected, "pseudo_masks": 0}  # cam's are the seeds; only a walk has use for a GPU


def test_gpu_jobs_never_overlap(jobs):
    rows = sorted((row for row in jobs["chain"] if gpus(row)), key=lambda row: row["Start"])
    assert len(rows) >= 6
    for before, after in zip(rows, rows[1:], strict=False):
        assert before["End"] <= after["Start"]
    pairs = zip(rows, rows[1:], strict=False)
    assert any(after["Submit"] < before["End"] for before, after in pairs), "no two were ready at a time: no proof"


def test_a_killed_snakemake_goes_on(runs, jobs):
    """The same command goes on: its lock is no obstacle, and the job that the killed one left ends before its successor starts."""
    assert runs.chain.survived
    ended = re.search(r"ended \d+ SLURM jobs of a Snakemake that was killed: ([\d, ]+)", runs.chain.end.words)
    assert ended and runs.chain.orphan in ended[1].split(", ")
    left, successor = [row for row in jobs["chain"] if row["rule"] == "classifier"]
    assert left["JobIDRaw"] == runs.chain.orphan and left["State"].startswith("CANCELLED")
    assert left["End"] <= successor["Submit"] and successor["State"] == "COMPLETED"
    assert from_step(runs.projects["chain"], "cam/classifier.log") > 0


def test_a_job_sent_back_into_the_queue_goes_on(runs, jobs):
    assert "stopped by SIGTERM" in runs.chain.stopped
    states = [row["State"] for row in jobs["chain"] if row["JobIDRaw"] == runs.chain.requeued]
    assert states[-1] == "COMPLETED"
    assert from_step(runs.projects["chain"], "cam/segmentation.log") > 0


def test_over_the_time_limit_and_back(runs, jobs):
    assert runs.late.end.status == 0, runs.late.end.words
    rows = [row for row in jobs["late"] if row["rule"] == "classifier"]
    states = [row["State"] for row in rows]
    assert len(states) > 1 and states == ["TIMEOUT"] * (len(states) - 1) + ["COMPLETED"]  # a busy machine may need a third
    assert [row["Timelimit"] for row in rows] == ["00:01:00", "00:05:00", "00:09:00"][: len(rows)]
    assert from_step(runs.projects["late"], "cam/classifier.log") > 0
    whole, late = (runs.projects[name] / MODEL for name in ("local", "late"))
    assert late.read_bytes() == whole.read_bytes()


def test_an_error_reaches_the_user_with_its_logs(runs):
    words = runs.failing.words
    assert runs.failing.status != 0
    assert "p0.png" in words and "SLURM status is: 'FAILED'" in words
    assert "logs/own/dataset.log" in words
    logs = re.findall(r"logs/slurm/rule_dataset/own/\d+\.log", words)
    assert logs and all((runs.projects["failing"] / log).is_file() for log in logs)


def test_another_attempt_gets_more_memory_and_time(jobs):
    rows = jobs["failing"]
    assert [row["State"] for row in rows] == ["FAILED", "FAILED"]
    assert [row["ReqMem"] for row in rows] == ["4000M", "8000M"]
    assert [row["Timelimit"] for row in rows] == ["01:00:00", "02:00:00"]


def from_step(project, log):
    """Where the last run of a training began."""
    return int(re.search(r"from step (\d+)", (project / "logs/demo_tiny" / log).read_text())[1])
