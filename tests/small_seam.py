"""SEAM on a narrow ResNet38d."""

from functools import partial

import pytest
import torch
from wsss.methods.seam import SEAM
from wsss.nets.backbones import BACKBONES
from wsss.nets.resnet38d import ResNet38d


def small(family=SEAM, classes=3, **options):
    torch.manual_seed(0)
    return family(classes, "resnet_small", options)


def count(parameters):
    return sum(p.numel() for p in parameters)


def batch_of(size=64, classes=3, n=2):
    g = torch.Generator().manual_seed(0)
    y = torch.zeros(n, classes)
    y[torch.arange(n), torch.arange(n) % classes] = 1
    return {"image": torch.randn(n, 3, size, size, generator=g), "y": y}


def gradients(net, batch, name):
    """Parameter name -> largest absolute gradient of one named loss."""
    net.zero_grad(set_to_none=True)
    net.loss(batch, net(batch, net.loss_want), 0)[name].backward()
    return {n: 0.0 if p.grad is None else p.grad.abs().max().item() for n, p in net.named_parameters()}

HEADS = ("pcm.f8_3.weight", "pcm.f8_4.weight", "pcm.f9.weight")


def narrow_resnet38d(family):
    """The published network at a sixteenth of its width: the layout decides, not the number of channels."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "resnet38d", partial(ResNet38d, width=4))
        return family(3, "resnet38d", {"dropout": 0.0}).eval()
