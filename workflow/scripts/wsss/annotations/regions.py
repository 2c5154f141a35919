"""A mask as regions that are painted one over the other, and back."""

from collections.abc import Iterable

import cv2
import numpy as np

Polygon = np.ndarray
"""(N, 2) float64: x, y of pixel centres, N >= 3."""


def polygon_fault(points: np.ndarray, size_hw: tuple[int, int]) -> str | None:
    """Why points (x, y) are no polygon on a photo of that size, or None.

    What draws polygons makes nonsense of far points, and pycocotools ends the process.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        return "has fewer than three points of x and y"
    if not np.isfinite(points).all():
        return "has a point that is no number"
    size_xy = np.array(size_hw[::-1])
    if (points < -size_xy).any() or (points > 2 * size_xy).any() or (points.max(0) < 0).any() or (points.min(0) > size_xy).any():
        return f"lies outside of the photo of {size_hw[1]}x{size_hw[0]}"
    return None


def painted_regions(mask: np.ndarray, tolerance: float = 0) -> list[tuple[int, Polygon]]:
    """Polygons (value, points) which, painted in this order on a ground of 0, give the mask; with `tolerance` 0 pixel by pixel.

    Polygons have no holes. So the larger come first, and what lies in a hole is painted over them, background too. Regions are joined by
    their pixels' sides only: two of them never cross, and one lies wholly in a hole of another or wholly out of it.

    Args:
        mask: (H, W) uint8.
        tolerance: how far, in pixels, a polygon may leave the outline, to have fewer points.
    """
    found = []
    for value in np.unique(mask).tolist():
        count, numbers, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=4)
        for k in range(1, count):
            left, top, width, height, _ = stats[k].tolist()
            piece = (numbers[top : top + height, left : left + width] == k).astype(np.uint8)
            (outline,), _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            outline = outline[:, 0] + (left, top)
            found.append((int(paint(np.zeros_like(mask), [(1, outline)]).sum()), value, outline))
    found.sort(key=lambda item: -item[0])
    return _needed(found, mask.shape, tolerance)


def _needed(found: list[tuple[int, int, np.ndarray]], size_hw: tuple[int, ...], tolerance: float) -> list[tuple[int, Polygon]]:
    """Without background that nothing was painted on."""
    canvas, kept = np.zeros(size_hw, np.uint8), []
    for _, value, outline in found:
        x, y = outline[0]
        if value == 0 and canvas[y, x] == 0:
            continue
        paint(canvas, [(value, outline)])
        kept.append((value, _simplified(outline, tolerance)))
    return kept


def _simplified(outline: np.ndarray, tolerance: float) -> Polygon:
    """Fewer points; three at least, as tools want (a single pixel is one point three times)."""
    points = outline
    if tolerance > 0:
        points = cv2.approxPolyDP(outline[:, None].astype(np.int32), tolerance, True)[:, 0]
    while len(points) < 3:
        points = np.concatenate([points, points[-1:]])
    return points.astype(np.float64)


def paint(canvas: np.ndarray, regions: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Paint polygons of (x, y), outline included, into an (H, W) uint8 canvas, one over the other; returns it."""
    for value, points in regions:
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)[:, None]], int(value))
    return canvas
