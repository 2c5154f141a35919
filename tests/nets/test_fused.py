"""Trunks fused for inference against the same layers apart; which networks are fused is a rule, not a timing."""

import copy

import pytest
import torch
from torch import nn
from wsss.methods.cam import CAM
from wsss.nets import fused
from wsss.nets.backbones import BACKBONES, build_backbone
from wsss.nets.deeplab import DeepLabV2
from wsss.nets.fused import FusedBlock, FusedConv, ready_to_infer
from wsss.nets.norm import BatchNorm
from wsss.refine.boundary_net import IrnNet

CPU = torch.device("cpu")
needs_fused_layers = pytest.mark.skipif(not fused.has_fused_layers(), reason="this PyTorch is built without oneDNN")


def used(net):
    """Statistics and affines that are not 0 and 1, as after a training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return net.eval()


def pair(net):
    used(net)
    return net, ready_to_infer(copy.deepcopy(net), CPU)


def image(height=65, width=97):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def norms(net):
    return sum(isinstance(m, BatchNorm) for m in net.modules())


def close(a, b):
    return (a - b).abs().max() <= 1e-5 * a.abs().max()


@needs_fused_layers
@torch.inference_mode()
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("layout", [((2, 2, 1), (1, 1, 1)), ((2, 1, 1), (1, 2, 4))])
def test_all_five_taps_are_those_of_the_layers_apart(name, layout):
    torch.manual_seed(0)
    plain, fast = pair(build_backbone(name, *layout))
    assert norms(plain) and not norms(fast)
    # All taps are looked at after the whole pass: none may have been written over.
    assert all(close(*taps) for taps in zip(plain(image()), fast(image()), strict=True))


@needs_fused_layers
@torch.inference_mode()
@pytest.mark.parametrize("make", [lambda: IrnNet("resnet18"), lambda: DeepLabV2(3, "resnet18", {})])
def test_networks_of_the_walk_and_of_the_predictions(make):
    torch.manual_seed(0)
    plain, fast = pair(make())
    assert not norms(fast)
    outputs = [net.edge_maps(image()) if isinstance(net, IrnNet) else net.predict_logits(image()) for net in (plain, fast)]
    assert close(*outputs)


@needs_fused_layers
@torch.inference_mode()
def test_cams_are_the_same_bytes_every_time():
    torch.manual_seed(0)
    net, y = CAM(3, "resnet18"), torch.ones(1, 3)
    plain, fast = pair(net)
    again = ready_to_infer(copy.deepcopy(net), CPU)
    views = image().contiguous(memory_format=torch.channels_last)
    assert close(plain.seed_maps(views, y), fast.seed_maps(views, y))
    assert torch.equal(fast.seed_maps(views, y), again.seed_maps(views, y))


@torch.inference_mode()
def test_a_reduced_type_and_other_trunks_stay_as_they_are():
    torch.manual_seed(0)
    half = ready_to_infer(build_backbone("resnet_small"), CPU, torch.bfloat16)
    assert norms(half) == 20
    with torch.device("meta"):
        wide = BACKBONES["resnet38d"]()
    before = norms(wide)
    assert norms(ready_to_infer(wide, torch.device("meta"))) == before == 37


@torch.inference_mode()
def test_without_onednn_nothing_is_fused(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    net = ready_to_infer(build_backbone("resnet_small"), CPU)
    assert norms(net) == 20 and not any(isinstance(m, FusedBlock) for m in net.modules())


@needs_fused_layers
@torch.inference_mode()
def test_convolution_with_stride_and_dilation_is_folded_and_then_added():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, bias=False), BatchNorm(6)
    used(nn.Sequential(conv, norm))
    layer, x = FusedConv(conv, norm), image()[:, :1].repeat(1, 4, 1, 1)
    plain = norm(conv(x))
    assert close(plain.relu(), layer(x))
    other = torch.randn(plain.shape)
    kept = other.clone()
    assert close((plain + other).relu(), layer.added_to(other, x)) and torch.equal(other, kept)
