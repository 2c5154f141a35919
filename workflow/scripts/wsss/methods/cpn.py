"""CPN, Complementary Patch Network (Zhang et al., ICCV 2021): the class maps of an image must be those of its two
complementary parts together."""

from collections.abc import Sequence
from functools import partial, reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.data.pair_masks import draw_pair
from wsss.io.cam_forms import cut_min_max
from wsss.methods.base import with_background
from wsss.methods.options.cpn import CPNOptions
from wsss.methods.pixel_correlation import (
    PixelCorrelationMethod,
    background_from,
    background_minimum,
    class_mean,
    hardest_mean,
    image_logits,
    listed_classes,
    listed_maps,
    only_largest,
)
from wsss.nets.pcm import RegionCorrelation, guidance
from wsss.ranks import mean_over_ranks
from wsss.sections.section import defaults_of

PAIR = ("pair", "segments", "compactness", "grid_sizes")  # the options that say how parts are drawn


class CPN(PixelCorrelationMethod):
    """Three looks at each image: whole (0), and the two parts of a complementary pair (1, 2).

    Options: those of PixelCorrelationMethod; pair "superpixels" (segments, compactness) | "grid" (grid_sizes);
    prcm_key "transpose" | "reference", prcm_similarity "dot" | "cosine" (wsss.nets.pcm.RegionCorrelation) | "none" (PCM alone);
    skip_hidden_cls (a part that shows nothing has no classification loss; in the released code it has).
    """

    defaults = defaults_of(CPNOptions)

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        similarity = self.options["prcm_similarity"]
        self.prcm = None if similarity == "none" else RegionCorrelation(self.options["prcm_key"], similarity)

    def further_arrays(self):
        """pair_mask (1, S, S) float32 of 0 and 1, what the first part shows; pair_weight () float32, its share."""
        return partial(draw_parts, options={key: self.options[key] for key in PAIR})

    def new_layers(self):
        return [*super().new_layers(), *([] if self.prcm is None else [self.prcm])]

    def further_views(self, batch):
        """The two parts; what one hides is 0, the mean colour, and x1 + x2 is the image."""
        image, mask = batch["image"], batch["pair_mask"]
        return {"first": image * mask, "second": image * (1 - mask)}

    def refined(self, image, taps, maps):
        """PCM's maps and, on top, those of the regions."""
        if self.prcm is None:
            return super().refined(image, taps, maps)
        guide = guidance(maps)
        features = self.pcm.features(image, taps[2], taps[3], maps.shape[-2:])
        return self.pcm(guide, features) + self.prcm(guide, features, self.pcm.f9)

    def loss(self, batch, out, step):
        """Classification and rvmin of the three looks, TCP and CPCR; all weights 1, all at the size of the crop."""
        y, looks = batch["y"], (out, out.views["first"], out.views["second"])
        weights, size = shares(batch["pair_weight"]), batch["image"].shape[-2:]
        cls = self.classification([image_logits(o.maps, size) for o in looks], y, weights)
        classes = listed_classes(y)
        cams = [listed_maps(o.maps, classes, size) for o in looks]
        refined = [listed_maps(o.features["cam_rv"], classes, size) for o in looks]
        present, n = y.gather(1, classes), y.shape[1]
        rvmin, label = sum(background_minimum(maps, present) for maps in refined) / 3, with_background(present)
        c = [cut_min_max(maps) * (w * label) for w, maps in zip(weights, cams, strict=True)]
        d = [cut_min_max(maps) * (w * label) for w, maps in zip(weights, refined, strict=True)]
        tcp, cpcr = triplet(c, d, n), cross_regularisation(c, d, self.options["hard_share"], n)
        return {"total": cls + rvmin + tcp + cpcr, "cls": cls, "rvmin": rvmin, "tcp": tcp, "cpcr": cpcr}

    def classification(self, logits: Sequence[Tensor], y: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Mean over the three looks; with skip_hidden_cls over those that show something."""
        losses = torch.stack([F.multilabel_soft_margin_loss(z.float(), y, reduction="none") for z in logits])
        if not self.options["skip_hidden_cls"]:
            return losses.mean()
        shown = (torch.stack([w.flatten() for w in weights]) > 0).float()
        return (losses * shown).sum() / mean_over_ranks(shown.sum())


def draw_parts(view, rng, options):
    """A complementary pair of the crop, by name."""
    mask, weight = draw_pair(view.crop, rng, options)
    return {"pair_mask": mask, "pair_weight": weight}


def shares(first: Tensor) -> list[Tensor]:
    """pair_weight (B,) -> weights (B, 1, 1, 1) of the whole image (1), the first part and the second."""
    first = first.float()[:, None, None, None]
    return [torch.ones_like(first), first, 1 - first]


def triplet(c: Sequence[Tensor], d: Sequence[Tensor], classes: int) -> Tensor:
    """TCP: the parts' maps add up to the whole's, mean distance over the classes.

    c, d: class maps and refined maps (B, K+1, H, W) of whole, first, second, of `classes` the listed ones. Of the
    class maps only the whole's learn.
    """
    cams = c[1].detach() + c[2].detach() - c[0]
    refined = d[0] - d[1] - d[2]
    return class_mean(cams.abs(), classes) + class_mean(refined.abs(), classes)


def cross_regularisation(c: Sequence[Tensor], d: Sequence[Tensor], share: float, classes: int) -> Tensor:
    """CPCR: a part's refined maps follow what the class maps of the whole have beyond those of the other part.

    Here, unlike in SEAM, the background competes for the largest value at a pixel.
    """
    whole, first, second = (background_from(maps.detach()) for maps in c)
    pairs = (whole - first, d[2]), (whole - second, d[1])
    return reduce(add, (hardest_mean((only_largest(rest) - background_from(maps)).abs(), share, classes) for rest, maps in pairs))
