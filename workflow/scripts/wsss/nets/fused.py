"""Residual trunks ready to infer: on a CPU each BatchNorm, ReLU and sum is part of the convolution before it.

oneDNN, which PyTorch's convolutions on a CPU are, does the three while a result is still in the cache. What is fused is
a rule over network, device and number type, never a timing, so that the same machine always makes the same bytes.
benchmarks/cam_inference.py has what it gives; docs/performance.md says why ResNet38d is left as it is.
"""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn

from wsss.nets.backbones import ResNet
from wsss.nets.norm import BatchNorm
from wsss.nets.residual import BasicBlock, Bottleneck

Network = TypeVar("Network", bound=nn.Module)


def ready_to_infer(network: Network, device: torch.device, dtype: torch.dtype | None = None) -> Network:
    """`network` on its device, in channels_last and eval; its ResNets fused where that is exact to rounding and faster.

    It can infer only: what it holds is no longer its state dict, and has no gradients. dtype: the reduced type that
    it is run in (`autocast_dtype`), None for float32; fused layers know float32 alone. Maps differ by less than
    1e-5 of the largest from those of the layers apart.
    """
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    if device.type == "cpu" and dtype is None and has_fused_layers():
        for trunk in [module for module in network.modules() if isinstance(module, ResNet)]:
            _fuse(trunk)
    return network


def has_fused_layers() -> bool:
    """Whether this build of PyTorch has oneDNN's convolutions with further operations."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class FusedConv(nn.Module):
    """A convolution with the BatchNorm behind it folded in, then ReLU, or a sum and ReLU: (B, c, H, W) float32, no gradients."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, norm: BatchNorm, relu: bool = True) -> None:
        super().__init__()
        scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
        weight = (conv.weight.double() * scale.view(-1, 1, 1, 1)).float()
        self.register_buffer("weight", weight.detach().contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", (norm.bias.double() - norm.running_mean.double() * scale).float().detach())
        self.layout = conv.padding, conv.stride, conv.dilation, conv.groups
        self.after = "relu" if relu else "none"

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.layout, self.after, [], "")

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        """relu(other + convolution of x); `other` stays as it is, since a tap may be read again."""
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, self.weight, self.bias, *self.layout, "add", 1.0, "relu", [], ""
        )


class FusedBlock(nn.Module):
    """A BasicBlock or Bottleneck of fused convolutions."""

    def __init__(self, convs: Iterable[FusedConv], last: FusedConv, shortcut: FusedConv | None) -> None:
        super().__init__()
        self.convs, self.last, self.shortcut = nn.Sequential(*convs), last, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.last.added_to(x if self.shortcut is None else self.shortcut(x), self.convs(x))


def _fuse(trunk: ResNet) -> None:
    stem = FusedConv(trunk.conv1, trunk.bn1)
    trunk.add_module("conv1", stem)
    trunk.add_module("bn1", nn.Identity())
    trunk.add_module("relu", nn.Identity())
    for stage in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        for name, block in stage.named_children():
            stage.add_module(name, _fused_block(block))


def _fused_block(block: nn.Module) -> FusedBlock:
    assert isinstance(block, BasicBlock | Bottleneck)
    pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block, Bottleneck):
        pairs.append((block.conv3, block.bn3))
    *before, last = pairs
    shortcut = None
    if isinstance(block.downsample, nn.Sequential):
        conv, norm = block.downsample
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNorm)
        shortcut = FusedConv(conv, norm, relu=False)
    return FusedBlock([FusedConv(*pair) for pair in before], FusedConv(*last), shortcut)
