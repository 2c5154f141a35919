"""The device of a job, and what says that a network has diverged."""

from types import SimpleNamespace

import pytest
import torch
from training_job import job
from wsss.errors import UserError
from wsss.train import device
from wsss.train.device import autocast_dtype, pick_device
from wsss.train.loop import fit
from wsss.train.sanity import refuse_diverged


def test_device_and_threads(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto", 1).type == "cpu" and torch.get_num_threads() == 1
    with pytest.raises(UserError, match="device: cuda is asked for"):
        pick_device("cuda", 1)


def test_a_gpu_rounds_nothing_that_stays_float32(monkeypatch, two_of_four):
    """Beside bf16 too: PCM, prototypes and the CRF are left out of autocast because rounding would show."""
    two_of_four(0, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        assert pick_device("auto", 1) == torch.device("cuda", 0)
        assert matmul.allow_tf32 is cudnn.allow_tf32 is False
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.fixture
def two_of_four(monkeypatch, tmp_path):
    """Function: from now on this job sees these two of a machine's four GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "_leases", [])
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def see(*gpus):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, gpus)))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"GPU-{gpus[index]}"))

    yield see
    for handle in device._leases:
        handle.close()


def test_two_jobs_lease_two_of_the_visible_gpus(two_of_four):
    two_of_four(0, 1)
    assert [device._lease_gpu() for _ in range(3)] == [0, 1, 0]


def test_a_lease_is_of_the_gpu_whatever_number_a_job_knows_it_by(two_of_four):
    two_of_four(0, 1)
    assert [device._free_gpu() for _ in range(2)] == [0, 1]
    two_of_four(1, 2)
    assert device._free_gpu() == 1
    two_of_four(3, 0)
    assert device.one_gpu_for_a_program() == {"CUDA_VISIBLE_DEVICES": "3"}


def test_the_only_gpu_that_a_job_sees_is_leased_too(two_of_four, monkeypatch):
    """Another job may see more."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    two_of_four(0)
    assert device._lease_gpu() == 0
    assert device.one_gpu_for_a_program() == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    two_of_four(0, 1)
    assert device._lease_gpu() == 1


@pytest.mark.parametrize("told, dtype", [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, None), ({}, None)])
def test_auto_is_bf16_on_a_cpu_that_is_made_for_it(monkeypatch, told, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert autocast_dtype(torch.device("cpu"), "auto") is dtype


def test_precision_on_the_cpu():
    cpu = torch.device("cpu")
    assert autocast_dtype(cpu, "fp32") is None and autocast_dtype(cpu, "bf16") is torch.bfloat16
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        autocast_dtype(cpu, "fp16")


# --- a network that diverged


def weights_of_nan(net):
    net[5].weight.data[0, 0] = float("nan")


def statistics_of_inf(net):
    net[1].running_var[0] = float("inf")


def layers_that_overflow(net):
    net[0].weight.data *= 1e30
    net[1].weight.data *= 1e30


@pytest.mark.parametrize(
    "change, words",
    [
        (weights_of_nan, "weights 5.weight"),
        (statistics_of_inf, "weights 1.running_var"),
        (layers_that_overflow, "what layer [0-9] makes"),
    ],
)
def test_a_diverged_network_is_told_by_its_weights_or_by_what_it_makes(tmp_path, change, words):
    one = job(tmp_path)
    change(one.learner.network)
    with pytest.raises(UserError, match=f"classifier: the network diverged.*{words}.*lower classifier.lr .it is 0.05"):
        refuse_diverged(one, "classifier")


def test_looking_at_a_network_leaves_it_as_it_is(tmp_path):
    one = job(tmp_path)
    fit(one)
    before, number = {key: value.clone() for key, value in one.learner.network.state_dict().items()}, torch.get_rng_state()
    refuse_diverged(one, "classifier")
    assert all(torch.equal(value, before[key]) for key, value in one.learner.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), number) and not any(m._forward_hooks for m in one.learner.network.modules())
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in one.learner.network.parameters())
