"""Class activation maps (Zhou et al., CVPR 2016) as IRN (CVPR 2019) trains and extracts them."""

import torch
from torch import nn

from wsss.methods.base import (
    CamOut,
    Method,
    Spec,
    flip_pair_sum,
    group,
    multilabel_soft_margin,
    trainable,
)
from wsss.methods.options.cam import CAMOptions
from wsss.nets.backbones import STRIDES, Trunk, build_backbone
from wsss.sections.section import defaults_of


class CAM(Method):
    """ResNet, global average pooling, 1x1 classifier without bias.

    Options: freeze and bn of the backbone as in `build_backbone` (IRN cuts the gradient behind layer2, and lets scale and
    offset of the BatchNorms behind the cut learn); output_stride 8 | 16 | 32; head_lr_scale (learning rate of the
    classifier over that of the backbone). Nets trained from scratch want freeze none, bn train.
    """

    backbone: Trunk
    defaults = defaults_of(CAMOptions)

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        strides = STRIDES[self.options["output_stride"]]
        self.backbone = build_backbone(backbone, strides, bn=self.options["bn"], freeze=self.options["freeze"])
        self.classifier = nn.Conv2d(self.backbone.out_channels[-1], num_classes, 1, bias=False)

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, geometry="pad16" if stride == 16 else "stretch")  # the padding up to a multiple of 16 is of stride 16

    def new_layers(self) -> list[nn.Module]:
        """What no pretrained weights exist for."""
        return [self.classifier]

    def param_groups(self):
        scale = self.options["head_lr_scale"]
        return [group(trainable(self.backbone)), group(trainable(*self.new_layers()), scale)]

    def forward(self, batch, want=frozenset({"logits"})):
        features = self.backbone(batch["image"])
        out = CamOut()
        if "maps" in want:
            out.maps = self.classifier(features[-1])
        if "logits" in want:
            pooled = features[-1].mean((-2, -1), keepdim=True)
            out.logits = self.classifier(pooled).flatten(1)
        if "features" in want:
            out.features = {f"x{i}": tap for i, tap in enumerate(features, start=1)}
        return out

    def loss(self, batch, out, step):
        return {"total": multilabel_soft_margin(out.logits, batch["y"])}

    @torch.no_grad()
    def seed_maps(self, views, y):
        """ReLU before every sum, of the flip pair and of the scales."""
        return flip_pair_sum(self({"image": views}, frozenset({"maps"})).maps.float().relu())
