"""The boundary network of IRN (CVPR 2019): five taps of a frozen backbone to boundaries and, on request, displacements.

The displacement branch shares no trainable parameter with the edge branch, so it has no influence at all on
boundary maps and semantic masks; it is off unless asked for (`displacement: true`, the published network).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.nets.backbones import build_backbone, load_pretrained
from wsss.refine.irn import irn_losses, label_grid
from wsss.refine.pairs import require_pairs
from wsss.refine.paths import path_index

STRIDE = 4


@dataclass
class IrnOut:
    """edge (B, h, w) logits at stride 4; displacement (B, 2, h, w) = (dy, dx) in cells, or None."""

    edge: Tensor
    displacement: Tensor | None


def _block(inputs: int, outputs: int, groups: int, upsample: int = 1) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.GroupNorm(groups, outputs)]
    if upsample > 1:
        layers.append(nn.Upsample(scale_factor=upsample, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def _crop(x: Tensor, like: Tensor) -> Tensor:
    return x[..., : like.shape[-2], : like.shape[-1]]


class EdgeBranch(nn.Module):
    """Five taps -> 32 channels each -> one boundary logit at stride 4."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        ups = [stride // STRIDE for stride in strides]
        self.taps = nn.ModuleList(_block(c, 32, 4, up) for c, up in zip(channels, ups, strict=True))
        self.score = nn.Conv2d(5 * 32, 1, 1)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        maps = [_crop(block(x), taps[1]) for block, x in zip(self.taps, taps, strict=True)]
        return self.score(torch.cat(maps, dim=1)).squeeze(1)


class DisplacementBranch(nn.Module):
    """Five taps -> (dy, dx) to the instance centroid, in stride-4 cells."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        outputs, groups = (64, 128, 256, 256, 256), (8, 16, 16, 16, 16)
        ups = [1, 1, *(stride // (2 * STRIDE) for stride in strides[2:])]
        self.taps = nn.ModuleList(map(_block, channels, outputs, groups, ups))
        self.deep = _block(3 * 256, 256, 16, 2)
        self.all = _block(64 + 128 + 256, 256, 16)
        self.score = nn.Conv2d(256, 2, 1, bias=False)
        # The mean over a data set, subtracted at inference only; 0 until `estimate_mean_shift`.
        self.mean_shift: Tensor
        self.register_buffer("mean_shift", torch.zeros(2))

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        x1, x2, x3, x4, x5 = (block(x) for block, x in zip(self.taps, taps, strict=True))
        deep = self.deep(torch.cat([x3, _crop(x4, x3), _crop(x5, x3)], dim=1))
        out = self.score(self.all(torch.cat([x1, x2, _crop(deep, x2)], dim=1)))
        return out if self.training else out - self.mean_shift.view(1, 2, 1, 1)


class IrnNet(nn.Module):
    """Frozen backbone (output stride 16; resnet38d: 8) with an edge branch and, on request, a displacement branch."""

    def __init__(
        self, backbone: str, radius: float = 10, displacement: bool = False, pad_to: int | str = "none"
    ):
        """Random weights come from torch's global generator, which the caller seeds.

        Args:
            backbone: name of wsss.nets.backbones; its ImageNet weights, not the classifier's, belong here.
            radius: of the training pairs; the walk's radius (5) is another option.
            pad_to: the canvas of inference, see `canvas`; published: 512 for VOC, "none" for COCO.
        """
        super().__init__()
        self.index, self.pad_to = path_index(radius), pad_to
        self.backbone = build_backbone(backbone).requires_grad_(False)
        taps = self.backbone.out_channels, self.backbone.tap_strides
        self.edge = EdgeBranch(*taps)
        self.displacement = DisplacementBranch(*taps) if displacement else None
        self.train(self.training)

    def train(self, mode: bool = True) -> "IrnNet":
        """As usual, but the frozen backbone stays in eval."""
        super().train(mode)
        self.backbone.eval()
        return self

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load ImageNet weights strictly. Raises UserError on a mismatch."""
        load_pretrained(self.backbone, state)

    def param_groups(self) -> list[dict]:
        """Published learning rates: edge 0.1, displacement 1.0; hence the scale of 10 on an lr of 0.1."""
        branches = [(self.edge, 1.0), (self.displacement, 10.0)]
        return [
            {"params": list(branch.parameters()), "lr_scale": scale, "weight_decay": None}
            for branch, scale in branches
            if branch is not None
        ]

    def forward(self, images: Tensor) -> IrnOut:
        """(B, 3, H, W) normalised images -> maps of (H - 1) // 4 + 1 by (W - 1) // 4 + 1 cells."""
        with torch.no_grad():
            taps = self.backbone(images)
        return IrnOut(self.edge(taps), self.displacement(taps) if self.displacement is not None else None)

    def loss(self, batch: Mapping, step: int = 0) -> dict[str, Tensor]:
        """Pair losses of a batch: image (B, 3, S, S) and label (B, S, S) uint8 class ids, 255 = ignore.

        Finite for every batch, also where all is ignored. Raises UserError when the crop is too small for
        the radius.
        """
        out = self(batch["image"])
        require_pairs("irn", out.edge.shape[-2:], STRIDE, self.index)
        labels = label_grid(batch["label"], out.edge.shape[-2:])
        return irn_losses(out.edge, out.displacement, labels, self.index)

    @torch.no_grad()
    def edge_maps(self, views: Tensor) -> Tensor:
        """Boundary probabilities (B, h, w) from (2B, 3, H, W): B images, then the same B mirrored.

        The two LOGITS are averaged, then squashed. Any H, W >= 1; h = (H - 1) // 4 + 1.
        """
        height, width = views.shape[-2:]
        rows, cols = (height - 1) // STRIDE + 1, (width - 1) // STRIDE + 1
        logits = self(self._padded(views)).edge[:, :rows, :cols].float()
        plain, mirrored = logits.chunk(2)
        return ((plain + mirrored.flip(-1)) / 2).sigmoid()

    def _padded(self, views: Tensor) -> Tensor:
        # Zeros after normalisation are the mean colour.
        height, width = views.shape[-2:]
        rows, cols = canvas((height, width), self.pad_to)
        return F.pad(views, (0, cols - width, 0, rows - height))

    @torch.no_grad()
    def estimate_mean_shift(self, batches: Iterable[Tensor]) -> None:
        """Store the mean displacement over batches (B, 3, S, S); only instance masks would use it."""
        if self.displacement is None:
            raise ValueError("displacement: false: this network has no mean shift")
        self.eval()
        self.displacement.mean_shift.zero_()
        means = [self(images).displacement.float().mean(dim=(0, 2, 3)) for images in batches]
        self.displacement.mean_shift.copy_(torch.stack(means).mean(dim=0))


def canvas(size_hw: tuple[int, int], pad_to: int | str) -> tuple[int, int]:
    """Size that the boundary network sees an image of `size_hw` at, filled up below and to the right.

    GroupNorm takes its statistics over all of it, so the same image has other boundaries on another canvas.
    pad_to: a number of pixels: a side shorter than that is filled up, a longer one stays as it is (the released
    code crops it), the other being filled up still, so that a pixel more does not turn the statistics over;
    "multiples_of_16": both sides to the next one; "none": the image as it is.
    """
    height, width = size_hw
    if pad_to == "none":
        return height, width
    if pad_to == "multiples_of_16":
        return height + -height % 16, width + -width % 16
    return max(height, int(pad_to)), max(width, int(pad_to))
