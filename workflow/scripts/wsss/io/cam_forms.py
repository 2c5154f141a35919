"""From the maps of a CAM file to the CAM at a size: how the grids lie on the image, how scales are put together, the norm.

Geometry, how a map of one scale comes to the image's size:

- ``pad16``: it covers the image padded to multiples of 16 at the bottom and right (CAM, IRN). The walk's grid
  takes the whole map, as published;
- ``stretch``: it is stretched over the image (EPS, AMN);
- ``view``: it is stretched over the view, corners on corners, and that over the image (SEAM, CPN, PPC).

Form, how scales are put together:

- ``sum``: they are added up;
- ``softmax``: they are logits, averaged; `rest` (1, h, w) is the log-sum-exp of those of the background and of absent
  classes, and `foreground` (H, ceil(W / 8)) uint8, packed bits, says where the norm holds; elsewhere the
  probability stays (AMN's mask trick). Without `foreground` it holds everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss.engine.explain import for_people
from wsss.errors import UserError
from wsss.io.grids import ceil16, nearest_centre, unpack_foreground
from wsss.io.images import scaled

if TYPE_CHECKING:  # two seconds that stages without a CAM need not spend
    from torch import Tensor

GEOMETRIES = ("pad16", "stretch", "view")
FORMS = ("sum", "softmax")
EPSILON = 1e-5
UNKNOWN_SCALES = "not known (imported)"  # what the index of imported CAMs says in place of their scales


@dataclass(frozen=True)
class StoredCam:
    """What a CAM file holds: K classes, ascending; one (K, h, w) float32 map a scale; what the form adds, by name.

    With a background map the maps are (K+1, h, w), and it comes first.
    """

    classes: tuple[int, ...]
    maps: tuple[np.ndarray, ...]
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def has_bg(self) -> bool:
        """Whether a background map comes before those of the classes."""
        return len(self.maps[0]) > len(self.classes)


def over_maximum(maps: Tensor) -> Tensor:
    """Each class divided by its maximum + 1e-5 (CAM, EPS)."""
    return maps / (maps.amax((-2, -1), keepdim=True) + EPSILON)


def min_max(maps: Tensor) -> Tensor:
    """Each class from its minimum to its maximum (AMN)."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + EPSILON)


def full_range(maps: Tensor) -> Tensor:
    """The same with 1e-8 in place of 1e-5, for maps that differ little from place to place (MCTformer)."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


def cut_min_max(maps: Tensor) -> Tensor:
    """As min_max, cut at 0 before and after, and 1e-5 above the minimum is 0 still (SEAM, CPN, PPC)."""
    maps = maps.relu()
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low - EPSILON).relu() / (high - low + EPSILON)


def as_they_are(maps: Tensor) -> Tensor:
    """The values themselves (imported maps whose height means something)."""
    return maps


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": over_maximum,
    "min_max": min_max,
    "full_range": full_range,
    "cut_min_max": cut_min_max,
    "none": as_they_are,
}


@dataclass(frozen=True)
class Form:
    """How the CAMs of a folder are to be read; `scales` counts for the geometry `view` alone.

    bg_map: images with labels have a background map, put together as those of the classes are.
    """

    form: str
    geometry: str
    norm: str
    scales: tuple[float, ...] = ()
    bg_map: bool = False

    @classmethod
    def of(cls, path: str | Path, index: Mapping[str, Any]) -> Form:
        """As an index says. UserError naming `path` where it says something unknown."""
        for key, known in (("form", FORMS), ("geometry", GEOMETRIES), ("norm", NORMS)):
            if index.get(key) not in tuple(known):  # whatever stands there, a list too
                raise UserError(
                    f"{path}: CAMs of {key} {index.get(key)!r} cannot be read, only {' or '.join(known)}; "
                    "make them with the cam stage, or put in the index how they are stored"
                )
        scales = index.get("scales")
        if isinstance(scales, list) and not all(type(scale) in (int, float) and 0 < scale <= 16 for scale in scales):
            raise UserError(f"{path}: CAMs of scales {str(scales)[:80]} cannot be read; make them with the cam stage")
        if index["geometry"] == "view" and not isinstance(scales, list):
            raise UserError(f"{path}: CAMs of geometry view need the scales of their views; make them with the cam stage")
        if index.get("bg_map", False) not in (True, False) or (index.get("bg_map") and index["form"] != "sum"):
            raise UserError(f"{path}: CAMs of form {index['form']} cannot have bg_map {index['bg_map']!r}; make them with the cam stage")
        listed = tuple(scales) if isinstance(scales, list) else ()
        return cls(index["form"], index["geometry"], index["norm"], listed, index.get("bg_map", False))

    def fault(self, stored: StoredCam) -> str | None:
        """What a file lacks that is to be read so, in words."""
        if self.scales and len(stored.maps) != len(self.scales):
            return for_people(f"holds maps of {len(stored.maps)} scales, its index says {len(self.scales)}")
        if self.form == "softmax" and stored.classes and "rest" not in stored.extras:
            return for_people("has no map `rest`, and its index says softmax")
        if stored.has_bg != (self.bg_map and len(stored.classes) > 0):
            return for_people(f"holds {'a' if stored.has_bg else 'no'} background map, and its index says otherwise")
        return None

    def read(self, stored: StoredCam, size_hw: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
        """(K, *target) float32 in [0, 1]; `target` is the image's size `size_hw`, or its walk's grid."""
        return self.read_both(stored, size_hw, target)[0]

    def read_both(
        self, stored: StoredCam, size_hw: tuple[int, int], target: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The same, and the background map beside it, (*target) float32 in [0, 1]; None where there is none."""
        rows = self._rows(stored, size_hw, target)
        return (rows[1:], rows[0]) if stored.has_bg else (rows, None)

    def _rows(self, stored: StoredCam, size_hw: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
        """All maps of the file, put together."""
        import torch

        if not stored.classes:
            return np.zeros((0, *target), np.float32)
        total = self._placed(stored.maps[0], 0, size_hw, target)
        for n, one in enumerate(stored.maps[1:], 1):
            total += self._placed(one, n, size_hw, target)
        if self.form == "sum":
            return NORMS[self.norm](total).numpy()
        rest = _resize(torch.from_numpy(stored.extras["rest"]), target)
        probs = torch.cat([rest, total / len(stored.maps)]).softmax(0)[1:]
        return self._off_background(probs, stored, size_hw).numpy()

    def _placed(self, one: np.ndarray, n: int, size_hw: tuple[int, int], target: tuple[int, int]) -> Tensor:
        """The map of scale `n` at the target size."""
        import torch

        maps = torch.from_numpy(one)
        if self.geometry == "view":
            maps = _resize(maps, scaled(size_hw, self.scales[n]), align_corners=True)
        if self.geometry == "pad16" and target == size_hw:
            maps = _resize(maps, (ceil16(size_hw[0]), ceil16(size_hw[1])))
            return maps[:, : size_hw[0], : size_hw[1]].contiguous()
        return _resize(maps, target)

    def _off_background(self, probs: Tensor, stored: StoredCam, size_hw: tuple[int, int]) -> Tensor:
        import torch

        normed = NORMS[self.norm](probs)
        if "foreground" not in stored.extras:
            return normed
        foreground = nearest_centre(unpack_foreground(stored.extras["foreground"], size_hw[1]), (probs.shape[-2], probs.shape[-1]))
        return torch.where(torch.from_numpy(foreground), normed, probs)


def _resize(maps: Tensor, target: tuple[int, int], align_corners: bool = False) -> Tensor:
    """(K, h, w) -> (K, *target), bilinear; never the maps themselves, as callers add to what they get."""
    if maps.shape[-2:] == tuple(target):
        return maps.clone()
    import torch.nn.functional as F

    return F.interpolate(maps[None], size=target, mode="bilinear", align_corners=align_corners)[0]
