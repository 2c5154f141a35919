"""AffinityNet (Ahn and Kwak, CVPR 2018) as SEAM (CVPR 2020) uses it: features whose distance says whether two
nearby cells belong together, learnt from two CRF passes over CAMs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from wsss.errors import UserError
from wsss.nets.backbones import STRIDES, build_backbone, load_pretrained
from wsss.refine.affinity import shifted, source_view
from wsss.refine.pairs import IGNORE, pair_losses, pair_types
from wsss.refine.paths import PathIndex, path_index

STRIDE = 8
SIDE = (64, 128, 256)  # channels taken from the last three taps
DILATIONS = (1, 2, 4)  # of a ResNet's layer2..layer4, as in DeepLab


class AffinityNet(nn.Module):
    """Backbone of output stride 8 -> features (B, 448, h, w), h = (H - 1) // 8 + 1; nothing is detached.

    Args:
        backbone: name of wsss.nets.backbones; published with resnet38d.
        radius: of the training pairs, in cells.
        dilated: a ResNet's layers are dilated as in DeepLab; no effect on resnet38d.
        freeze, bn: of the backbone, as in `build_backbone`.
        head_lr_scale: learning rate of the four 1x1 convolutions over the backbone's.
    """

    def __init__(
        self,
        backbone: str,
        radius: float = 5,
        dilated: bool = True,
        freeze: str = "stage1",
        bn: str = "frozen",
        head_lr_scale: float = 10.0,
    ):
        super().__init__()
        self.index, self.head_lr_scale = path_index(radius), float(head_lr_scale)
        self.backbone = build_backbone(backbone, STRIDES[STRIDE], DILATIONS if dilated else (1, 1, 1), bn, freeze)
        taps = zip(self.backbone.out_channels[-3:], SIDE, strict=True)
        self.side = nn.ModuleList(nn.Conv2d(inputs, outputs, 1, bias=False) for inputs, outputs in taps)
        self.all = nn.Conv2d(sum(SIDE), sum(SIDE), 1, bias=False)
        for weight in self.side.parameters():
            nn.init.kaiming_normal_(weight)
        nn.init.xavier_uniform_(self.all.weight, gain=4)

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load ImageNet weights strictly. Raises UserError on a mismatch."""
        load_pretrained(self.backbone, state)

    def param_groups(self) -> list[dict]:
        """Backbone x1, the four new convolutions x `head_lr_scale`."""
        trunk = [p for p in self.backbone.parameters() if p.requires_grad]
        head = [*self.side.parameters(), *self.all.parameters()]
        return [
            {"params": trunk, "lr_scale": 1.0, "weight_decay": None},
            {"params": head, "lr_scale": self.head_lr_scale, "weight_decay": None},
        ]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> features (B, 448, h, w)."""
        taps = self.backbone(images)[-3:]
        sides = [F.elu(conv(tap)) for conv, tap in zip(self.side, taps, strict=True)]
        return F.elu(self.all(torch.cat(sides, dim=1)))

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """(3, H, W) normalised, any size -> (448, ceil(H / 8), ceil(W / 8)); filled up with the mean colour."""
        height, width = image.shape[-2:]
        return self(F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE))[None])[0]

    def loss(self, batch: Mapping, step: int = 0) -> dict[str, Tensor]:
        """Pair losses of a batch: image (B, 3, S, S) and label (B, s, s) as of `cell_labels`.

        Finite for every batch, also where all is ignored. Raises UserError when the crop is too small for
        the radius.
        """
        features = self(batch["image"]).float()
        _check_grid(features.shape[-2:], self.index)
        return pair_losses(feature_affinity(features, self.index), *pair_types(batch["label"], self.index))


def _check_grid(size_hw: tuple[int, int], index: PathIndex) -> None:
    if min(index.source_shape(*size_hw)) < 1:
        raise UserError(
            f"affinitynet: crop of {size_hw[0] * STRIDE} x {size_hw[1] * STRIDE} pixels is too small for pairs of radius "
            f"{index.radius}; use a crop of at least {STRIDE * (2 * index.reach + 1)} pixels or a smaller radius"
        )


def feature_affinity(features: Tensor, index: PathIndex) -> Tensor:
    """exp(-mean over channels of |f_i - f_j|) of all pairs that training uses; differentiable once.

    (B, c, h, w), h > reach and w > 2 reach -> (B, D, h - reach, w - 2 reach) in (0, 1].
    """
    return _FeatureAffinity.apply(features, index)


class _FeatureAffinity(torch.autograd.Function):
    """Saves features and affinities only: plain autograd would keep every difference, 1.2 GB at batch 8."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, index: PathIndex) -> Tensor:
        source = source_view(features, index)
        targets = (shifted(features, dy, dx, index) for dy, dx in index.directions)
        out = torch.stack([(source - target).abs_().mean(1) for target in targets], dim=1).neg_().exp_()
        ctx.save_for_backward(features, out)
        ctx.index = index
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        features, out = ctx.saved_tensors
        index, total = ctx.index, torch.zeros_like(features)
        source, at_source = source_view(features, index), source_view(total, index)
        pull = grad * out / -features.shape[1]
        for d, (dy, dx) in enumerate(index.directions):
            part = (source - shifted(features, dy, dx, index)).sign_().mul_(pull[:, d, None])
            at_source += part
            target = shifted(total, dy, dx, index)
            target -= part
        return total, None


def cell_labels(probs: np.ndarray) -> np.ndarray:
    """Labels of stride-8 cells from the two CRF passes over an image.

    Args:
        probs: (2, K+1, S, S) probabilities, any scale, 0 in padding; the confident pass first, background
            first. S is filled up to a multiple of 8.

    Returns:
        (s, s) uint8 rows: the confident pass's class; 0 where the unsure pass says background; else 255, also
        where nothing is known. Rows are positions in the image's own list: pairs are compared within an image.
    """
    spare = -probs.shape[-1] % STRIDE
    probs = np.pad(probs, ((0, 0), (0, 0), (0, spare), (0, spare))) if spare else probs
    side = probs.shape[-1] // STRIDE
    cells = probs.reshape(*probs.shape[:2], side, STRIDE, side, STRIDE).sum(axis=(3, 5), dtype=np.float32)
    confident, unsure = cells.argmax(axis=1)
    label = np.where(confident == 0, IGNORE, confident)
    label[unsure == 0] = 0
    label[cells.sum(axis=(0, 1)) == 0] = IGNORE
    return label.astype(np.uint8)
