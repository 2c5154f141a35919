"""Networks and histories as files."""

import os
import pickle

import pytest
import torch
from wsss.errors import UserError
from wsss.io import models


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_model_round_trip_with_facts(tmp_path):
    net, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    models.save_model(tmp_path / "m.safetensors", net, params={"lr": 0.1})
    assert models.load_model(tmp_path / "m.safetensors", other) == {"params": {"lr": 0.1}}
    assert torch.equal(net.weight, other.weight) and torch.equal(net.bias, other.bias)


def test_channels_last_and_shared_tensors_are_stored(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Conv2d(2, 2, 3)).to(
        memory_format=torch.channels_last
    )
    net[1].weight = net[0].weight
    models.save_model(tmp_path / "m.safetensors", net)
    other = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.Conv2d(2, 2, 3))
    models.load_model(tmp_path / "m.safetensors", other)
    assert torch.equal(other[0].weight, net[0].weight) and torch.equal(other[1].weight, net[0].weight)


def test_model_bytes_repeat(tmp_path):
    net = torch.nn.Linear(3, 2)
    for name in "ab":
        models.save_model(tmp_path / name, net, params={"z": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "other", [torch.nn.Linear(3, 4), torch.nn.Linear(3, 2, bias=False), torch.nn.Conv2d(1, 1, 1)]
)
def test_another_network_is_refused(tmp_path, other):
    models.save_model(tmp_path / "m.safetensors", torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match="m.safetensors: holds another network"):
        models.load_model(tmp_path / "m.safetensors", other)


def test_damaged_and_missing_models(tmp_path):
    path = tmp_path / "m.safetensors"
    models.save_model(path, torch.nn.Linear(3, 2))
    whole = path.read_bytes()
    for content in (whole[:-4], whole[:20], b"", pickle.dumps(Bomb())):
        path.write_bytes(content)
        with pytest.raises(UserError, match="m.safetensors: not a readable model"):
            models.load_model(path, torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match="none: not a readable model"):
        models.load_model(tmp_path / "none", torch.nn.Linear(3, 2))


def test_history_columns_and_numbers(tmp_path):
    models.write_history(
        tmp_path / "h.csv", [{"step": 0, "lr": 0.1, "total": 2.0}, {"step": 1, "lr": 0.05, "total": 1 / 3}]
    )
    assert (tmp_path / "h.csv").read_text() == "step,lr,total\n0,0.1,2\n1,0.05,0.33333333\n"
