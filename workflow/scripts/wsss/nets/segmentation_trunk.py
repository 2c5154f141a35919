"""The trunk of a segmentation net: dilated, and with BatchNorm that learns as much as one wants."""

from torch import nn

from wsss.errors import UserError
from wsss.nets.backbones import ResNet, ResNet38d, build_backbone
from wsss.nets.norm import BatchNorm

# (strides, dilations) of layer2..layer4.
LAYOUTS = {8: ((2, 1, 1), (1, 2, 4)), 16: ((2, 2, 1), (1, 1, 2))}


def build_trunk(backbone: str, output_stride: int, bn: str) -> ResNet | ResNet38d:
    """A dilated trunk with random weights.

    bn: "frozen": statistics, scale and offset of every BatchNorm are fixed; "statistics": those of the batch are
    used and running ones learn, scale and offset are fixed; "train": ordinary BatchNorm.
    Raises UserError for an output stride other than 8 or 16, or one that the trunk does not have.
    """
    if output_stride not in LAYOUTS:
        raise UserError(f"output_stride: {output_stride} is not possible; choose 8 or 16")
    strides, dilations = LAYOUTS[output_stride]
    trunk = build_backbone(backbone, strides, dilations, "train" if bn == "statistics" else bn)
    if bn != "train":
        freeze_affine(trunk)
    return trunk


def freeze_affine(module: nn.Module) -> None:
    """Fix scale and offset of every BatchNorm inside `module`."""
    for child in module.modules():
        if isinstance(child, BatchNorm):
            child.requires_grad_(False)
