"""ImageNet weights: conversion, strict checks, and the file that comes out."""

import hashlib
import os
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from wsss.errors import UserError
from wsss.io.models import load_model
from wsss.nets import weights
from wsss.nets.fetch import fetch

DATA = os.environ.get("WSSS_TEST_DATA")


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).state_dict()


def saved(path, state):
    torch.save(state, path)
    return path


def test_registry_agrees_with_torchvision():
    for name in ("resnet18", "resnet50", "resnet101"):
        entry = weights.WEIGHTS[name]
        enum = torchvision.models.get_model_weights(name)
        assert entry["url"] == enum.IMAGENET1K_V1.url
        assert entry["url"].endswith(f"-{entry['sha256_prefix']}.pth")


def test_deit_is_as_timm_has_it():
    layout = {key: value.shape for key, value in timm.create_model("deit_small_patch16_224").state_dict().items()}
    assert weights.expected_shapes("deit_small") == layout
    entry = weights.WEIGHTS["deit_small"]
    assert entry["url"].endswith(f"deit_small_patch16_224-{entry['sha256_prefix']}.pth")


@pytest.mark.parametrize("wrap", [lambda state: {"model": state}, lambda state: state], ids=["as DeiT gives it", "plain"])
def test_a_file_of_deit(tmp_path, wrap):
    state = {key: torch.rand(shape) for key, shape in weights.expected_shapes("deit_small").items()}
    target = fetch("deit_small", tmp_path / "out/deit_small.safetensors", local=saved(tmp_path / "deit.pth", wrap(state)))
    assert torch.equal(weights.load(target, "deit_small")["pos_embed"], state["pos_embed"])
    assert weights.origin(target)[0].startswith("local file deit.pth")
    state.pop("blocks.11.norm2.bias")
    with pytest.raises(UserError, match="not ImageNet weights of deit_small in timm's layout: 1 tensors missing: blocks.11.norm2.bias"):
        fetch("deit_small", tmp_path / "again.safetensors", local=saved(tmp_path / "cut.pth", wrap(state)))


def test_without_a_network_it_says_where_weights_are_and_which_key_takes_them(tmp_path):
    where = str(tmp_path / "deit_small_patch16_224-cd65a155.pth")
    with pytest.raises(UserError) as caught:
        fetch("deit_small", tmp_path / "deit_small.safetensors", urls=[where], retries=0)
    assert where in str(caught.value) and "set `weights: {deit_small: PATH}` in config/config.yaml" in str(caught.value)


def test_local_float16_file_becomes_float32(tmp_path, state):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    source = saved(tmp_path / "r18.pth", half)
    target = fetch("resnet18", tmp_path / "out/resnet18.safetensors", local=source)
    loaded = weights.load(target, "resnet18")
    assert set(loaded) == set(state)
    assert all(value.dtype == torch.float32 for value in loaded.values() if value.is_floating_point())
    assert torch.equal(loaded["conv1.weight"], half["conv1.weight"].float())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert weights.read_metadata(target) == {
        "source": "r18.pth",
        "sha256": digest,
        "architecture": "resnet18",
    }
    assert source.exists()


def test_same_input_same_bytes(tmp_path, state):
    source = saved(tmp_path / "r18.pth", state)
    files = [fetch("resnet18", tmp_path / f"{n}.safetensors", local=source) for n in range(4)]
    assert len({path.read_bytes() for path in files}) == 1


def test_download_is_checked_by_the_prefix_and_cleaned_up(tmp_path, state):
    source = saved(tmp_path / "r18.pth", state)
    prefix = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    target = tmp_path / "out/resnet18.safetensors"
    fetch("resnet18", target, urls=[source.as_uri()], sha256_prefix=prefix, progress=False)
    assert os.listdir(target.parent) == ["resnet18.safetensors"]
    assert weights.read_metadata(target)["source"] == source.as_uri()
    with pytest.raises(UserError, match="should begin with f37072fd"):
        fetch("resnet18", tmp_path / "b/x.safetensors", urls=[source.as_uri()], retries=0)
    assert os.listdir(tmp_path / "b") == []


def test_a_safetensors_file_may_be_the_source(tmp_path, state):
    first = fetch("resnet18", tmp_path / "a.safetensors", local=saved(tmp_path / "a.pth", state))
    second = fetch("resnet18", tmp_path / "b.safetensors", local=first)
    assert torch.equal(weights.load(second, "resnet18")["fc.bias"], state["fc.bias"])


@pytest.mark.parametrize("right, wrong", [("pth", "safetensors"), ("safetensors", "pth")])
def test_weights_are_known_by_what_they_hold(tmp_path, right, wrong):
    state = {"a": torch.ones(2)}
    path = tmp_path / f"w.{wrong}"
    (safetensors.torch.save_file if right == "safetensors" else torch.save)(state, path)
    assert torch.equal(weights.load_any(path)["a"], state["a"])
    if right == "pth":
        torch.save(state, path, _use_new_zipfile_serialization=False)
        assert torch.equal(weights.load_any(path)["a"], state["a"])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match=f"w.{wrong}: (damaged|holds objects of Python beside tensors, or is damaged)") as error:
        weights.load_any(path)
    assert "delete" not in str(error.value)  # it may be the user's only copy


def test_other_weights_may_be_called_as_those_of_mxnet_are(tmp_path, state):
    local = saved(tmp_path / "r18.params", state)
    assert "fc.bias" in weights.load(fetch("resnet18", tmp_path / "a.safetensors", local=local), "resnet18")


def test_old_files_without_counters_and_without_classifier(tmp_path, state):
    small = {
        k: v for k, v in state.items() if not k.endswith("num_batches_tracked") and not k.startswith("fc.")
    }
    target = fetch("resnet18", tmp_path / "a.safetensors", local=saved(tmp_path / "a.pth", small))
    assert len(weights.load(target, "resnet18")) == len(small)


def fails(tmp_path, state, words, name="resnet18"):
    with pytest.raises(UserError, match=words) as caught:
        fetch(name, tmp_path / "out.safetensors", local=saved(tmp_path / "w.pth", state))
    assert "w.pth" in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_wrong_tensors_are_named(tmp_path, state):
    fails(
        tmp_path,
        {k: v for k, v in state.items() if k != "layer1.0.conv1.weight"},
        "1 tensors missing: layer1.0.conv1",
    )
    fails(tmp_path, {**state, "extra.weight": torch.ones(1)}, "1 tensors surplus: extra.weight")
    fails(
        tmp_path,
        {**state, "conv1.weight": torch.ones(64, 3, 3, 3)},
        r"conv1.weight \(64, 3, 3, 3\) instead of",
    )
    fails(tmp_path, {**state, "bn1.bias": torch.full((64,), float("nan"))}, "bn1.bias not finite")
    fails(tmp_path, state, "not ImageNet weights of resnet50", name="resnet50")
    fails(tmp_path, {"state_dict": state}, "not a plain state dict")


POISONS = {  # what a trained network never holds -> the words for it
    "beyond float32": ("conv1.weight", lambda v: v.double() * 1e300, "not finite"),
    "nan": ("layer1.0.bn1.running_mean", lambda v: v * float("nan"), "not finite"),
    "integers": ("conv1.weight", lambda v: torch.ones_like(v, dtype=torch.int64), r"holds integers \(int64\)"),
    "bytes": ("fc.weight", lambda v: torch.ones_like(v, dtype=torch.uint8), r"holds integers \(uint8\)"),
    "complex": ("fc.weight", lambda v: v.to(torch.complex64), "holds complex numbers"),
    "complex counter": ("bn1.num_batches_tracked", lambda v: v.to(torch.complex64), "holds complex numbers"),
    "negative variance": ("bn1.running_var", lambda v: v - 2, "holds negative variances"),
    "zeros": ("layer2.0.conv1.weight", torch.zeros_like, "holds nothing but zeros"),
    "sparse": ("fc.weight", lambda v: v.to_sparse(), "no plain tensor"),
}


@pytest.mark.parametrize("kind", POISONS)
def test_tensors_that_no_trained_network_has(tmp_path, state, kind):
    key, change, words = POISONS[kind]
    fails(tmp_path, {**state, key: change(state[key])}, f"{key} .*{words}")


@pytest.mark.parametrize("kind", [kind for kind in POISONS if kind != "sparse"])  # which safetensors does not hold
def test_models_that_no_training_wrote(tmp_path, state, kind):
    key, change, words = POISONS[kind]
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({**state, key: change(state[key])}, path)
    with pytest.raises(UserError, match=f"model.safetensors: not the weights.*{key}: .*{words}"):
        load_model(path, torchvision.models.resnet18(weights=None))


def test_a_model_of_integers_alone_that_would_have_been_cast(tmp_path):
    """load_state_dict copies any type into any other."""
    safetensors.torch.save_file({"weight": torch.ones(2, 3, dtype=torch.int32), "bias": torch.zeros(2)}, tmp_path / "m")
    with pytest.raises(UserError, match="weight: holds integers"):
        load_model(tmp_path / "m", torch.nn.Linear(3, 2))
    safetensors.torch.save_file({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / "m", {"facts": "{"})
    with pytest.raises(UserError, match="m: not a readable model"):
        load_model(tmp_path / "m", torch.nn.Linear(3, 2))


def test_damaged_hostile_missing_and_unknown(tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(UserError, match="damaged"):
        fetch("resnet18", tmp_path / "o", local=tmp_path / "cut.pth")
    torch.save(os.system, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="evil.pth: holds objects of Python beside tensors"):
        fetch("resnet18", tmp_path / "o", local=tmp_path / "evil.pth")
    with pytest.raises(UserError, match="missing weights"):
        fetch("resnet18", tmp_path / "o", local=tmp_path / "none.pth")
    with pytest.raises(UserError, match="choose resnet18, resnet50, resnet101"):
        fetch("vgg16", tmp_path / "o")
    with pytest.raises(UserError, match="missing weights"):
        weights.load(tmp_path / "none.safetensors", "resnet18")


@pytest.mark.parametrize(
    "content, words",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "is a Git LFS pointer, not the weights themselves; type git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page, mostly a login or an error, not weights"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array, not weights"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_files_under_the_name_of_weights(tmp_path, content, words, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: {words}"):
        fetch("resnet18", tmp_path / "o", local=tmp_path / name)


def test_load_refuses_another_architecture_and_a_cut_file(tmp_path, state):
    target = fetch("resnet18", tmp_path / "a.safetensors", local=saved(tmp_path / "a.pth", state))
    with pytest.raises(UserError, match="holds weights of resnet18, not resnet50"):
        weights.load(target, "resnet50")
    target.write_bytes(target.read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged"):
        weights.load(target, "resnet18")


@pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real ImageNet weights)")
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_real_weights(tmp_path, name):
    local = Path(DATA) / f"weights/{name}_imagenet_fp16.pth"
    loaded = weights.load(fetch(name, tmp_path / "w.safetensors", local=local), name)
    net = getattr(torchvision.models, name)(weights=None)
    net.load_state_dict(loaded, strict=True)
    with pytest.raises(UserError, match="not ImageNet weights of"):
        fetch("resnet101", tmp_path / "x.safetensors", local=local)
