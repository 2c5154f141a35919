"""Processes that share a stage's jobs."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import LIBRARY, environment
from wsss.engine.workers import in_processes
from wsss.errors import UserError


def double(number):
    if number < 0:
        raise UserError("negative")
    return number * 2


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_do_every_job_once(processes):
    assert sorted(in_processes(double, ((n,) for n in range(40)), processes)) == [2 * n for n in range(40)]
    assert list(in_processes(double, iter(()), processes)) == []
    with pytest.raises(UserError, match="negative"):
        list(in_processes(double, ((n,) for n in (1, -1, 2)), processes))


ORPHANS = """
import os, sys, time
from pathlib import Path
from wsss.engine.entry import guarded
from wsss.engine.workers import in_processes

def sleep(number):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(0.2)
    return "x"

def run(task):
    for _ in in_processes(sleep, ((n,) for n in range(10_000)), 2):
        if sys.argv[2] == "stop":
            raise SystemExit(143)

guarded(run, None)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal of Linux")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_killed_stage_leaves_no_worker_behind(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path), how], env={**environment(), "PYTHONPATH": str(LIBRARY)}
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline and (process.poll() is None or how == "stop")
        time.sleep(0.05)
    if how == "kill":
        process.kill()
    assert process.wait(timeout=30) == (-signal.SIGKILL if how == "kill" else 143)
    workers = [int(p.name) for p in tmp_path.iterdir()]
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
