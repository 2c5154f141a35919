"""What a run shows: one line a job, what went wrong, how far a stage is; and who holds the lock."""

import io
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import LIBRARY, copy_project, edit, environment, own_photos
from wsss.console import holder, lines, progress
from wsss.console.handler import Console

LOG = """\
10:00:00 INFO classifier: begins
10:00:01 WARNING of boat there is one photo only
  and a second line of it
10:00:02 INFO step 40/160  loss 0.5
10:00:03 ERROR classifier: bad entries
  a.png: no image
"""


# --- lines


@pytest.mark.parametrize(
    "rule, wildcards, several, name",
    [
        ("cam", {"dataset": "demo", "method": "amn"}, False, "cam · amn"),
        ("cam", {"dataset": "demo", "method": "amn"}, True, "cam · demo/amn"),
        ("cam", {"dataset": "demo", "method": "amn", "shard": "2", "shards": "4"}, False, "cam 2of4 · amn"),
        ("predict", {"dataset": "d", "method": "amn", "name": "trip"}, False, "predict · amn/trip"),
        ("report", {"dataset": "demo"}, False, "report · demo"),
        ("download", {"archive": "voc12"}, False, "download · voc12"),
        ("merge", {}, False, "merge"),
    ],
)
def test_a_job_is_called_by_its_stage_and_method(rule, wildcards, several, name):
    assert lines.job_name(rule, wildcards, several=several) == name


@pytest.mark.parametrize("seconds, words", [(0.4, "0 s"), (59.6, "1 min 0 s"), (272, "4 min 32 s"), (7530, "2 h 5 min")])
def test_durations_in_words(seconds, words):
    assert lines.duration(seconds) == words


def test_of_a_log_come_the_errors_or_its_end(tmp_path):
    (tmp_path / "a.log").write_text(LOG)
    (tmp_path / "b.log").write_text("Killed\n")
    a, b = str(tmp_path / "a.log"), str(tmp_path / "b.log")
    assert lines.entries(a, {"WARNING"}) == ["of boat there is one photo only", "  and a second line of it"]
    error = ["  classifier: bad entries", "    a.png: no image"]
    assert lines.failure([a, b]) == [*error, f"  log: {a}, {b}"]
    assert lines.failure([str(tmp_path / "none.log"), b])[0] == "  Killed"
    assert lines.failure([]) == []


# --- how far a stage is


@pytest.mark.parametrize(
    "text, share",
    [(LOG, 0.25), ("10:00:00 INFO cam: 16 of 160\n", 0.1), ("a.tar: 12.0 of 24.0 MB\n", 0.5), ("begins\n", None), ("0 of 0\n", None)],
)
def test_the_last_count_of_a_log_is_the_progress(text, share):
    assert progress.share_in(text) == share


def test_a_log_of_an_earlier_run_says_nothing(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("step 5/10\n")
    now = time.time()
    assert progress.Running("cam · amn", 0, now - 60, str(log)).share() == 0.5
    assert progress.Running("cam · amn", 0, now + 60, str(log)).share() is None


def test_the_bar_shows_share_and_time_left(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("step 5/20\n")
    text = progress.bar(progress.Running("cam · amn", 100, 0, str(log)), 130, 1, 200)
    assert text == "cam · amn   █████░░░░░░░░░░░░░░░  25%   30 s, 1 min 30 s left   and 1 more"
    assert len(progress.bar(progress.Running("cam · amn", 100, 0, str(log)), 130, 1, 20)) == 20


# --- the handler


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.msg)


@pytest.fixture
def told():
    """A console that writes into `stream`, and what it leaves to the handler before it."""
    stream, before = io.StringIO(), Kept()
    console = Console(before, lambda: "results/x/report/index.html", stream)
    yield SimpleNamespace(console=console, stream=stream, before=before)
    console.close()


def tell(console, msg=None, level=logging.INFO, **facts):
    record = logging.LogRecord("snakemake", level, "", 0, msg, None, None)
    vars(record).update(facts)
    console.handle(record)


def begin(console, total=3):
    tell(console, "Workflow has started!", event="workflow_started")
    tell(console, "Job stats", event="run_info", stats={"total": total + 1, "all": 1})


def start_job(console, number, rule, log=(), **wildcards):
    tell(console, event="job_info", jobid=number, rule_name=rule, wildcards=wildcards, log=list(log))


def end_job(console, number):
    tell(console, event="job_finished", job_id=number)


def test_one_line_a_job_with_what_comes_next(told, tmp_path):
    (tmp_path / "cam.log").write_text("10:00:01 WARNING of boat there is one photo only\n10:00:02 INFO done\n")
    begin(told.console)
    start_job(told.console, 1, "cam", [str(tmp_path / "cam.log")], dataset="x", method="amn")
    end_job(told.console, 1)
    tell(told.console, "Select jobs to execute...")
    start_job(told.console, 2, "seeds", dataset="x", method="amn")
    start_job(told.console, 3, "panels", dataset="x", method="full")
    end_job(told.console, 2)
    end_job(told.console, 3)
    start_job(told.console, 4, "all")
    end_job(told.console, 4)
    told.console.succeeded()
    found = [" ".join(line.split()) for line in told.stream.getvalue().splitlines()]
    assert found == [
        "3 jobs; the log of each is in logs/",
        "cam · amn: of boat there is one photo only",
        "1/3 cam · amn 0 s next: seeds · amn, panels · full",
        "2/3 seeds · amn 0 s running: panels · full",
        "3/3 panels · full 0 s",
        "done in 0 s: results/x/report/index.html",
    ]
    assert told.before.texts == []


def test_a_failure_is_told_once_with_its_log(told, tmp_path):
    log = tmp_path / "classifier.log"
    log.write_text(LOG)
    begin(told.console)
    start_job(told.console, 1, "classifier", [str(log)], dataset="x", method="cam")
    tell(told.console, "RuleException:\nCalledProcessError in file a.smk, line 3:", logging.ERROR, event="error")
    tell(told.console, event="job_error", jobid=1, rule_msg=None, log=[str(log)])
    tell(told.console, "Exiting because a job execution failed. Look above", logging.ERROR)
    told.console.went_wrong()
    assert told.stream.getvalue().splitlines()[1:] == [
        "classifier · cam failed after 0 s",
        "  classifier: bad entries",
        "    a.png: no image",
        f"  log: {log}",
        "1 job failed, 0 of 3 done; the same command goes on from there",
    ]
    assert told.before.texts == []


def test_what_is_no_jobs_stays_snakemakes(told):
    tell(told.console, "Congratulations, your workflow is in a good condition!")
    tell(told.console, "Config file a is extended by additional config")
    begin(told.console)
    tell(told.console, "Using shell: /bin/bash")
    tell(told.console, "WorkflowError:\nno such method", logging.ERROR, event="error")
    tell(told.console, "Will exit after finishing currently running jobs (scheduler).")
    tell(told.console, "Will exit after finishing currently running jobs (scheduler).")
    assert [text.split()[0] for text in told.before.texts] == ["Congratulations,", "WorkflowError:", "Will"]


def test_a_bar_on_a_terminal_for_long_stages_only(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    monkeypatch.setattr(Terminal, "fileno", lambda self: 1)
    log = tmp_path / "a.log"
    log.write_text("step 5/10\n")
    stream = Terminal()
    console = Console(Kept(), lambda: "", stream)
    console.total = 2
    console.running = {1: progress.Running("cam · amn", time.monotonic() - 9, 0, str(log))}
    console._draw()
    assert stream.getvalue() == ""
    console.running[1].begun -= 2
    console._draw()
    assert "cam · amn   ██████████░░░░░░░░░░  50%" in stream.getvalue()
    console.close()
    assert stream.getvalue().endswith("\r\x1b[K")


# --- who holds the lock


@pytest.fixture
def dead():
    """The number of a process that has ended, and its start."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    facts = holder.identity(process.pid)
    process.communicate(b"\n")
    return facts


def hold(folder, facts, name="0.output.lock"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("results/a\n")
    marks = {name: holder._mark(folder / name)}
    holder.write_json(folder / f"holder.{facts['pid']}.json", {**facts, "locks": marks})


def test_the_lock_of_a_process_that_is_gone_is_released(tmp_path, dead):
    hold(tmp_path, dead)
    found = holder.dead_holders(tmp_path)
    assert [facts["pid"] for facts in found.values()] == [dead["pid"]]
    holder.release(found)
    assert list(tmp_path.iterdir()) == []


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    hold(tmp_path, {**holder.identity(os.getpid()), "started": "1"})
    assert holder.dead_holders(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"host": "elsewhere"}, {"boot": "another"}, {"namespace": "pid:[1]"}, {"started": None}, {"pid": "12"}, {"boot": None}],
    ids=str,
)
def test_in_doubt_the_lock_stays(tmp_path, dead, change):
    hold(tmp_path, {**dead, **change})
    assert holder.dead_holders(tmp_path) == {}


def test_the_lock_of_a_living_process_stays_beside_a_dead_ones(tmp_path, dead):
    hold(tmp_path, dead)
    (tmp_path / "1.output.lock").write_text("results/b\n")
    assert holder.dead_holders(tmp_path) == {}, "a lock of nobody knows whom"
    holder.record(tmp_path, [tmp_path / "1.output.lock"])
    holder.release(holder.dead_holders(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.output.lock", f"holder.{os.getpid()}.json"]


def test_a_lock_made_since_under_the_same_name_is_not_the_dead_ones(tmp_path, dead):
    hold(tmp_path, dead)
    (tmp_path / "0.output.lock").unlink()
    time.sleep(0.01)
    (tmp_path / "0.output.lock").write_text("results/a\n")
    assert holder.dead_holders(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"locks": []}', '{"locks": {"../x": "1"}}', "{"])
def test_a_damaged_note_holds_nothing(tmp_path, text):
    (tmp_path / "holder.1.json").write_text(text)
    assert all(not facts["locks"] for facts in holder.dead_holders(tmp_path).values())
    (tmp_path / "0.output.lock").write_text("a\n")
    assert holder.dead_holders(tmp_path) == {}


def test_stages_of_the_killed_one_are_waited_for():
    mark = f"{socket.gethostname()}{os.getpid()}"
    stage = subprocess.Popen(["sleep", "30"], env={"WSSS_TEST_MARK": mark})
    try:
        while mark not in Path(f"/proc/{stage.pid}/environ").read_text():  # for a moment it is neither ours nor the new one
            time.sleep(0.01)
        assert not holder.wait_for_stages([mark], "WSSS_TEST_MARK", patience=0.3)
    finally:
        stage.kill()
    stage.wait()
    assert holder.wait_for_stages([mark], "WSSS_TEST_MARK", patience=0.3)


# --- with Snakemake


def plain():
    return {key: value for key, value in environment().items() if key != "WSSS_CONSOLE"}


def run(project, *words):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *words]
    return subprocess.run(command, cwd=project, env=plain(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("console") / "clone")


def test_after_a_kill_the_same_command_goes_on(project):
    target, dataset = "results/demo_tiny/manifest.csv", project / "config/datasets/demo_tiny.yaml"
    edit(dataset, lambda c: c["params"].update(train=20000))  # for minutes
    locks, command = project / ".snakemake/locks", [sys.executable, "-m", "snakemake", "--cores", "1", target]
    first = subprocess.Popen(command, cwd=project, env=plain(), start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while not (project / "logs/demo_tiny/dataset.log").exists():
            assert first.poll() is None
            time.sleep(0.1)
        refused = run(project, target)
        assert refused.returncode == 1 and "Directory cannot be locked" in refused.stdout
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert list(locks.glob("holder.*"))
    edit(dataset, lambda c: c["params"].update(train=4, val=2))
    assert "was killed" not in run(project, "-n", target).stdout, "a dry run changes nothing"
    done = run(project, target)
    assert done.returncode == 0 and f"process {first.pid}) was killed: this run goes on" in done.stdout, done.stdout
    assert not locks.exists()
    assert [line.split()[:4] for line in done.stdout.splitlines()[-2:]] == [["1/1", "dataset", "·", "demo_tiny"], ["done", "in", *done.stdout.split()[-3:-1]]]
    assert done.stdout.splitlines()[-1].endswith(f": {target}")


RULES = """
import sys
sys.path.insert(0, {library!r})
from wsss.dag.failures import forget_failures
forget_failures()
rule last:
    input: "first.txt"
    output: "last.txt"
    run: open(output[0], "w").write("done")
rule first:
    output: "first.txt"
    params: made=config["made"]
    run: open(output[0], "w").write({{"well": "done"}}[params.made])
"""


def test_after_a_failure_the_same_command_goes_on(tmp_path):
    """Though later files stand from a former run, and nobody else needs the one that is missing."""
    (tmp_path / "Snakefile").write_text(RULES.format(library=str(LIBRARY)))
    assert run(tmp_path, "last.txt", "--config", "made=well").returncode == 0
    failed = run(tmp_path, "last.txt", "--config", "made=badly")
    assert failed.returncode == 1
    assert not (tmp_path / "first.txt").exists() and (tmp_path / "last.txt").exists()
    again = run(tmp_path, "-n", "last.txt", "--config", "made=badly").stdout
    assert "Nothing to be done" not in again and "rule first" in again, again


def test_a_failed_stage_is_told_in_six_lines(project):
    own_photos(project).write_bytes(b"no image")
    done = run(project, "results/own/manifest.csv")
    assert done.returncode == 1
    assert done.stdout.count("not a readable image") == 1 and len(done.stdout.splitlines()) == 7, done.stdout
    assert "log: logs/own/dataset.log" in done.stdout
    shutil.rmtree(project / "own")


def test_a_file_where_results_belong_is_one_line(tmp_path):
    home = copy_project(tmp_path / "clone")
    (home / "results").write_text("a file")
    done = run(home, "results/demo_tiny/manifest.csv")
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert any("results is no folder" in line and "move it away" in line for line in done.stdout.splitlines()), done.stdout


def test_snakemakes_own_lines_on_request(project):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--force", "results/demo_tiny/manifest.csv"]
    done = subprocess.run(command, cwd=project, env={**plain(), "WSSS_CONSOLE": "snakemake"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "localrule dataset:" in done.stderr and "done in" not in done.stderr
