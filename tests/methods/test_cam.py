import math

import pytest
import torch
from wsss.methods.base import CamOut
from wsss.methods.cam import CAM


def count(module, only_trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not only_trainable)


def small(**options):
    torch.manual_seed(0)
    return CAM(3, "resnet_small", options)


def test_parameter_counts():
    with torch.device("meta"):
        net = CAM(20, "resnet50", {})
    assert count(net) == 23_548_992
    assert count(net.classifier) == 40_960
    assert count(net, only_trainable=True) == 22_104_064
    assert [g["lr_scale"] for g in net.param_groups()] == [1, 10]
    assert [g["weight_decay"] for g in net.param_groups()] == [None, None]


def test_map_shape():
    with torch.device("meta"):
        out = CAM(20, "resnet50", {})({"image": torch.empty(1, 3, 321, 321)}, frozenset({"maps", "logits"}))
    assert out.maps.shape == (1, 20, 21, 21) and out.logits.shape == (1, 20)


def test_logits_are_pooled_maps():
    net = small()
    out = net({"image": torch.randn(2, 3, 64, 64)}, frozenset({"maps", "logits"}))
    torch.testing.assert_close(out.logits, out.maps.mean((-2, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "logits, y, expected", [([0, 0, 0], [1, 0, 1], math.log(2)), ([1, -2, 0.5], [1, 0, 0], 0.471422)]
)
def test_loss_values(logits, y, expected):
    out = CamOut(logits=torch.tensor([logits], dtype=torch.float32))
    loss = small().loss({"y": torch.tensor([y], dtype=torch.float32)}, out, 0)["total"]
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_cutting_the_gradient_equals_freezing():
    batch = {"image": torch.randn(2, 3, 64, 64), "y": torch.eye(3)[:2]}
    frozen, free = small(), small(freeze="none")
    for net in (frozen, free):
        net.loss(batch, net(batch, net.loss_want), 0)["total"].backward()
    assert frozen.backbone.layer2[0].conv1.weight.grad is None
    assert free.backbone.conv1.weight.grad is not None
    for name in ("backbone.layer3.0.conv1.weight", "classifier.weight"):
        assert torch.equal(frozen.get_parameter(name).grad, free.get_parameter(name).grad)


def test_as_published_scale_and_offset_learn_behind_the_cut_only():
    learns = {n.split(".")[0] for n, p in small().backbone.named_parameters() if "bn" in n and p.requires_grad}
    assert learns == {"layer3", "layer4"}


def test_relu_comes_before_every_sum():
    net = small().eval()
    image = torch.randn(1, 3, 48, 65)
    plain, mirrored = (net({"image": x}, frozenset({"maps"})).maps for x in (image, image.flip(-1)))
    seeds = net.seed_maps(torch.cat([image, image.flip(-1)]), torch.ones(1, 3))
    assert torch.allclose(seeds, plain.relu() + mirrored.relu().flip(-1), rtol=1e-4, atol=1e-4)
    assert seeds.min() >= 0 and not seeds.requires_grad


def test_only_present_classes_are_stored():
    maps = [torch.tensor([[[0.0, 2.0]], [[9.0, 9.0]], [[0.0, 0.0]]]), torch.ones(3, 2, 1)]
    rows, more = small().stored(maps, torch.tensor([1.0, 0.0, 1.0]), (1, 2), {})
    assert [row.tolist() for row in rows] == [[[[0, 2]], [[0, 0]]], [[[1], [1]], [[1], [1]]]] and more == {}


def test_output_stride_option():
    net = small(output_stride=8)
    assert net.spec.stride == 8 and CAM.spec_for({}).stride == 16
    assert net({"image": torch.zeros(1, 3, 64, 64)}, frozenset({"maps"})).maps.shape[-1] == 8
