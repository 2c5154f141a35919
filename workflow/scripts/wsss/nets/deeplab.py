"""DeepLab-V2 for the segmentation stage, trained as in kazuto1011/deeplab-pytorch."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.constants import IGNORE
from wsss.nets.backbones import load_pretrained
from wsss.nets.heads import ASPP, balanced_mean, resize_label, valid_mean
from wsss.nets.segmentation_trunk import build_trunk
from wsss.nets.segmenter import SegmentationNet
from wsss.sections.section import defaults_of
from wsss.sections.segmenter_options import DeepLabV2Options

DEFAULTS = defaults_of(DeepLabV2Options)


class DeepLabV2(SegmentationNet):
    """Dilated ResNet + ASPP (Chen et al., TPAMI 2018) over `num_classes` foreground classes + background.

    Options (defaults in DEFAULTS): output_stride 8 | 16; aspp_dilations; msc (multi-scale loss) with
    its extra scales msc_scales; balanced (balanced cross-entropy); freeze and bn
    of the trunk as in `build_backbone` (kazuto1011: all of BatchNorm is fixed, all else learns); head_lr_scale (ASPP
    weights; its biases get twice that).
    """

    def __init__(self, num_classes: int, backbone: str = "resnet101", options: Mapping | None = None):
        super().__init__()
        self.num_classes = num_classes
        self.options = {**DEFAULTS, **(options or {})}
        self.backbone = build_trunk(backbone, *(self.options[key] for key in ("output_stride", "bn", "freeze")))
        self.aspp = ASPP(self.backbone.out_channels[-1], num_classes + 1, self.options["aspp_dilations"])

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load backbone weights strictly (UserError on mismatch)."""
        load_pretrained(self.backbone, state, "segmentation weights")

    def param_groups(self) -> list[dict]:
        """Backbone x1, ASPP weights x10, ASPP biases x20 without weight decay."""
        scale = self.options["head_lr_scale"]
        backbone = [p for p in self.backbone.parameters() if p.requires_grad]
        return [
            {"params": backbone, "lr_scale": 1.0, "weight_decay": None},
            {"params": self.aspp.weights(), "lr_scale": scale, "weight_decay": None},
            {"params": self.aspp.biases(), "lr_scale": 2 * scale, "weight_decay": 0.0},
        ]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits to be trained: of the image, with msc also of each smaller scale on its own grid, and
        last the element-wise maximum of all on the full image's grid. image (B, 3, H, W)."""
        logits = self.predict_logits(image)
        if not self.options["msc"]:
            return [logits]
        smaller = [self.predict_logits(_rescale(image, s)) for s in self.options["msc_scales"]]
        return [logits, *smaller, _maximum(logits, smaller)]

    def loss(self, batch: Mapping, step: int) -> dict[str, Tensor]:
        """Cross-entropy summed (not averaged) over the outputs of `forward`, as kazuto1011 does.

        batch: image (B, 3, H, W) float32, label (B, H, W) integer, 0 = background, 255 = ignore; labels are
        nearest-resized to each output's grid. {"total", "full", "scales"}; 0 where every pixel is ignored.
        """
        terms = [self.pixel_loss(logits, batch["label"]) for logits in self(batch["image"])]
        total = torch.stack(terms).sum()
        return {"total": total, "full": terms[0].detach(), "scales": (total - terms[0]).detach()}

    def pixel_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """(Balanced) cross-entropy of logits (B, C+1, h, w) against label (B, H, W)."""
        label = resize_label(label, logits.shape[-2:])
        pixels = F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction="none")
        return balanced_mean(pixels, label) if self.options["balanced"] else valid_mean(pixels, label)

    def predict_logits(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) -> logits (B, C+1, h, w), background first, h = ceil(H / output stride)."""
        return self.aspp(self.backbone(image)[-1])


def _rescale(image: Tensor, scale: float) -> Tensor:
    size = [max(1, int(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def _maximum(logits: Tensor, smaller: list[Tensor]) -> Tensor:
    size = logits.shape[-2:]
    resized = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in smaller]
    return torch.stack([logits, *resized]).amax(0)
