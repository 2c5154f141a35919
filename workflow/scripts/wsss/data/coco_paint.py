"""One image's instance annotations to one label map.

The rule for overlaps is a painter's: larger areas first (the annotations' own `area`), so that small objects
end on top; equal areas in the order of annotation ids. Crowd regions come before all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from wsss.constants import IGNORE

RULE = "larger areas first, smaller on top, ties by annotation id"
CROWDS = {
    "class": "crowds first of all, as their class",
    "ignore": "crowds first of all, as 255",
    "skip": "crowds left out",
}
TOLERANCE_PX = 1.0  # how far a polygon may reach out of its image before that is worth a warning


@dataclass(frozen=True)
class Region:
    """One annotation, ready to be painted. `label`: 1..80; `segmentation`: JSON text."""

    id: int
    label: int
    area: float
    is_crowd: bool
    segmentation: bytes


def paint(regions: Sequence[Region], size_hw: tuple[int, int], crowd: str = "class") -> np.ndarray:
    """(H, W) uint8: 0 background, 1..80; 255 under crowds where `crowd` is "ignore".

    Args:
        crowd: "class": crowds are painted as their class; "ignore": as 255; "skip": not at all.
    """
    label = np.zeros(size_hw, np.uint8)
    for region in sorted(regions, key=lambda r: (not r.is_crowd, -r.area, r.id)):
        if region.is_crowd and crowd == "skip":
            continue
        value = IGNORE if region.is_crowd and crowd == "ignore" else region.label
        label[cover(region, size_hw)] = value
    return label


def cover(region: Region, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels of a region that `examine` finds no fault with; polygons are clipped."""
    encoded = coco_mask.frPyObjects(msgspec.json.decode(region.segmentation), *size_hw)
    return coco_mask.decode(coco_mask.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)


def examine(region: Region, size_hw: tuple[int, int]) -> tuple[list[str], float]:
    """What keeps a region from being painted, and how many pixels its polygons reach out of the image."""
    try:
        shape = msgspec.json.decode(region.segmentation)
    except msgspec.DecodeError as error:
        return [f"segmentation is not JSON ({error})"], 0.0
    if isinstance(shape, dict):
        return _mask_faults(shape, size_hw), 0.0
    if not isinstance(shape, list) or not shape:
        return ["segmentation is neither polygons nor a run-length mask"], 0.0
    faults = [fault for polygon in shape for fault in _polygon_faults(polygon, size_hw)]
    return faults, 0.0 if faults else max(_outside(polygon, size_hw) for polygon in shape)


def _mask_faults(shape: dict, size_hw: tuple[int, int]) -> list[str]:
    counts, size = shape.get("counts"), shape.get("size")
    if size != list(size_hw):
        return [f"its run-length mask has size {size}, the image {list(size_hw)} (height, width)"]
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        return ["its run-length mask is no list of counts (COCO's files have no compressed ones)"]
    total = sum(counts)
    return (
        []
        if total == math.prod(size_hw)
        else [f"its run-length mask has {total} pixels, the image {math.prod(size_hw)}"]
    )


def _polygon_faults(polygon: Any, size_hw: tuple[int, int]) -> list[str]:
    is_flat = isinstance(polygon, list) and all(type(value) in (int, float) for value in polygon)
    if not is_flat or len(polygon) % 2 or len(polygon) < 6:
        return ["a polygon is not a list of x, y of at least three points"]
    (height, width), xs, ys = size_hw, polygon[::2], polygon[1::2]
    if _outside(polygon, size_hw) > max(size_hw):
        return [f"a polygon reaches to ({_far(xs):g}, {_far(ys):g}), far out of its {width}x{height} image"]
    if max(xs) < 0 or max(ys) < 0 or min(xs) > width or min(ys) > height:
        return [f"a polygon lies wholly outside its {width}x{height} image"]
    return []


def _outside(polygon: Sequence[float], size_hw: tuple[int, int]) -> float:
    (height, width), xs, ys = size_hw, polygon[::2], polygon[1::2]
    return max(0.0, -min(xs), -min(ys), max(xs) - width, max(ys) - height)


def _far(values: Sequence[float]) -> float:
    return max(values, key=abs)
