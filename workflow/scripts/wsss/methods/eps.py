"""EPS, Explicit Pseudo-pixel Supervision (Lee et al., CVPR 2021): image labels say which classes are there,
saliency maps where something is; and the classifier it is measured against."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.methods.base import (
    CamOut,
    Method,
    Spec,
    flip_pair_sum,
    group,
    multilabel_soft_margin,
    trainable,
)
from wsss.methods.options.eps import EPSBaseOptions, EPSOptions
from wsss.nets.backbones import STRIDES, Trunk, build_backbone, field_keeping
from wsss.sections.section import defaults_of


class EPSBase(Method):
    """The baseline: trunk, dropout, global average pooling, 1x1 classifier without bias.

    Options: freeze and bn of the trunk as in `build_backbone`; output_stride 8 | 16 | 32; dilated (a ResNet's layers keep
    their field of view, as in DeepLab; ResNet38d has dilations of its own); dropout (of whole channels);
    head_lr_scale (learning rate of the classifier over that of the trunk).
    """

    backbone: Trunk
    defaults = defaults_of(EPSBaseOptions)
    background = 0  # channels of the classifier that come before the classes

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        strides = STRIDES[self.options["output_stride"]]
        dilations = field_keeping(strides) if self.options["dilated"] else (1, 1, 1)
        self.backbone = build_backbone(backbone, strides, dilations, self.options["bn"], self.options["freeze"])
        self.dropout = nn.Dropout2d(self.options.get("dropout", 0.0))
        channels = self.backbone.out_channels[-1]
        self.classifier = nn.Conv2d(channels, num_classes + self.background, 1, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, geometry="stretch", norm="max")

    def param_groups(self):
        scale = self.options["head_lr_scale"]
        return [group(trainable(self.backbone)), group(trainable(self.classifier), scale)]

    def forward(self, batch, want=frozenset({"logits"})):
        """maps (B, C, h, w), for EPS (B, C+1, h, w), raw; logits (B, C): their mean over all cells.

        Pooling comes before dropout and classifier: both treat a channel as a whole, so this is what the
        published order gives, without a second full-size feature map.
        """
        features = self.backbone(batch["image"])
        out = CamOut()
        if "maps" in want:
            out.maps = self.classifier(features[-1])
        if "logits" in want:
            pooled = features[-1].mean((-2, -1), keepdim=True)
            out.logits = self.classifier(self.dropout(pooled)).flatten(1)[:, self.background :]
        if "features" in want:
            out.features = {f"x{i}": tap for i, tap in enumerate(features, start=1)}
        return out

    def loss(self, batch, out, step):
        return {"total": multilabel_soft_margin(out.logits, batch["y"])}

    def activation(self, maps: Tensor) -> Tensor:
        """Raw maps (2B, n, h, w) -> what is summed over mirror images and scales, (2B, C, h, w)."""
        return maps.relu()

    @torch.no_grad()
    def seed_maps(self, views, y):
        """Activation at the net's own stride, before any resize; flips are summed."""
        maps = self({"image": views}, frozenset({"maps"})).maps.float()
        return flip_pair_sum(self.activation(maps))


class EPS(EPSBase):
    """One channel more, the background, and the saliency loss beside the classification loss.

    Options: those of EPSBase without dropout; tau (a present class whose overlap with the salient area is at
    most that counts as background); lambda (weight of the foreground's map over the background's).
    """

    defaults = defaults_of(EPSOptions)
    background = 1
    loss_want = frozenset({"logits", "maps"})

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, needs=frozenset({"saliency"}), geometry="stretch", norm="max")

    def loss(self, batch, out, step):
        """Classification (no target for the background) + saliency, 1 : 1."""
        cls = multilabel_soft_margin(out.logits, batch["y"])
        tau, weight = self.options["tau"], self.options["lambda"]
        saliency = saliency_loss(out.maps, batch["saliency"], batch["y"], tau, weight)
        return {"total": cls + saliency, "cls": cls, "saliency": saliency}

    def activation(self, maps):
        """Softmax over classes and background; the background's map is trained, but not used."""
        return maps.softmax(1)[:, 1:]


def saliency_loss(maps: Tensor, saliency: Tensor, y: Tensor, tau: float, weight: float) -> Tensor:
    """Mean squared distance between the saliency map and the one that the class maps add up to.

    maps (B, C+1, h, w) logits, background first; saliency (B, 1, H, W) in [0, 1], soft; y (B, C) multi-hot.
    With F the present classes that lie on salient ground and B the others and the background, the estimate is
    weight * sum of F + (1 - weight) * (1 - sum of B). Absent classes are in neither.
    """
    target = nearest_corner(saliency, maps.shape[-2:]).float()
    probs = maps.float().softmax(1)
    classes = probs[:, 1:]
    salient = (y > 0) & (overlap(classes.detach(), target) > tau)
    unsalient = (y > 0) & ~salient
    foreground = (classes * salient[..., None, None]).sum(1)
    background = probs[:, 0] + (classes * unsalient[..., None, None]).sum(1)
    estimate = weight * foreground + (1 - weight) * (1 - background)
    return F.mse_loss(estimate, target[:, 0])


def overlap(probs: Tensor, saliency: Tensor) -> Tensor:
    """Share of each class's area that is salient, 0 for a class without area.

    probs (B, C, h, w), saliency (B, 1, h, w) -> (B, C). Both are cut at > 0.5. The reference adds 1e-4 to every
    pixel of the area, so that a class on a few pixels has a lower share than its pixels say.
    """
    area = probs > 0.5
    hits = (area & (saliency > 0.5)).sum((-2, -1))
    cells = probs.shape[-2] * probs.shape[-1]
    return hits / (area.sum((-2, -1)) + 1e-4 * cells)


def nearest_corner(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(B, c, H, W) -> (B, c, h, w): cell i takes pixel floor(H i / h), the corner, as torch's `nearest` does."""
    for dim, cells in zip((-2, -1), size, strict=True):
        side = maps.shape[dim]
        picked = torch.arange(cells, device=maps.device) * side // cells
        maps = maps.index_select(dim, picked)
    return maps
