import os
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18, resnet50
from wsss.errors import UserError
from wsss.nets.backbones import BACKBONES, FREEZE, build_backbone, load_pretrained
from wsss.nets.norm import BatchNorm


def count(module, only_trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not only_trainable)


def meta(name, **options):
    with torch.device("meta"):
        return build_backbone(name, **options)


def test_resnet50_parameter_counts():
    net = meta("resnet50")
    assert count(net) == 23_508_032
    assert sum(count(m) for m in net.parts()[0]) == 9_536
    assert count(net.layer1) == 215_808 and count(net.layer2) == 1_219_584
    assert count(net.layer3) + count(net.layer4) == 22_063_104
    affine = sum(p.numel() for n, p in net.named_parameters() if "bn" in n or "downsample.1" in n)
    assert affine == 53_120


@pytest.mark.parametrize(
    "size, grids",
    [
        ((321, 321), [(81, 81), (81, 81), (41, 41), (21, 21), (21, 21)]),
        ((375, 500), [(94, 125), (94, 125), (47, 63), (24, 32), (24, 32)]),
    ],
)
def test_resnet50_tap_shapes(size, grids):
    net = meta("resnet50")
    taps = net(torch.empty(1, 3, *size, device="meta"))
    assert [tuple(t.shape[2:]) for t in taps] == grids
    assert [t.shape[1] for t in taps] == net.out_channels == [64, 256, 512, 1024, 2048]


@pytest.mark.parametrize("side, cells", [(188, 12), (250, 16), (562, 36), (750, 47), (1000, 63)])
def test_stride16_sizes(side, cells):
    assert meta("resnet18")(torch.empty(1, 3, side, side, device="meta"))[-1].shape[-1] == cells


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"resnet38d"}))
@pytest.mark.parametrize("stride, strides", [(8, (2, 1, 1)), (16, (2, 2, 1)), (32, (2, 2, 2))])
def test_output_stride(name, stride, strides):
    net = meta(name, strides=strides)
    assert net.output_stride == stride
    assert net(torch.empty(1, 3, 64, 96, device="meta"))[-1].shape[2:] == (64 // stride, 96 // stride)


def test_dilation_keeps_size_and_widens_the_field():
    torch.manual_seed(0)
    plain, dilated = (build_backbone("resnet_small", (2, 1, 1), d) for d in ((1, 1, 1), (1, 2, 4)))
    dilated.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 65, 47)
    a, b = plain(x)[-1], dilated(x)[-1]
    assert a.shape == b.shape and not torch.allclose(a, b)
    assert dilated.layer4[0].conv1.dilation == (4, 4) and dilated.layer3[1].conv2.dilation == (2, 2)


def test_equals_torchvision():
    torch.manual_seed(0)
    reference = resnet18().eval()
    net = build_backbone("resnet18", strides=(2, 2, 2)).eval()
    load_pretrained(net, reference.state_dict())
    x = torch.randn(2, 3, 64, 50)
    pooled = net(x)[-1].mean((-2, -1))
    assert torch.allclose(reference.fc(pooled), reference(x), atol=1e-4)


def test_resnet50_has_torchvision_keys():
    with torch.device("meta"):
        reference = resnet50()
    shapes = {k: v.shape for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in meta("resnet50").state_dict().items()} == shapes


def test_resnet_small_is_half_as_wide():
    assert build_backbone("resnet_small").out_channels == [32, 32, 64, 128, 256]


def test_frozen_batchnorm_ignores_train_mode():
    net = build_backbone("resnet_small", bn="frozen").train()
    before = {k: v.clone() for k, v in net.named_buffers()}
    x = torch.randn(2, 3, 33, 33)
    assert torch.equal(net(x)[-1], net.eval()(x)[-1])
    assert all(torch.equal(v, before[k]) for k, v in net.named_buffers())
    assert not net.bn1.weight.requires_grad and net.conv1.weight.requires_grad


@pytest.mark.parametrize("name", ["resnet_small", "resnet18", "resnet50", "resnet38d"])
@pytest.mark.parametrize("bn, affine, fixed", [("frozen", 0, 1), ("statistics", 1, 1), ("affine", 0, 0), ("train", 1, 0)])
def test_batchnorm_means_the_same_on_every_trunk(name, bn, affine, fixed):
    norms = [m for m in meta(name, bn=bn).modules() if isinstance(m, BatchNorm)]
    assert {(m.weight.requires_grad, m.bias.requires_grad, m.frozen) for m in norms} == {(affine, affine, fixed)}


@pytest.mark.parametrize(
    "name, parts", [("resnet50", (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",))), ("resnet38d", (("conv1a",), ("b2",), ("b3",), ("b4",)))]
)
@pytest.mark.parametrize("freeze", FREEZE)
def test_freeze_names_what_learns_nothing(name, parts, freeze):
    net = meta(name, bn="train", freeze=freeze)
    stays = {module for part in parts[: FREEZE.index(freeze)] for module in part}
    first = {key: key.split(".")[0].split("_")[0] for key, _ in net.named_parameters()}
    assert {first[key] for key, p in net.named_parameters() if not p.requires_grad} == stays
    assert not stays & {first[key] for key, p in net.named_parameters() if p.requires_grad}
    norms = {key.split(".")[0].split("_")[0]: m.frozen for key, m in net.named_modules() if isinstance(m, BatchNorm)}
    assert {key for key, frozen in norms.items() if frozen} == stays - {"conv1", "conv1a"}


def test_trained_batchnorm_updates_except_where_frozen():
    net = build_backbone("resnet_small", bn="train", freeze="stem").train()
    net(torch.randn(2, 3, 33, 33))
    assert net.bn1.running_mean.abs().sum() == 0 and net.bn1.training
    assert net.layer1[0].bn1.running_mean.abs().sum() > 0
    assert not net.conv1.weight.requires_grad and net.layer1[0].conv1.weight.requires_grad


def test_load_accepts_half_precision_and_drops_fc():
    state = {k: v.half() if v.is_floating_point() else v for k, v in resnet18().state_dict().items()}
    net = build_backbone("resnet18")
    load_pretrained(net, state)
    assert torch.equal(net.conv1.weight, state["conv1.weight"].float())


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.pop("layer4.1.conv2.weight"), "missing"),
        (lambda s: s.update(extra=torch.ones(1)), "not expected"),
        (lambda s: s.update({"conv1.weight": torch.ones(8, 3, 7, 7)}), "another shape"),
    ],
)
def test_load_is_strict_and_leaves_the_net_alone(change, words):
    net = build_backbone("resnet_small")
    before = net.conv1.weight.clone()
    state = {k: v + 1 for k, v in net.state_dict().items()}
    change(state)
    with pytest.raises(UserError, match=words):
        load_pretrained(net, state)
    assert torch.equal(net.conv1.weight, before)


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(UserError, match="backbone"):
        load_pretrained(meta("resnet50"), resnet18().state_dict())


def test_unknown_names():
    with pytest.raises(UserError, match="resnet_small"):
        build_backbone("resnet34")
    with pytest.raises(UserError, match="frozen, statistics, affine, train"):
        build_backbone("resnet18", bn="sync")
    with pytest.raises(UserError, match="none, stem, stage1, stage2"):
        build_backbone("resnet18", freeze="layer3")


def test_real_imagenet_weights_load():
    data = os.environ.get("WSSS_TEST_DATA")
    if not data:
        pytest.skip("WSSS_TEST_DATA is not set")
    path = Path(data) / "weights" / "resnet18_imagenet_fp16.pth"
    net = build_backbone("resnet18").eval()
    load_pretrained(net, torch.load(path, weights_only=True))
    features = net(torch.zeros(1, 3, 64, 64))[-1]
    assert torch.isfinite(features).all() and features.std() > 0
