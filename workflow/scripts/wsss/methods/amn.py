"""AMN, Activation Manipulation Network (Lee et al., CVPR 2022): per-pixel classification of the refined
seeds with label conditioning."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.constants import IGNORE
from wsss.errors import UserError
from wsss.io.grids import pack_foreground, walk_grid
from wsss.methods.base import (
    CamOut,
    Method,
    Spec,
    flip_pair_sum,
    group,
    present,
    resize,
    trainable,
)
from wsss.methods.options.amn import AMNOptions
from wsss.nets.backbones import STRIDES, Trunk, build_backbone
from wsss.nets.heads import ASPP, balanced_mean, resize_label
from wsss.sections.section import defaults_of, typed


class AMN(Method):
    """ResNet features, scaled channel-wise by an encoding of the image labels, then dropout and ASPP.

    Options: freeze and bn of the backbone as in `build_backbone`; output_stride 8 | 16 | 32; aspp_dilations (the published
    6..24 are cells, so small images want less); dropout; label_smoothing (epsilon of the balanced loss);
    mask_trick (stretch the probabilities only where the first-stage label is not background: read again
    at inference); head_lr_scale (label encoder and ASPP over backbone, published 1e-4 over 5e-6).
    """

    backbone: Trunk
    defaults = defaults_of(AMNOptions)
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
            needs=frozenset({"ir_labels"}),
            aux=typed(options, AMNOptions).aux(),
            geometry="stretch",
            form="softmax",
            norm="min_max",
            image_logits=False,
        )

    def param_groups(self):
        scale = self.options["head_lr_scale"]
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
    def seed_maps(self, views, y):
        """Mean logits of the flip pair, (B, C+1, h, w): AMN averages over flips and scales before the softmax."""
        batch = {"image": views, "y": y.repeat(2, 1)}
        return flip_pair_sum(self(batch, frozenset({"maps"})).maps.float()) / 2

    def stored(self, maps, y, size_hw, aux):
        """Logits of the present classes; `rest`, what all others add to the softmax; `foreground` for the mask trick.

        The softmax is over ALL classes and comes after the resize to image size, min-max after it; with mask_trick,
        pixels that aux["ir_labels"] ((H, W) uint8) calls background keep the probability. Raises UserError if that
        label is missing.
        """
        extras = {}
        if self.options["mask_trick"]:
            if aux.get("ir_labels") is None:
                raise UserError("ir_labels: missing for AMN's mask trick; make them first or set mask_trick: false")
            extras["foreground"] = pack_foreground(aux["ir_labels"])
        rows, rest = relative_logits(maps, y, walk_grid(size_hw))
        return rows, {"rest": rest.cpu().numpy(), **extras}


def relative_logits(maps: Sequence[Tensor], y: Tensor, grid: tuple[int, int]) -> tuple[list[Tensor], Tensor]:
    """Logits (C+1, h, w) a scale -> those of the present classes (K, h, w) a scale, and `rest` (1, *grid).

    `rest` is the log-sum-exp, over background and absent classes, of their logits averaged over scales: not linear,
    so it lies on a grid of its own and is resized again by readers. All logits are taken over the mean of these classes,
    which changes no softmax and is linear: what is left in `rest` is flat, loses little in a resize, and like the
    rows, less the mean of `rest`, lies where float16 is fine.
    """
    others = torch.cat([y.new_zeros(1), y]) <= 0
    means = [one[others].mean(0, keepdim=True) for one in maps]
    over_mean = [resize((one[others] - mean)[None], grid)[0] for one, mean in zip(maps, means, strict=True)]
    rest = (reduce(add, over_mean) / len(maps)).logsumexp(0, keepdim=True)
    level = rest.mean()
    return [one[1:][present(y)] - mean - level for one, mean in zip(maps, means, strict=True)], rest - level


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
