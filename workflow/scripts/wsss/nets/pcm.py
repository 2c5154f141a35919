"""The pixel correlation module of SEAM (CVPR 2020), which CPN (ICCV 2021) takes over: class maps are averaged
over pixels that look alike."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

EPSILON = 1e-5
EMBEDDING = 192
COLUMNS = 448  # of the correlation matrix at once; 3136 cells make seven such parts


class PixelCorrelation(nn.Module):
    """Low-level features of an image beside two taps of the trunk, and the embedding that pixels are compared by.

    The taps are cut from the gradient: what this module learns never reaches the trunk. Widths are the
    published ones for resnet38d's 512 and 1024 channels; other trunks bring their own.
    """

    def __init__(self, low: int, high: int):
        super().__init__()
        self.f8_3 = nn.Conv2d(low, 64, 1, bias=False)
        self.f8_4 = nn.Conv2d(high, 128, 1, bias=False)
        self.f9 = nn.Conv2d(3 + 64 + 128, EMBEDDING, 1, bias=False)
        nn.init.kaiming_normal_(self.f8_3.weight)
        nn.init.kaiming_normal_(self.f8_4.weight)
        nn.init.xavier_uniform_(self.f9.weight, gain=4)

    def features(self, image: Tensor, low: Tensor, high: Tensor, size: Sequence[int]) -> Tensor:
        """image (B, 3, H, W) and taps of any size -> (B, 195, h, w) float32 on `size`."""
        sides = [F.relu(side(tap.detach())) for side, tap in ((self.f8_3, low), (self.f8_4, high))]
        return torch.cat([resize_corners(part.float(), size) for part in (image, *sides)], dim=1)

    def forward(self, guide: Tensor, features: Tensor) -> Tensor:
        """guide (B, n, h, w), features (B, 195, h, w) -> guide averaged over like pixels, (B, n, h, w) float32."""
        with torch.autocast(features.device.type, enabled=False):
            return correlate(guide.float(), self.f9(features))


def resize_corners(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(B, c, H, W) -> (B, c, *size), bilinear, corners on corners, as SEAM resizes everywhere but at test."""
    if maps.shape[-2:] == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


@torch.no_grad()
def guidance(cam: Tensor) -> Tensor:
    """Raw maps (B, C+1, h, w), background first -> what is averaged, in [0, 1], without gradient.

    Classes over their maximum, and of them only the largest at each pixel; background = 1 - the largest.
    """
    classes = cam[:, 1:].float().relu()
    classes = F.relu(classes - EPSILON) / (classes.amax((-2, -1), keepdim=True) + EPSILON)
    largest = classes.amax(1, keepdim=True)
    return torch.cat([1 - largest, classes * (classes == largest)], dim=1)


def correlate(guide: Tensor, embedding: Tensor, columns: int = COLUMNS) -> Tensor:
    """G A with A = relu(g^T g), its columns summing to 1, g the embedding at unit length.

    guide (B, n, h, w), embedding (B, d, h, w) -> (B, n, h, w). Pixel j of the result needs column j of A only,
    so A is made part by part and, for the gradient, made again: the (hw x hw) matrix never exists.
    """
    unit = embedding.flatten(2)
    unit = unit / (unit.norm(dim=1, keepdim=True) + EPSILON)
    rows = torch.cat([guide.flatten(2), torch.ones_like(unit[:, :1])], dim=1)  # the last row sums A's columns
    parts = []
    for some in unit.split(columns, dim=-1):
        if torch.is_grad_enabled() and unit.requires_grad:
            parts.append(checkpoint(_average, rows, unit, some, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_average(rows, unit, some))
    return torch.cat(parts, dim=-1).unflatten(-1, guide.shape[-2:])


def _average(rows: Tensor, unit: Tensor, some: Tensor) -> Tensor:
    """rows (B, n+1, N), unit (B, d, N), some of its columns (B, d, m) -> (B, n, m)."""
    sums = rows @ F.relu(unit.transpose(1, 2) @ some)
    return sums[:, :-1] / (sums[:, -1:] + EPSILON)


class RegionCorrelation(nn.Module):
    """CPN's second term: every class compared, as one region, with all pixels.

    key "transpose": a class's key is its own embedding; "reference": the released code reads the (192, n) block
    of keys row by row as (n, 192), which mixes classes and channels. similarity "dot": as published; "cosine":
    keys and pixels at unit length, as PCM compares pixels (region_weights says why).
    """

    def __init__(self, key: str, similarity: str = "dot"):
        super().__init__()
        self.key, self.similarity = key, similarity
        self.f10 = nn.Conv2d(3 + 64 + 128, EMBEDDING, 1, bias=False)
        nn.init.xavier_uniform_(self.f10.weight, gain=4)

    def forward(self, guide: Tensor, features: Tensor, f9: nn.Module) -> Tensor:
        """guide (B, n, h, w), features (B, 195, h, w) -> (B, n, h, w) float32."""
        rows = guide.float().flatten(2)
        with torch.autocast(features.device.type, enabled=False):  # the softmax is sharp: rounding would show
            regions = features.flatten(2) @ rows.softmax(-1).transpose(1, 2)
            keys = F.relu(self.f10(regions.unsqueeze(-1))).flatten(2)
            weights = region_weights(keys, F.relu(f9(features)).flatten(2), self.key, self.similarity)
        return (weights * rows).view_as(guide)


def region_weights(keys: Tensor, pixels: Tensor, key: str, similarity: str = "dot") -> Tensor:
    """keys (B, d, n), pixels (B, d, N) -> (B, n, N), softmax over the pixels of one class.

    With features of the size networks have, the dot products lie far apart and a single pixel takes all the
    weight, and no gradient is left to mend that. At unit length no pixel can.
    """
    by_class = keys.transpose(1, 2) if key == "transpose" else keys.reshape(keys.shape[0], keys.shape[2], -1)
    if similarity == "cosine":
        by_class, pixels = F.normalize(by_class, dim=2), F.normalize(pixels, dim=1)
    return (by_class @ pixels / math.sqrt(keys.shape[2])).softmax(-1)
