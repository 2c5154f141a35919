"""Processes that train one network together: the loss curve of one process with the whole batch, resume, errors."""

import os
import signal
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import Chain, folder_dataset
from safetensors.torch import load_file
from torch import nn
from training_job import job
from two_processes import FORK, in_processes
from wsss import ranks
from wsss.engine import backup
from wsss.engine.atomic import read_json
from wsss.engine.entry import guarded
from wsss.errors import UserError
from wsss.nets.norm import BatchNorm
from wsss.stages import classifier
from wsss.train import device
from wsss.train.loop import fit


def small_net(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), BatchNorm(8), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(8 * 36, 1)
    )


class Wide(nn.Module):
    """Image to float64, in which rounding does not grow with the steps."""

    def forward(self, image):
        return image.double()


def exact_net():
    return nn.Sequential(Wide(), small_net().double())


def trained(folder, net=None, **changes):
    work = job(folder, net or small_net(), **changes)
    history = fit(work)
    return {k: v.numpy() for k, v in work.learner.network.state_dict().items()}, history


def losses(history):
    return [row["total"] for row in history]


@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path, clip_norm):
    """Loss curve, weights and running statistics of BatchNorm, after twelve steps with momentum."""
    settings = {"clip_norm": clip_norm}
    state, history = trained(tmp_path / "one", exact_net(), settings=settings)
    status, two = in_processes(2, partial(trained, settings=settings), tmp_path / "two", exact_net())
    assert status == 0
    assert losses(two[1]) == pytest.approx(losses(history), rel=1e-6)
    assert [row["lr"] for row in two[1]] == [row["lr"] for row in history]
    for name, value in state.items():
        np.testing.assert_allclose(two[0][name], value, rtol=1e-6, atol=1e-9, err_msg=name)


def test_half_the_batch_alone_is_another_run(tmp_path):
    """The comparison above would notice processes that did not share anything."""
    history = trained(tmp_path / "one")[1]
    half = trained(tmp_path / "half", settings={"batch_size": 2})[1]
    assert losses(half)[1:] != pytest.approx(losses(history)[1:], rel=1e-2)


def test_dropout_is_drawn_in_each_process(tmp_path):
    """So a network with dropout has another curve, as with another seed; it repeats all the same."""
    one = trained(tmp_path / "one", small_net(0.5))[1]
    first, second = (in_processes(2, trained, tmp_path / name, small_net(0.5))[1] for name in ("a", "b"))
    assert losses(first[1]) == losses(second[1]) != pytest.approx(losses(one), rel=1e-3)
    assert np.mean(losses(first[1])) == pytest.approx(np.mean(losses(one)), rel=0.3)


def cut(folder, at, who):
    """Train until process `who` gets SIGTERM in step `at`."""

    def hook(loss, step):
        if step == at and ranks.rank() == who:
            os.kill(os.getpid(), signal.SIGTERM)

    trained(folder, hook=hook)


@pytest.mark.parametrize("who", [0, 1])
def test_sigterm_to_one_stops_all_and_the_next_goes_on(tmp_path, who):
    whole = in_processes(2, trained, tmp_path / "whole")[1]
    status, result = in_processes(2, cut, tmp_path / "cut", 4, who)
    assert status == 143 and result is None
    assert torch.load(tmp_path / "cut/train_state.pt", weights_only=True)["step"] == 5
    again = in_processes(2, trained, tmp_path / "cut")[1]
    assert again[1] == whole[1] and all((again[0][k] == whole[0][k]).all() for k in whole[0])


def stubborn(folder):
    """Number 1 is killed in step 4."""

    def hook(loss, step):
        if step == 4 and ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    trained(folder, hook=hook, runtime={"checkpoint_seconds": 0})


def test_a_killed_process_ends_the_others(tmp_path):
    status, result = in_processes(2, stubborn, tmp_path)
    assert status == 1 and result is None
    assert torch.load(tmp_path / "train_state.pt", weights_only=True)["step"] == 4


def bad_loss(folder):
    trained(folder, hook=lambda loss, step: loss * float("nan") if ranks.rank() == 1 else loss)


def words_of(world, function, *arguments):
    def caught():
        try:
            function(*arguments)
        except UserError as error:
            return str(error)

    return in_processes(world, caught)[1]


def test_a_loss_of_one_process_that_is_not_finite_names_the_whole_batch(tmp_path):
    words = words_of(2, bad_loss, tmp_path)
    assert "not finite at step 0" in words and words.count("image") == 4


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return folder_dataset(tmp_path_factory.mktemp("ranks"))


def run_stage(task):
    """The stage as its rule script runs it; its exit status."""

    def first():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        guarded(classifier.run, task)

    process = FORK.Process(target=first)
    process.start()
    process.join(120)
    return process.exitcode


def test_a_training_given_two_gpus_is_two_processes(results):
    chain = Chain(results, steps=3)
    tasks = {gpus: chain.task("classifier", into=f"gpus{gpus}") for gpus in (1, 2)}
    for gpus, task in tasks.items():
        task.gpus = gpus
        assert run_stage(task) == 0
    files = {gpus: sorted(p.name for p in task.folder.iterdir()) for gpus, task in tasks.items()}
    assert files[1] == files[2], "only number 0 writes"
    curves = [np.loadtxt(t.folder / "history.csv", delimiter=",", skiprows=1) for t in tasks.values()]
    np.testing.assert_allclose(curves[1][0], curves[0][0], rtol=1e-5)  # then rounding grows, fast in float32
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)
    one, two = (load_file(task.folder / "model.safetensors") for task in tasks.values())
    assert one.keys() == two.keys() and any(not torch.equal(one[k], two[k]) for k in one)
    assert '"processes": 2' in (tasks[2].folder / "run.json").read_text()
    marks = [read_json(task.folder / backup.NOTE)["fingerprint"] for task in tasks.values()]
    assert marks[0] != marks[1], "one must not go on from the other's checkpoint"


def test_one_that_fails_before_they_meet_leaves_none_waiting(results, monkeypatch):
    """As where the second GPU is another job's."""

    def pick(wanted, threads, rank, world):
        if rank == 1:
            raise UserError("no GPU is free for me")
        return torch.device("cpu")

    monkeypatch.setattr("wsss.train.start.pick_device", pick)
    task = Chain(results, steps=1).task("classifier", into="lonely")
    task.gpus = 2
    assert run_stage(task) == -signal.SIGTERM  # within two minutes; alone it would wait longer


def test_a_batch_that_cannot_be_shared_is_refused(results):
    task = Chain(results, steps=1).task("classifier", into="odd")
    task.gpus = 3
    with pytest.raises(UserError, match="batch of 4 cannot be shared out among 3 GPUs"):
        classifier.run(task)


def test_each_process_has_a_gpu_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{index}"))
    monkeypatch.setattr(device, "_leases", [])
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert [device._gpu_of(rank, 2) for rank in range(2)] == [0, 1]
    monkeypatch.delenv("SLURM_JOB_ID")
    assert [device._gpu_of(rank, 2) for rank in range(2)] == [0, 1]
    for world in (2, 3):
        with pytest.raises(UserError, match=f"to use {world} GPUs, but of the 2"):
            device._gpu_of(0, world)
    for handle in device._leases:
        handle.close()
