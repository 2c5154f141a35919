"""Per-pixel classification: the ASPP head of DeepLab-V2, label resizing, masked pixel losses."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from wsss.constants import IGNORE
from wsss.ranks import mean_over_ranks, world

ASPP_DILATIONS = (6, 12, 18, 24)


class ASPP(nn.Module):
    """Sum of parallel 3x3 dilated convolutions (DeepLab-V2): (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int, dilations: Sequence[int] = ASPP_DILATIONS):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, 3, padding=d, dilation=d) for d in dilations
        )
        for weight, bias in zip(self.weights(), self.biases(), strict=True):
            nn.init.normal_(weight, std=0.01)
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return reduce(add, (conv(x) for conv in self.convs))

    def weights(self) -> list[nn.Parameter]:
        return [value for name, value in self.convs.named_parameters() if name.endswith("weight")]

    def biases(self) -> list[nn.Parameter]:
        return [value for name, value in self.convs.named_parameters() if name.endswith("bias")]


def resize_label(label: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest-neighbour resize: label (B, H, W) -> (B, h, w) int64.

    Picks the pixel whose area holds the target's centre, as PIL does (at 1/16 pixel 16 i + 8);
    torch's and OpenCV's `nearest` pick 16 i, half a cell off from bilinear upsampling.
    """
    rows, columns = (
        torch.div((2 * torch.arange(new, device=label.device) + 1) * old, 2 * new, rounding_mode="floor")
        for new, old in zip(size, label.shape[-2:], strict=True)
    )
    return label[:, rows][:, :, columns].long()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is set; 0 with zero gradient where it is set nowhere."""
    return (values * mask).sum() / mean_over_ranks(mask.sum()).clamp(min=1 / world())


def valid_mean(pixel_loss: Tensor, label: Tensor) -> Tensor:
    """Mean over the pixels that are not ignored; pixel_loss and label (B, h, w)."""
    return masked_mean(pixel_loss, label != IGNORE)


def balanced_mean(pixel_loss: Tensor, label: Tensor) -> Tensor:
    """Half the mean over background pixels plus half that over foreground pixels of the batch.

    The balanced loss of AMN (CVPR 2022); a group without pixels adds 0 where the published code
    divides by zero. pixel_loss and label (B, h, w); 255 is in neither group.
    """
    foreground = (label > 0) & (label != IGNORE)
    return (masked_mean(pixel_loss, label == 0) + masked_mean(pixel_loss, foreground)) / 2
