"""SIPE, Self-supervised Image-specific Prototype Exploration (Chen et al., CVPR 2022): seeds that follow the structure of
an image give each class, and the background, a prototype of this very image; maps of likeness to it replace the CAM."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.io.cam_forms import over_maximum
from wsss.methods.base import Spec, flip_pair_sum, multilabel_soft_margin, resize, with_background
from wsss.methods.cam import CAM
from wsss.methods.options.sipe import SIPEOptions
from wsss.sections.section import defaults_of

EPSILON = 1e-5
WIDTHS = (128, 128, 256, 256)  # of the side features, layer1 to layer4
BACKGROUND_WEIGHT = 0.5  # of the background when seeds are chosen


class SIPE(CAM):
    """CAM's ResNet and 1x1 classifier, and four 1x1 side layers, whose outputs side by side are the hierarchical feature.

    Options: those of CAM, head_lr_scale of the side layers too; infer_seeds_from: hierarchical | layer4, the features whose
    structure seeds follow at test (training has layer4's); absent_compete: at test classes that the image does not have take
    part when seeds are chosen.
    """

    defaults = defaults_of(SIPEOptions)
    loss_want = frozenset({"logits", "maps", "features"})

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        inputs = self.backbone.out_channels[1:]
        self.side = nn.ModuleList(nn.Conv2d(n, width, 1, bias=False) for n, width in zip(inputs, WIDTHS, strict=True))

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, bg_map=True, geometry="stretch")

    def new_layers(self):
        return [self.classifier, self.side]

    def further_arrays(self):
        return valid_mask

    def forward(self, batch, want=frozenset({"logits"})):
        """features: x1 .. x5 of the backbone, and `hierarchical` (B, 768, h, w), which no gradient leaves for the backbone."""
        out = super().forward(batch, want)
        if "features" in want:
            out.features["hierarchical"] = self.hierarchical(list(out.features.values())[1:])
        return out

    def hierarchical(self, taps: list[Tensor]) -> Tensor:
        """Side features of layer1 .. layer4, each at unit length, on layer3's grid, side by side."""
        size = taps[2].shape[-2:]
        sides = [unit(layer(tap.detach()).float()) for layer, tap in zip(self.side, taps, strict=True)]
        return torch.cat([side if side.shape[-2:] == size else resize(side, size) for side in sides], dim=1)

    def loss(self, batch, out, step):
        """Classification, and GSC: the CAM and the map of likeness to the prototypes must agree (section 3.3)."""
        features = out.features["hierarchical"]
        valid = label_mask(batch["valid"], batch["y"], features.shape[-2:])
        cam = normalised(out.maps.float(), features.shape[-2:]) * valid
        seeds = structure_seeds(cam, out.features["x5"].float()) * valid
        cls = multilabel_soft_margin(out.logits, batch["y"])
        gsc = agreement_loss(cam, prototype_maps(features, seeds))
        return {"total": cls + gsc, "cls": cls, "gsc": gsc}

    @torch.no_grad()
    def seed_maps(self, views, y):
        """IS-CAM (B, C+1, h, w), background first: logits and features of the flip pair are added, then all else."""
        out = self({"image": views}, frozenset({"maps", "features"}))
        features = flip_pair_sum(out.features["hierarchical"])
        cam = normalised(flip_pair_sum(out.maps.float()), features.shape[-2:])
        if not self.options["absent_compete"]:
            cam = cam * with_background(y)
        by_layer4 = self.options["infer_seeds_from"] == "layer4"
        structure = flip_pair_sum(out.features["x5"].float()) if by_layer4 else features
        return prototype_maps(features, structure_seeds(cam, structure))


def valid_mask(view, rng):
    """Where the crop shows the image, not padding: (1, S, S) float32."""
    return {"valid": view.geometry.valid()}


def label_mask(valid: Tensor, y: Tensor, size: tuple[int, int]) -> Tensor:
    """valid (B, 1, S, S), y (B, C) -> (B, C+1, *size): 1 inside the image for the background and the present classes."""
    return F.interpolate(valid, size=tuple(size), mode="nearest") * with_background(y)


def unit(features: Tensor) -> Tensor:
    """(B, d, h, w), each cell divided by its length + 1e-5."""
    return features / (features.norm(dim=1, keepdim=True) + EPSILON)


def normalised(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Class logits (B, C, h, w) -> (B, C+1, *size) in [0, 1]: over their maximum, background = 1 - the largest first."""
    classes = over_maximum(logits.relu())
    cam = torch.cat([1 - classes.amax(1, keepdim=True), classes], dim=1)
    if cam.shape[-2:] == tuple(size):
        return cam
    return F.interpolate(cam, size=tuple(size), mode="bilinear", align_corners=True)


@torch.no_grad()
def structure_seeds(cam: Tensor, features: Tensor) -> Tensor:
    """Each pixel's one class: (B, n, h, w) of 0 and 1, background first.

    cam (B, n, h, w) in [0, 1], features (B, d, h', w').
    """
    overlap = structure_overlap(cam, features)
    overlap[:, 0] *= BACKGROUND_WEIGHT
    return F.one_hot(overlap.argmax(1), cam.shape[1]).permute(0, 3, 1, 2).to(cam.dtype)


def structure_overlap(cam: Tensor, features: Tensor) -> Tensor:
    """(B, n, h, w): IoU, as sums of soft values, of the pixels that are like a pixel and of each map of `cam`.

    Likeness is the cosine cut at 0. All intersections are one matrix product; the (h w)^2 likenesses of an image exist once.
    """
    if features.shape[-2:] != cam.shape[-2:]:
        features = resize(features, cam.shape[-2:])
    with torch.autocast(features.device.type, enabled=False):  # sums over all pixels: rounding would move seeds
        cells, maps = unit(features).flatten(2), cam.flatten(2)
        like = F.relu(cells.transpose(1, 2) @ cells)
        inter = maps @ like  # symmetric: (B, n, N)
        union = maps.sum(2, keepdim=True) + like.sum(1, keepdim=True) - inter
    return torch.where(union > 0, inter / union, 0.0).view_as(cam)


def prototype_maps(features: Tensor, seeds: Tensor) -> Tensor:
    """IS-CAM (B, n, h, w) in [0, 1]: likeness to the mean feature of each class's seeds; 0 for a class without any.

    features (B, d, h, w), seeds (B, n, h, w) of 0 and 1.
    """
    with torch.autocast(features.device.type, enabled=False):
        cells = features.flatten(2)
        found = prototypes(features, seeds)
        maps = F.normalize(found, dim=2, eps=1e-8) @ F.normalize(cells, dim=1, eps=1e-8)
    return maps.relu().view_as(seeds)


def prototypes(features: Tensor, seeds: Tensor) -> Tensor:
    """(B, n, d): sum of the seeds' features over the number of ALL pixels, which no cosine sees."""
    return seeds.flatten(2) @ features.flatten(2).transpose(1, 2) / features[0, 0].numel()


def agreement_loss(cam: Tensor, is_cam: Tensor) -> Tensor:
    """GSC: mean distance, over all maps and pixels, of the CAM and the IS-CAM over its maximum; both learn."""
    return (cam - over_maximum(is_cam)).abs().mean()
