"""AMN, Activation Manipulation Network (Lee et al., CVPR 2022): per-pixel classification of the refined
seeds with label conditioning."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.errors import UserError
from wsss.methods.base import (
    CamOut,
    Method,
    Spec,
    flip_pair_sum,
    group,
    min_max,
    present,
    resize,
    trainable,
)
from wsss.nets.backbones import STRIDES, build_backbone
from wsss.nets.heads import ASPP, ASPP_DILATIONS, IGNORE, balanced_mean, resize_label


class AMN(Method):
    """ResNet features, scaled channel-wise by an encoding of the image labels, then dropout and ASPP.

    Options: freeze and bn of the backbone as in `build_backbone`; output_stride 8 | 16 | 32; aspp_dilations (the published
    6..24 are cells, so small images want less); dropout; label_smoothing (epsilon of the balanced loss);
    mask_trick (stretch the probabilities only where the first-stage label is not background: read again
    at inference); head_lr_scale (label encoder and ASPP over backbone, published 1e-4 over 5e-6).
    """

    defaults = {
        "freeze": "stem",
        "bn": "statistics",
        "output_stride": 16,
        "aspp_dilations": ASPP_DILATIONS,
        "dropout": 0.1,
        "label_smoothing": 0.4,
        "mask_trick": True,
        "head_lr_scale": 20.0,
    }
    loss_want = frozenset({"maps"})

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        strides = STRIDES[self.options["output_stride"]]
        self.backbone = build_backbone(backbone, strides, bn=self.options["bn"], freeze=self.options["freeze"])
        channels = self.backbone.out_channels[-1]
        self.label_encoder = nn.Linear(num_classes, channels)
        self.dropout = nn.Dropout(self.options["dropout"])
        self.classifier = ASPP(channels, num_classes + 1, self.options["aspp_dilations"])

    @classmethod
    def spec_for(cls, options=None):
        options = {**cls.defaults, **(options or {})}
        return Spec(
            stride=options["output_stride"],
            needs=frozenset({"offline_labels"}),
            aux=frozenset({"ir_labels"} if options["mask_trick"] else ()),
            geometry="stretch",
            norm="none",
            image_logits=False,
        )

    def param_groups(self, options=None):
        scale = {**self.options, **(options or {})}["head_lr_scale"]
        head = trainable(self.label_encoder, self.classifier)
        return [group(trainable(self.backbone)), group(head, scale)]

    def forward(self, batch, want=frozenset({"maps"})):
        """maps: logits (B, C+1, h, w), background first; the net has no image-level logits."""
        features = self.backbone(batch["image"])
        out = CamOut()
        if "maps" in want:
            conditioned = features[-1] * self.label_encoder(batch["y"])[:, :, None, None]
            out.maps = self.classifier(self.dropout(conditioned))
        if "features" in want:
            out.features = {f"x{i}": tap for i, tap in enumerate(features, start=1)}
        return out

    def loss(self, batch, out, step):
        """Balanced cross-entropy against smoothed labels; 0 for a batch of ignored pixels."""
        label = resize_label(batch["label"], out.maps.shape[-2:])
        pixels = smoothed_cross_entropy(out.maps, label, self.options["label_smoothing"])
        return {"total": balanced_mean(pixels, label)}

    @torch.no_grad()
    def seed_maps(self, views, y, grid):
        """Mean logits of the flip pair: AMN averages over flips and scales before the softmax."""
        batch = {"image": views, "y": y.repeat(2, 1)}
        maps = self(batch, frozenset({"maps"})).maps.float()
        return resize(flip_pair_sum(maps) / 2, grid)

    def finalise(self, acc, n_scales, y, aux):
        """Softmax over ALL classes of the mean logits, present ones kept, min-max per class.

        With mask_trick, pixels that aux["ir_labels"] ((H, W) uint8) calls background keep the probability.
        Raises UserError if that label is missing.
        """
        probs = (acc / n_scales).softmax(0)[present(y) + 1]
        stretched = min_max(probs)
        if not self.options["mask_trick"]:
            return stretched
        return torch.where(_background(aux, acc), probs, stretched)


def smoothed_cross_entropy(logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
    """Per-pixel cross-entropy with target 1 - smoothing at the label, the rest shared by the other classes.

    logits (B, n, h, w), label (B, h, w) int64 -> (B, h, w) float32; ignored pixels (255) get some finite
    value, for the caller to leave out.
    """
    log_probs = F.log_softmax(logits.float(), dim=1)
    other = smoothing / (logits.shape[1] - 1)
    safe_label = torch.where(label == IGNORE, 0, label)
    at_label = log_probs.gather(1, safe_label[:, None])[:, 0]
    return -(1 - smoothing - other) * at_label - other * log_probs.sum(1)


def _background(aux, acc: Tensor) -> Tensor:
    if aux.get("ir_labels") is None:
        raise UserError("ir_labels: missing for AMN's mask trick; make them first or set mask_trick: false")
    label = torch.from_numpy(np.ascontiguousarray(aux["ir_labels"])).to(acc.device)
    return resize_label(label[None], acc.shape[-2:])[0] == 0
