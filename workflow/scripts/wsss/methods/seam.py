"""SEAM, Self-supervised Equivariant Attention Mechanism (Wang et al., CVPR 2020): class maps of an image and of
its smaller copy must agree, and maps averaged over like pixels teach both."""

from functools import reduce
from operator import add

import torch
from torch import Tensor

from wsss.io.cam_forms import cut_min_max
from wsss.methods.base import CamOut, multilabel_soft_margin, required_part, with_background
from wsss.methods.options.seam import SEAMOptions
from wsss.methods.pixel_correlation import (
    PixelCorrelationMethod,
    background_from,
    background_minimum,
    class_mean,
    hardest_mean,
    image_logits,
    listed_classes,
    listed_maps,
)
from wsss.nets.pcm import resize_corners
from wsss.sections.section import defaults_of


class SEAM(PixelCorrelationMethod):
    """Options: those of PixelCorrelationMethod; second_scale (of the smaller copy)."""

    defaults = defaults_of(SEAMOptions)

    def second_size(self, image: Tensor) -> tuple[int, int]:
        """Size of the smaller copy, rounded down, at least 1."""
        height, width = (max(1, int(side * self.options["second_scale"])) for side in image.shape[-2:])
        return height, width

    def further_views(self, batch):
        return {"second": resize_corners(batch["image"], self.second_size(batch["image"]))}

    def looks(self, batch, out) -> tuple[tuple[CamOut, tuple[int, int]], tuple[CamOut, tuple[int, int]]]:
        """Outputs of both views, each with the size (h, w) that the loss takes its maps at.

        That is the size of the view, as published, not the grid of the maps.
        """
        image = batch["image"]
        return (out, (image.shape[-2], image.shape[-1])), (out.views["second"], self.second_size(image))

    def untouched(self, classes: Tensor) -> Tensor | None:
        """Of the listed classes (B, K) what `strongest_class` leaves whole; None: the background."""
        return None

    def loss(self, batch, out, step):
        """Classification and rvmin of both views, equivariance, cross regularisation; all weights 1."""
        y, looks = batch["y"], self.looks(batch, out)
        maps = [(required_part(look.maps, "maps"), size) for look, size in looks]
        cls = reduce(add, (multilabel_soft_margin(image_logits(one, size), y) for one, size in maps)) / 2
        classes, small = listed_classes(y), looks[1][1]
        cams = [listed_maps(one, classes, size) for one, size in maps]
        refined = [listed_maps(look.features["cam_rv"], classes, size) for look, size in looks]
        present, n = y.gather(1, classes), y.shape[1]
        rvmin = sum(background_minimum(maps, present) for maps in refined) / 2
        c1, c2, r1, r2 = (resize_corners(cut_min_max(maps), small) * with_background(present) for maps in (*cams, *refined))
        er = equivariance(c1, c2, n)
        ecr = cross_regularisation(c1, c2, r1, r2, self.options["hard_share"], n, self.untouched(classes))
        return {"total": cls + rvmin + er + ecr, "cls": cls, "rvmin": rvmin, "er": er, "ecr": ecr}


def equivariance(c1: Tensor, c2: Tensor, classes: int) -> Tensor:
    """ER: mean distance of both views' class maps (B, K+1, h, w); of `classes`, the absent ones count as 0."""
    return class_mean((c1 - c2).abs(), classes)


def cross_regularisation(
    c1: Tensor, c2: Tensor, r1: Tensor, r2: Tensor, share: float, classes: int, untouched: Tensor | None = None
) -> Tensor:
    """ECR: the refined maps r of one view follow the class maps c of the other, by their hardest values.

    All (B, K+1, h, w), of `classes` the listed ones. The class maps are targets: no gradient reaches them.
    untouched: of `strongest_class`.
    """
    targets = [strongest_class(background_from(maps.detach()), untouched) for maps in (c1, c2)]
    pairs = (targets[1], r1), (targets[0], r2)
    return reduce(add, (hardest_mean((target - maps).abs(), share, classes) for target, maps in pairs))


def strongest_class(maps: Tensor, untouched: Tensor | None = None) -> Tensor:
    """(B, n, h, w) -> at each pixel the largest stays alone, beside maps that are not compared.

    Those are the `untouched`, (B, n) bool; None: the background, channel 0.
    """
    if untouched is None:
        untouched = torch.arange(maps.shape[1], device=maps.device)[None] == 0
    untouched = untouched[..., None, None]
    largest = maps.masked_fill(untouched, -torch.inf).amax(1, keepdim=True)
    return maps * (untouched | (maps == largest))
