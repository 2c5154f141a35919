"""What SEAM, CPN and PPC share: trunk, class maps with a background channel, the maps that the pixel correlation
module makes of them, inference, and the parts of their losses. No method by itself."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.methods.base import CamOut, Method, Spec, flip_pair_sum, group, trainable
from wsss.methods.options.pixel_correlation import PixelCorrelationOptions
from wsss.nets.backbones import STRIDES, Trunk, build_backbone, field_keeping
from wsss.nets.norm import statistics_kept
from wsss.nets.pcm import PixelCorrelation, guidance, resize_corners
from wsss.sections.section import defaults_of


class PixelCorrelationMethod(Method):
    """Trunk, dropout, 1x1 classifier fc8 with background, and the refined maps `features["cam_rv"]`.

    Options: freeze and bn of the trunk as in `build_backbone`; output_stride 8 | 16 | 32; dilated (a ResNet's layers keep
    their field of view; ResNet38d has dilations of its own); dropout (of whole channels); head_lr_scale
    (learning rate of all new layers over that of the trunk); hard_share (part of the values that the hardest
    ones make up).
    """

    defaults = defaults_of(PixelCorrelationOptions)
    loss_want = frozenset({"maps", "features", "views"})
    backbone: Trunk

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        strides = STRIDES[self.options["output_stride"]]
        dilations = field_keeping(strides) if self.options["dilated"] else (1, 1, 1)
        self.backbone = build_backbone(backbone, strides, dilations, self.options["bn"], self.options["freeze"])
        low, high, last = self.backbone.out_channels[2:]
        self.dropout = nn.Dropout2d(self.options["dropout"])
        self.fc8 = nn.Conv2d(last, num_classes + 1, 1, bias=False)
        nn.init.xavier_uniform_(self.fc8.weight)
        self.pcm = PixelCorrelation(low, high)

    @classmethod
    def spec_for(cls, options=None):
        stride = {**cls.defaults, **(options or {})}["output_stride"]
        return Spec(stride=stride, geometry="view", norm="cut_min_max")

    def new_layers(self) -> list[nn.Module]:
        """What no pretrained weights exist for."""
        return [self.fc8, self.pcm]

    def param_groups(self):
        scale = self.options["head_lr_scale"]
        return [group(trainable(self.backbone)), group(trainable(*self.new_layers()), scale)]

    def forward(self, batch, want=frozenset({"logits"})):
        """maps (B, C+1, h, w) raw; logits (B, C); features: taps x1..x5 and cam_rv (B, C+1, h, w) in float32.

        `views` looks at the further views of the batch in the same way.
        """
        out = self.look(batch["image"], want)
        if "views" in want:
            with statistics_kept(self.backbone):
                out.views = {name: self.look(view, want) for name, view in self.further_views(batch).items()}
        return out

    def further_views(self, batch: Mapping) -> dict[str, Tensor]:
        """Images by name that the loss compares with the batch's own."""
        raise NotImplementedError

    def look(self, image: Tensor, want: frozenset[str]) -> CamOut:
        """One image batch through the network."""
        taps = self.backbone(image)
        last = self.dropout(taps[-1])
        maps, out = self.fc8(last), CamOut()
        if "maps" in want:
            out.maps = maps
        if "logits" in want:
            out.logits = image_logits(maps, image.shape[-2:])
        if "features" in want:
            out.features = {f"x{i}": tap for i, tap in enumerate(taps, start=1)}
            out.features["cam_rv"] = self.refined(image, taps, maps)
            out.features |= self.further_features(last, want)
        return out

    def further_features(self, last: Tensor, want: frozenset[str]) -> dict[str, Tensor]:
        """What a method adds to `features`, of the last tap after dropout."""
        return {}

    def refined(self, image: Tensor, taps: list[Tensor], maps: Tensor) -> Tensor:
        """The class maps after the pixel correlation module, (B, C+1, h, w) float32."""
        return self.pcm(guidance(maps), self.pcm.features(image, taps[2], taps[3], maps.shape[-2:]))

    def pixel_logits(self, out):
        """fc8's background row learns nothing, so the background's logit is a constant 0."""
        return torch.cat([torch.zeros_like(out.maps[:, :1]), out.maps[:, 1:]], dim=1)

    @torch.no_grad()
    def seed_maps(self, views, y):
        """Refined maps; flips are summed. Readers stretch them to the view's size first, as in training."""
        return flip_pair_sum(self({"image": views}, frozenset({"features"})).features["cam_rv"][:, 1:])


def image_logits(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Class logits (B, C) float32: mean over space of maps (B, C+1, h, w) stretched to `size`, without making those."""
    down, across = (mean_weights(n, side, maps.device) for n, side in zip(maps.shape[-2:], size, strict=True))
    return (maps[:, 1:].float() * down[:, None] * across).sum((-2, -1))  # no matrix product, which autocast would round to bf16


def mean_weights(n: int, side: int, device: torch.device) -> Tensor:
    """(n,): what each of n values counts in the mean of the line they become when stretched to `side`."""
    lines = torch.eye(n, device=device, dtype=torch.float64)[None]  # which autocast leaves alone
    return F.interpolate(lines, size=side, mode="linear", align_corners=True)[0].mean(-1).float()


def listed_classes(y: Tensor) -> Tensor:
    """y (B, C) -> (B, K) classes whose maps the losses need: each image's own, padded with absent ones.

    Maps of absent classes are masked to 0 and differ from nothing, so one of them (it competes for the largest
    value of a pixel) stands for all. VOC's images have one to three of 20 classes, and what the losses make of
    maps at the size of the image is most of their cost.
    """
    rows = min(y.shape[1], int(y.sum(1).max()) + 1)  # one wait for the device a step
    return y.argsort(dim=1, descending=True, stable=True)[:, :rows]


def listed_maps(maps: Tensor, classes: Tensor, size: tuple[int, int]) -> Tensor:
    """maps (B, C+1, h, w), classes (B, K) -> (B, K+1, *size) float32, background first."""
    index = classes[..., None, None].expand(-1, -1, *maps.shape[-2:])
    return resize_corners(torch.cat([maps[:, :1], maps[:, 1:].gather(1, index)], dim=1).float(), size)


def class_mean(distance: Tensor, classes: int) -> Tensor:
    """Mean over images, `classes` and space of (B, K+1, H, W) without the background; those not listed are 0."""
    return distance[:, 1:].mean() * ((distance.shape[1] - 1) / classes)


def background_from(maps: Tensor) -> Tensor:
    """(B, C+1, H, W) -> the same with channel 0 = 1 - the largest class."""
    return torch.cat([1 - maps[:, 1:].amax(1, keepdim=True), maps[:, 1:]], dim=1)


def only_largest(maps: Tensor) -> Tensor:
    """(B, n, H, W) -> values that are the largest of their pixel, 0 elsewhere; equal ones all stay."""
    return maps * (maps == maps.amax(1, keepdim=True))


def hardest_mean(distance: Tensor, share: float, classes: int) -> Tensor:
    """Mean of the largest floor(share n) of each image's n distances, averaged over images.

    distance (B, K+1, H, W), none negative; n counts background and `classes`, of which those not listed are 0.
    """
    flat = distance.flatten(1)
    wanted = max(1, int(share * (classes + 1) * distance[0, 0].numel()))
    if wanted >= flat.shape[1]:
        return flat.sum(1).mean() / wanted
    return flat.topk(wanted, dim=1, sorted=False).values.mean()


def background_minimum(refined: Tensor, y: Tensor) -> Tensor:
    """Mean of the smallest quarter of the largest present class (SEAM's rvmin): some place must be background.

    refined (B, C+1, H, W), y (B, C) -> scalar.
    """
    largest = (refined[:, 1:] * y[..., None, None]).amax(1).flatten(1)
    return largest.topk(max(1, largest.shape[1] // 4), dim=1, largest=False, sorted=False).values.relu().mean()
