"""SEAM, Self-supervised Equivariant Attention Mechanism (Wang et al., CVPR 2020): class maps of an image and of
its smaller copy must agree, and maps averaged over like pixels teach both."""

import torch
from torch import Tensor

from wsss.methods.base import multilabel_soft_margin
from wsss.methods.pixel_correlation import (
    PixelCorrelationMethod,
    background_from,
    background_minimum,
    hardest_mean,
    image_logits,
    max_norm,
    only_largest,
    with_background,
)
from wsss.nets.pcm import stretch


class SEAM(PixelCorrelationMethod):
    """Options: those of PixelCorrelationMethod; second_scale (of the smaller copy)."""

    defaults = {**PixelCorrelationMethod.defaults, "second_scale": 0.3}

    def second_size(self, image: Tensor) -> tuple[int, int]:
        """Size of the smaller copy, rounded down, at least 1."""
        height, width = (max(1, int(side * self.options["second_scale"])) for side in image.shape[-2:])
        return height, width

    def further_views(self, batch):
        return {"second": stretch(batch["image"], self.second_size(batch["image"]))}

    def loss(self, batch, out, step):
        """Classification and rvmin of both views, equivariance, cross regularisation; all weights 1.

        Everything is compared at the size of the view, as published, not on the grid of the maps.
        """
        image, y, second = batch["image"], batch["y"], out.views["second"]
        size, small = image.shape[-2:], self.second_size(image)
        cams = stretch(out.maps.float(), size), stretch(second.maps.float(), small)
        refined = stretch(out.features["cam_rv"], size), stretch(second.features["cam_rv"], small)
        cls = sum(multilabel_soft_margin(image_logits(maps), y) for maps in cams) / 2
        rvmin = sum(background_minimum(maps, y) for maps in refined) / 2
        c1, c2, r1, r2 = (stretch(max_norm(maps), small) * with_background(y) for maps in (*cams, *refined))
        er = equivariance(c1, c2)
        ecr = cross_regularisation(c1, c2, r1, r2, self.options["hard_share"])
        return {"total": cls + rvmin + er + ecr, "cls": cls, "rvmin": rvmin, "er": er, "ecr": ecr}


def equivariance(c1: Tensor, c2: Tensor) -> Tensor:
    """ER: mean distance of both views' class maps (B, C+1, h, w); absent classes, 0 in both, count in the mean."""
    return (c1[:, 1:] - c2[:, 1:]).abs().mean()


def cross_regularisation(c1: Tensor, c2: Tensor, r1: Tensor, r2: Tensor, share: float) -> Tensor:
    """ECR: the refined maps r of one view follow the class maps c of the other, by their hardest values.

    All (B, C+1, h, w). The class maps are targets: no gradient reaches them.
    """
    targets = [strongest_class(background_from(maps.detach())) for maps in (c1, c2)]
    pairs = (targets[1], r1), (targets[0], r2)
    return sum(hardest_mean((target - maps).abs(), share) for target, maps in pairs)


def strongest_class(maps: Tensor) -> Tensor:
    """(B, C+1, h, w) -> of the classes only the largest at each pixel; the background stays."""
    return torch.cat([maps[:, :1], only_largest(maps[:, 1:])], dim=1)
