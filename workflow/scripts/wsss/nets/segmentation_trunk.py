"""The trunk of a segmentation net: dilated, of which as much learns as one wants."""

from wsss.errors import UserError
from wsss.nets.backbones import ResNet, ResNet38d, build_backbone

# (strides, dilations) of layer2..layer4.
LAYOUTS = {8: ((2, 1, 1), (1, 2, 4)), 16: ((2, 2, 1), (1, 1, 2))}


def build_trunk(backbone: str, output_stride: int, bn: str, freeze: str = "none") -> ResNet | ResNet38d:
    """A dilated trunk with random weights; bn and freeze as in `build_backbone`.

    Raises UserError for an output stride other than 8 or 16, or one that the trunk does not have.
    """
    if output_stride not in LAYOUTS:
        raise UserError(f"output_stride: {output_stride} is not possible; choose 8 or 16")
    return build_backbone(backbone, *LAYOUTS[output_stride], bn, freeze)
