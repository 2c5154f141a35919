"""What the workflow needs on a cluster, as far as it can be told without one (test_slurm.py has one)."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from helpers import (
    GPU_RULES,
    LIBRARY,
    REPOSITORY,
    Chain,
    artefacts,
    environment,
    folder_dataset,
)
from wsss.engine import backup
from wsss.engine.cluster import end_jobs
from wsss.errors import UserError

from rules import read_rules

PROFILE = REPOSITORY / "profiles/slurm/config.yaml"
LONGEST = 2880


# --- the profile ---------------------------------------------------------------------------------------


def requested():
    """rule -> resources, as the profile has them."""
    return yaml.safe_load(PROFILE.read_text())["set-resources"]


def on_the_cluster():
    """name -> resources of the rules that become jobs there."""
    return {name: rule["resources"] for name, rule in read_rules().items() if not rule["local"]}


def test_the_profile_asks_for_what_the_rules_declare():
    assert set(requested()) == set(on_the_cluster())
    for name, resources in on_the_cluster().items():
        for resource in ("mem_mb", "runtime"):
            assert eval(requested()[name][resource], {"attempt": 1}) == resources[resource], (name, resource)


def test_another_attempt_asks_for_more_up_to_a_longest_time():
    for name, resources in requested().items():
        memory, minutes = ([eval(resources[key], {"attempt": n}) for n in (1, 2, 3)] for key in ("mem_mb", "runtime"))
        assert memory == [memory[0], 2 * memory[0], 3 * memory[0]], name
        assert minutes[1] == min(2 * minutes[0], LONGEST) and max(minutes) <= LONGEST, name


def test_gpu_rules_have_one_place_for_their_partition():
    marked = set(re.findall(r"^  (\w+): +\{<<: [&*]gpu", PROFILE.read_text(), re.M))
    assert GPU_RULES <= marked
    assert marked == {name for name, resources in on_the_cluster().items() if "gpu" in resources} - {"saliency", "seeds"}  # by choice only; the profile says how


# --- jobs that a killed Snakemake left -----------------------------------------------------------------

SQUEUE = """#!/bin/sh
[ ! -e {folder}/no-answer ] && cat {folder}/queue
"""
SCONTROL = """#!/bin/sh
[ "$1 $2 $4" = "write batch_script -" ] && cat {folder}/$3.sh
"""
SCANCEL = """#!/bin/sh
echo "$@" >> {folder}/cancelled
[ -e {folder}/stubborn ] || : > {folder}/queue
"""
SCRIPT = """#!/bin/sh
# This script was created by sbatch --wrap.

/opt/python -m snakemake --snakefile '/a b/Snakefile' --target-jobs {jobs} --allowed-rules seeds --cores 'all'
"""
SEEDS, LABELS = "seeds:dataset=demo,method=cam", "ir_labels:dataset=demo,method=cam"


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A folder with stand-ins of SLURM's commands on PATH: job 7 makes seeds and labels here, 8 elsewhere, 9 others."""
    for name, text in (("squeue", SQUEUE), ("scontrol", SCONTROL), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "queue").write_text("7|/here\n8|/elsewhere\n9|/here\n10|/here\n")
    for number, jobs in ((7, f"'{SEEDS}' '{LABELS}'"), (8, f"'{SEEDS}'"), (9, "'seeds:dataset=demo,method=cam.seed1'")):
        (tmp_path / f"{number}.sh").write_text(SCRIPT.format(jobs=jobs))
    (tmp_path / "10.sh").write_text("#!/bin/sh\necho my own job\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize("wanted", [{SEEDS}, {LABELS, "cam:dataset=demo,method=cam"}])
def test_jobs_that_make_the_same_files_are_ended(queue, wanted):
    assert end_jobs(wanted, "/here") == ["7"]
    assert (queue / "cancelled").read_text() == "7\n"


@pytest.mark.parametrize("wanted", [set(), {"cam:dataset=demo,method=cam"}, {"seeds:dataset=demo,method=ca"}])
def test_others_are_let_alone(queue, wanted):
    assert end_jobs(wanted, "/here") == [] and not (queue / "cancelled").exists()


def test_a_slurm_that_does_not_answer_holds_nothing_up(queue):
    (queue / "no-answer").touch()
    assert end_jobs({SEEDS}, "/here") == []


def test_a_job_that_does_not_end_is_said(queue):
    (queue / "stubborn").touch()
    with pytest.raises(UserError, match="SLURM jobs 7 .*still run after scancel"):
        end_jobs({SEEDS}, "/here", patience=0)


# --- SIGTERM to every process of a job -----------------------------------------------------------------

TRAINING = """
import sys, time, torch
from pathlib import Path
from wsss.engine.entry import guarded
from wsss.sections.training import Training
from wsss.train.loop import Job, Learner, fit

class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(0.05)
        return {"id": str(index), "x": torch.ones(1)}

network = torch.nn.Linear(1, 1)

def loss(batch, step):
    Path(sys.argv[1], "going").touch()
    return {"total": network(batch["x"]).sum() ** 2}

def run(task):
    settings = Training.model_construct(optimiser="sgd", lr=0.1, momentum=0, weight_decay=0, schedule="poly", power=0.9, batch_size=4, steps=10000)
    runtime = {"precision": "fp32", "workers": 2, "checkpoint_seconds": 1e9, "log_every": 5}
    groups = [{"params": list(network.parameters()), "lr_scale": 1.0, "weight_decay": 0}]
    fit(Job(Learner(network, groups, loss), Slow(), settings, runtime, 0, torch.device("cpu"), Path(sys.argv[1], "state.pt"), "f"))

guarded(run, None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are told to end with their parent by Linux")
def test_sigterm_to_all_processes_of_a_job_saves(tmp_path):
    """SLURM does that; a data loader's worker that dies of it must not take the training along."""
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    process = subprocess.Popen(command, env={**environment(), "PYTHONPATH": str(LIBRARY)}, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "going").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    finally:
        process.kill()
        process.wait()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] > 0


# --- a training whose end Snakemake did not see --------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    """A chain whose classifier is trained, two steps; its folder, and the outputs' bytes."""
    chain = Chain(folder_dataset(tmp_path))
    folder = chain.run("classifier")
    outputs = {name: (folder / name).read_bytes() for name in ("model.safetensors", "history.csv")}
    return SimpleNamespace(chain=chain, folder=folder, outputs=outputs)


def deleted_and_run(trained, caplog):
    """Whether the training was spared after Snakemake deleted its outputs."""
    for name in trained.outputs:
        (trained.folder / name).unlink()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        trained.chain.run("classifier")
    return "this training had finished" in caplog.text


def test_a_finished_training_is_put_back(trained, caplog):
    record = (trained.folder / "run.json").read_bytes()
    before = artefacts(trained.folder)
    assert deleted_and_run(trained, caplog)
    assert artefacts(trained.folder) == before
    assert (trained.folder / "run.json").read_bytes() == record


def test_other_settings_train_again(trained, caplog):
    trained.chain.recipe["classifier"]["steps"] = 3
    assert not deleted_and_run(trained, caplog)
    assert (trained.folder / "history.csv").read_text().count("\n") == 4


@pytest.mark.parametrize("damage", ["content", "gone", "note"])
def test_a_damaged_one_is_trained_again(trained, caplog, damage):
    second = backup.second_name(trained.folder / "model.safetensors")
    if damage == "content":
        second.write_bytes(b"x" + second.read_bytes()[1:])
    elif damage == "gone":
        second.unlink()
    else:
        (trained.folder / backup.NOTE).write_text("{")
    assert not deleted_and_run(trained, caplog)
    assert {name: (trained.folder / name).read_bytes() for name in trained.outputs} == trained.outputs


def test_another_environment_trains_again(trained, caplog, monkeypatch):
    monkeypatch.setattr("wsss.engine.task.package_versions", lambda: {"torch": "another"})
    assert not deleted_and_run(trained, caplog)


def no_links(monkeypatch):
    def refuse(*args):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)


def test_copied_to_a_drive_without_hard_links_it_is_put_back(trained, caplog, monkeypatch):
    no_links(monkeypatch)
    assert deleted_and_run(trained, caplog)
    assert {name: (trained.folder / name).read_bytes() for name in trained.outputs} == trained.outputs


def test_without_hard_links_it_is_only_not_kept(tmp_path, monkeypatch):
    no_links(monkeypatch)
    (tmp_path / "model").write_text("m")
    backup.keep([tmp_path / "model"], "f")
    assert not backup.restore([tmp_path / "model"], "f") and (tmp_path / "model").read_text() == "m"
