"""Faults that only a running Snakemake meets: a second one, a clock that goes back, results that may not be written."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import artefacts, copy_project, environment, own_photos, planned, shorten, snakemake
from test_faults import mount
from wsss.engine.clock import correct_future_times
from wsss.errors import UserError

TABLE, NETWORK = "results/own/manifest.csv", "results/own/cam/classifier/model.safetensors"
DAY = 86400


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh copy with three photos; the tests below go on from each other's results."""
    project = shorten(copy_project(tmp_path_factory.mktemp("project") / "clone"))
    own_photos(project)
    return project


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process has to be held")
def test_a_second_snakemake_is_refused_and_the_first_goes_on(project):
    locks = project / ".snakemake/locks"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", TABLE]
    first = subprocess.Popen(command, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: any(locks.glob("holder.*.json")), first)  # written when all locks are
        first.send_signal(signal.SIGSTOP)
        second = snakemake(project, "--cores", "1", TABLE)
        assert second.returncode != 0 and "Directory cannot be locked" in second.stdout
        assert "Traceback" not in second.stdout and any(locks.iterdir())
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=120) == 0 and (project / TABLE).exists()
    finally:
        first.kill()
        first.communicate()
    assert planned(project, TABLE) == set()


def test_a_clock_that_goes_back(project):
    """The table was written when the clock was a day ahead; the network learns from it after the clock was put right.

    Snakemake would call that job failed, and delete the network.
    """
    log = project / "logs/own/cam/classifier.log"
    if not (project / TABLE).exists():
        assert snakemake(project, "--cores", "1", TABLE).returncode == 0
    for name in ("manifest.csv", "dataset.json"):
        os.utime(project / "results/own" / name, (time.time() + DAY,) * 2)
    done = snakemake(project, "--cores", "1", NETWORK)
    assert done.returncode == 0, done.stdout
    assert "in the future, the clock was put back" in log.read_text()
    assert planned(project, NETWORK) == set()
    os.utime(project / NETWORK, (DAY, DAY))  # and once more, to 1970
    assert planned(project, NETWORK) == set()


def test_results_that_may_not_be_written(project):
    results = project / "results"
    results.mkdir(exist_ok=True)
    before = artefacts(results)
    if os.geteuid() or not mount("--bind", str(results), str(results)):
        pytest.skip("a folder can only be made read-only for root by mounting it, and not in every container")
    try:
        assert mount("-o", "remount,bind,ro", str(results))
        done = snakemake(project, "--cores", "1", "--force", TABLE)
    finally:
        subprocess.run(["umount", str(results)], check=True)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert re.search(rf"Write-protected output files(.*\n)+ +{TABLE}$", done.stdout, re.M)
    assert artefacts(results) == before


def test_a_users_own_file_from_the_future_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for name in ("mine.pth", "results/index.json"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() + DAY,) * 2)
    with pytest.raises(UserError, match="mine.pth: its time is 86... s in the future; .*touch 'mine.pth'"):
        correct_future_times(["results/index.json", "missing", "mine.pth"])
    assert os.stat("results/index.json").st_mtime <= time.time() < os.stat("mine.pth").st_mtime
    os.utime("mine.pth")
    correct_future_times(["results/index.json", "mine.pth"])
