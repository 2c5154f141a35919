"""PPC, pixel-to-prototype contrast (Du et al., CVPR 2022), on SEAM and on EPS: pixels of a projected feature map are
drawn to their class's prototype, in the own view and in the other."""

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.errors import UserError
from wsss.methods.base import CamOut, Spec, flip_pair_sum, required_part
from wsss.methods.eps import saliency_loss
from wsss.methods.options.ppc import PPCEPSOptions, PPCOptions, negatives_fault
from wsss.methods.pixel_correlation import PixelCorrelationMethod
from wsss.methods.prototype_contrast import Pixels, contrast, pixels_of
from wsss.methods.seam import SEAM
from wsss.nets.pcm import resize_corners
from wsss.sections.section import defaults_of

log = logging.getLogger(__name__)


class PPC(SEAM):
    """SEAM with a smaller copy of fixed size, and the contrast of both views' projected features.

    Options: those of PixelCorrelationMethod; second_size (side of the smaller copy in pixels); projection (channels
    of the projected features); those of wsss.methods.prototype_contrast: contrast_weight, contrast_background,
    prototype_share, temperature, negatives, semi_hard, mask_prototypes, background_prototype.
    """

    defaults = defaults_of(PPCOptions)
    loss_want = PixelCorrelationMethod.loss_want | {"projection"}

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        first, last = self.options["negatives"]
        if fault := negatives_fault(first, last):
            raise UserError(f"net_options: {fault}")
        if first > num_classes + 1:
            log.warning("net_options: negatives: of %d prototypes none has rank %d, so the intra-view term is 0; lower the ranks", num_classes + 1, first)
        self.projector = nn.Conv2d(self.backbone.out_channels[-1], self.options["projection"], 1, bias=False)
        nn.init.xavier_uniform_(self.projector.weight)

    def new_layers(self):
        return [*super().new_layers(), self.projector]

    def second_size(self, image):
        return self.options["second_size"], self.options["second_size"]

    def further_features(self, last, want):
        """projection (B, d, h, w), for the loss alone."""
        return {"projection": F.relu(self.projector(last))} if "projection" in want else {}

    def loss(self, batch, out, step):
        """SEAM's, and the three terms of the contrast on the grid of the smaller copy's maps."""
        losses = super().loss(batch, out, step)
        with torch.autocast(batch["image"].device.type, enabled=False):
            terms = self.contrast_terms(batch["y"], out)
        return {**losses, **terms, "total": losses["total"] + sum(terms.values())}

    def contrast_terms(self, y: Tensor, out: CamOut) -> dict[str, Tensor]:
        """The three terms by name, of both views' pixels on the grid of the smaller copy's maps; y (B, C)."""
        grid = required_part(out.views["second"].maps, "maps").shape[-2:]
        first, second = (self.pixels_of_view(view, grid, y) for view in (out, out.views["second"]))
        return contrast(first, second, self.options)

    def pixels_of_view(self, view: CamOut, grid: Sequence[int], y: Tensor) -> Pixels:
        """Projected features and refined maps of one view, stretched to `grid`."""
        projection, maps = (resize_corners(view.features[name].float(), grid) for name in ("projection", "cam_rv"))
        return pixels_of(projection, maps, y, self.options)


class PPCEPS(PPC):
    """The same on EPS: saliency teaches the background, all is done on the grid of the maps, and class maps are the result.

    Options: those of PPC; tau and lambda of EPS; second_saliency "stretched" (of the crop made as the smaller copy is,
    then to the grid) | "direct" (from the crop to the grid); ecr_background "first_class" (as released: cross
    regularisation's targets treat the first class as the background) | "background".
    """

    defaults = defaults_of(PPCEPSOptions)

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, needs=frozenset({"saliency"}), geometry="stretch", norm="max")

    def looks(self, batch, out):
        return tuple((look, tuple(look.maps.shape[-2:])) for look in (out, out.views["second"]))

    def untouched(self, classes):
        if self.options["ecr_background"] == "background":
            return super().untouched(classes)
        return torch.cat([torch.zeros_like(classes[:, :1], dtype=torch.bool), classes == 0], dim=1)

    def loss(self, batch, out, step):
        """PPC's, and EPS's saliency loss on the class maps and on the refined maps, each the mean of both views."""
        losses, saliency = super().loss(batch, out, step), batch["saliency"]
        second = resize_corners(saliency, self.second_size(saliency)) if self.options["second_saliency"] == "stretched" else saliency
        options = batch["y"], self.options["tau"], self.options["lambda"]
        terms = []
        for view, its_saliency in ((out, saliency), (out.views["second"], second)):
            terms += [saliency_loss(maps, its_saliency, *options) for maps in (view.maps, view.features["cam_rv"])]
        term = sum(terms) / 2
        return {**losses, "saliency": term, "total": losses["total"] + term}

    def pixel_logits(self, out):
        """Unlike in SEAM the background's row is trained."""
        return out.maps

    @torch.no_grad()
    def seed_maps(self, views, y):
        """EPS's: softmax over classes and background of the class maps, without the background; flips are summed."""
        maps = self({"image": views}, frozenset({"maps"})).maps.float()
        return flip_pair_sum(maps.softmax(1)[:, 1:])
