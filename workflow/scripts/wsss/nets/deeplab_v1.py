"""DeepLab-V1 with a large field of view, the segmentation net behind SEAM's and CPN's figures.

As trained in YudeWang/semantic-segmentation-codebase (experiment seamv1-pseudovoc), there on ResNet38d.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from wsss.constants import IGNORE
from wsss.nets.backbones import load_pretrained
from wsss.nets.heads import valid_mean
from wsss.nets.norm import BatchNorm, set_norm
from wsss.nets.segmentation_trunk import build_trunk
from wsss.nets.segmenter import SegmentationNet
from wsss.sections.section import defaults_of
from wsss.sections.segmenter_options import DeepLabV1Options

DEFAULTS = defaults_of(DeepLabV1Options)


class DeepLabV1(SegmentationNet):
    """Trunk, one dilated 3x3 and one 1x1 convolution (each with BatchNorm and ReLU), dropout, 1x1 classifier over
    `num_classes` foreground classes + background.

    Options (defaults in DEFAULTS): output_stride 8 | 16; fov_dilation and fov_channels of the head; dropout; freeze
    and bn of the trunk as in `build_backbone`, the head's scale and offset learning with "train" only; bn_momentum, the share of a
    batch in the running statistics (published 3e-4, far too little for trainings of a few hundred steps);
    head_lr_scale (the classifier's bias gets twice that).
    """

    def __init__(self, num_classes: int, backbone: str = "resnet38d", options: Mapping | None = None):
        super().__init__()
        self.num_classes = num_classes
        self.options = {**DEFAULTS, **(options or {})}
        self.backbone = build_trunk(backbone, *(self.options[key] for key in ("output_stride", "bn", "freeze")))
        width, dilation = self.options["fov_channels"], self.options["fov_dilation"]
        inputs = self.backbone.out_channels[-1]
        self.head = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Dropout(self.options["dropout"]),
            nn.Conv2d(width, num_classes + 1, 1),
        )
        for module in self.head:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        set_norm(self.head, "train" if self.options["bn"] == "train" else "affine")
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.momentum = self.options["bn_momentum"]

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load backbone weights strictly (UserError on mismatch)."""
        load_pretrained(self.backbone, state, "segmentation weights")

    def param_groups(self) -> list[dict]:
        """Trunk x1, head x10, the classifier's bias x20 without weight decay."""
        scale, bias = self.options["head_lr_scale"], self.head[-1].bias
        head = [p for p in self.head.parameters() if p.requires_grad and p is not bias]
        return [
            {"params": [p for p in self.backbone.parameters() if p.requires_grad], "lr_scale": 1.0, "weight_decay": None},
            {"params": head, "lr_scale": scale, "weight_decay": None},
            {"params": [bias], "lr_scale": 2 * scale, "weight_decay": 0.0},
        ]

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) -> logits (B, C+1, H, W), background first, upsampled corner to corner."""
        logits = self.head(self.backbone(image)[-1])
        return F.interpolate(logits.float(), size=image.shape[-2:], mode="bilinear", align_corners=True)

    predict_logits = forward

    def loss(self, batch: Mapping, step: int) -> dict[str, Tensor]:
        """Cross-entropy at image size over the pixels that are not ignored; 0 where all are.

        batch: image (B, 3, H, W) float32, label (B, H, W) integer, 0 = background, 255 = ignore.
        """
        label = batch["label"].long()
        pixels = F.cross_entropy(self(batch["image"]), label, ignore_index=IGNORE, reduction="none")
        return {"total": valid_mean(pixels, label)}
