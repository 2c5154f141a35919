"""Random walk over sparse affinities: IRN's and AffinityNet's last step, without the N x N matrix.

The published way squares a dense transition matrix: T <- T^2, `exp_times` times. Here scores are walked
instead, r = v T^steps, over the few diagonals that hold affinities. Two facts make it fast and exact:

- cells in raster order turn every direction into one diagonal, so a step is a few dozen contiguous
  multiply-adds (scipy's DIA format on the CPU, one strided window on the GPU), without index arrays;
- T's eigenvalues are real and within [-1, 1], and x^n = sum_k c_k T_k(x) over Chebyshev polynomials with
  c_k the distribution of |a simple random walk of n steps|. Terms beyond about 6 sqrt(n) weigh less than 1e-8
  together, so 256 steps take 90 products.

All in float64: rounding 1 / column sum to float32 is repeated by every step, and moves weakly linked cells by
4e-4 after 256 steps; the published dense float32 way is off by 3e-5.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.refine.affinity import grid_affinity
from wsss.refine.background import argmax_labels, background, to_class_ids
from wsss.refine.paths import Cell, path_index
from wsss.sections.background import Rule

Array = Tensor | np.ndarray
TAIL = 1e-8  # weight of the Chebyshev terms left out, below float32 resolution


def walk(scores: Array, edge: Array, radius: float = 5, beta: float = 10.0, steps: int = 256) -> Tensor:
    """Walk scores over the affinities of a boundary map (IRN).

    Args:
        scores: (K, h, w) float32.
        edge: (h, w) boundary probabilities in [0, 1].
        radius: pairs closer than this are connected; beta: power of the affinities.
        steps: length of the walk, 2^exp_times.

    Returns:
        (K, h, w) float32 on the device of `edge`: weighted averages of the scores, constants unchanged.
    """
    edge = torch.as_tensor(edge, dtype=torch.float32)
    index = path_index(radius)
    return walk_affinity(scores, grid_affinity(edge, index), index.directions, beta, steps)


@torch.no_grad()
def walk_affinity(
    scores: Array, planes: Array, directions: Sequence[Cell], beta: float, steps: int
) -> Tensor:
    """Walk scores over given affinities; self affinity is 1, the rest symmetric.

    With S = planes^beta made symmetric plus identity, T = S divided by its column sums: r = v T^steps.

    Args:
        scores: (K, h, w) float32.
        planes: (D, h, w) in [0, 1]: affinity of (y, x) and (y, x) + directions[d]. Values whose target lies
            outside the grid count as 0.
        directions: D half-plane offsets (dy >= 0, dx), each at most once.

    Returns:
        (K, h, w) float32 on the device of `planes`, within the range of each input map.
    """
    planes = torch.as_tensor(planes, dtype=torch.float64)
    scores = torch.as_tensor(scores, dtype=torch.float64, device=planes.device)
    if len(scores) == 0 or steps == 0:
        return scores.float()
    links = inside(planes**beta, directions)
    product = _window_product if planes.is_cuda else _diagonal_product
    walked = _chebyshev(product(links, directions), scores, walk_weights(steps))
    low, high = scores.amin((1, 2), keepdim=True), scores.amax((1, 2), keepdim=True)
    return walked.clamp(low, high).float()


def inside(planes: Tensor, directions: Sequence[Cell]) -> Tensor:
    """(D, h, w) with 0 wherever the target lies outside the grid."""
    kept = torch.zeros_like(planes)
    for d, offset in enumerate(directions):
        source, _ = _overlap(offset, *planes.shape[1:])
        kept[(d, *source)] = planes[(d, *source)]
    return kept


def degrees(links: Tensor, directions: Sequence[Cell]) -> Tensor:
    """Column sums (h, w) of the symmetric matrix with unit diagonal whose half planes are `links`."""
    total = 1.0 + links.sum(dim=0)
    for d, offset in enumerate(directions):
        source, target = _overlap(offset, *links.shape[1:])
        total[target] += links[(d, *source)]
    return total


@lru_cache(maxsize=16)
def walk_weights(steps: int) -> tuple[float, ...]:
    """Chebyshev coefficients c_0 .. c_m of x^steps, cut where the rest weighs less than TAIL; sum 1."""
    weights = [0.0] * (steps + 1)
    for k in range(steps % 2, steps + 1, 2):
        weights[k] = math.comb(steps, (steps - k) // 2) * (2 if k else 1) / 2**steps
    tail = 0.0
    while tail + weights[-1] < TAIL:
        tail += weights.pop()
    return tuple(w / math.fsum(weights) for w in weights)


def _chebyshev(product: Callable[[Tensor], Tensor], scores: Tensor, weights: Sequence[float]) -> Tensor:
    # T_0 = 1, T_1 = P, T_{k+1} = 2 P T_k - T_{k-1}, with P = T transposed acting on each map.
    before, now = scores, product(scores)
    total = weights[0] * before + weights[1] * now
    for weight in weights[2:]:
        before, now = now, product(now).mul_(2.0).sub_(before)
        if weight:
            total.add_(now, alpha=weight)
    return total


def _diagonal_product(links: Tensor, directions: Sequence[Cell]) -> Callable[[Tensor], Tensor]:
    _, height, width = links.shape
    inverse = (1.0 / degrees(links, directions)).reshape(-1).numpy()
    matrix = diagonals(links.numpy(), directions)

    def product(maps: Tensor) -> Tensor:
        out = np.empty((len(maps), height * width))
        # Map by map: scipy has a fast kernel for diagonals times one vector only.
        for k, vector in enumerate(maps.reshape(len(maps), -1).numpy()):
            np.multiply(matrix @ vector, inverse, out=out[k])
        return torch.from_numpy(out).reshape(maps.shape)

    return product


def diagonals(links: np.ndarray, directions: Sequence[Cell]) -> scipy.sparse.dia_array:
    """The symmetric matrix with unit diagonal and half planes `links` (D, h, w), cells in raster order."""
    _, height, width = links.shape
    size = height * width
    rows: defaultdict[int, np.ndarray] = defaultdict(lambda: np.zeros(size))
    rows[0] += 1.0
    for (dy, dx), plane in zip(directions, links.reshape(len(links), size), strict=True):
        step = dy * width + dx
        if not 0 < step < size:
            continue  # every target of this direction lies outside
        # In a narrow image two directions may share a diagonal; no pair of cells belongs to both.
        rows[-step] += plane
        rows[step][step:] += plane[: size - step]
    return scipy.sparse.dia_array((np.stack(list(rows.values())), list(rows)), shape=(size, size))


def _window_product(links: Tensor, directions: Sequence[Cell]) -> Callable[[Tensor], Tensor]:
    """The same product for GPUs: all neighbours times weights, summed in a fixed order."""
    _, height, width = links.shape
    reach = max(max(dy, abs(dx)) for dy, dx in directions)
    side, size = 2 * reach + 1, height * width
    weights = _window_weights(links, directions, reach)
    margin = reach * width + reach

    def product(maps: Tensor) -> Tensor:
        flat = F.pad(maps.reshape(len(maps), size), (margin, margin))
        # Element (k, y, x, n): the neighbour of cell n at (y - reach, x - reach); weight 0 across borders.
        around = flat.as_strided((len(maps), side, side, size), (flat.stride(0), width, 1, 1))
        return (around * weights).sum(dim=(1, 2)).reshape(maps.shape)

    return product


def _window_weights(links: Tensor, directions: Sequence[Cell], reach: int) -> Tensor:
    _, height, width = links.shape
    weights = links.new_zeros(2 * reach + 1, 2 * reach + 1, height, width)
    weights[reach, reach] = 1.0
    for d, (dy, dx) in enumerate(directions):
        source, target = _overlap((dy, dx), height, width)
        weights[(reach + dy, reach + dx, *source)] = links[(d, *source)]
        weights[(reach - dy, reach - dx, *target)] = links[(d, *source)]
    return (weights / degrees(links, directions)).flatten(2)


def _overlap(offset: Cell, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the sources whose target at `offset` lies in the grid, and of those targets."""
    dy, dx = offset
    first, last = max(0, -dx), max(0, width - max(0, dx))
    rows, last = max(0, height - dy), max(first, last)
    source = slice(0, rows), slice(first, last)
    target = slice(dy, dy + rows), slice(first + dx, last + dx)
    return source, target


@torch.no_grad()
def irn_scores(
    cam: np.ndarray,
    edge: Array,
    size_hw: tuple[int, int],
    power: float = 1.0,
    beta: float = 10.0,
    exp_times: int = 8,
    radius: float = 5,
    normalise: str = "global",
) -> np.ndarray:
    """Class maps after the walk (IRN inference, before the threshold).

    Args:
        cam: (K, h, w) float32 in [0, 1] on the walk's grid, h = (H - 1) // 4 + 1.
        edge: (h, w) boundary probabilities.
        size_hw: (H, W) of the image.
        power: maps are raised to it before the walk (AMN 1.3).
        normalise: ``global`` divides by one maximum over all classes (published; weak classes of an image
            stay weak); ``per_class`` by each class's own.

    Returns:
        (K, H, W) float32 in [0, 1]; zeros where the maps are zero.

    Raises:
        ValueError: shapes do not match, or unknown `normalise`.
    """
    axes = {"global": (0, 1, 2), "per_class": (1, 2)}
    if normalise not in axes:
        raise ValueError(f"normalise {normalise!r}: must be global or per_class")
    if cam.shape[1:] != tuple(edge.shape):
        raise ValueError(f"cam {cam.shape[1:]} and edge {tuple(edge.shape)}: must be on the same grid")
    if len(cam) == 0:
        return np.zeros((0, *size_hw), np.float32)
    edge = torch.as_tensor(edge, dtype=torch.float32)
    start = torch.as_tensor(cam, dtype=torch.float32, device=edge.device) ** power * (1.0 - edge)
    walked = walk(start, edge, radius, beta, 2**exp_times)
    full = F.interpolate(walked[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    full = full[:, : size_hw[0], : size_hw[1]]
    peak = full.amax(axes[normalise], keepdim=True)
    return (full / torch.where(peak > 0, peak, 1.0)).cpu().numpy()


def irn_semantic(
    cam: np.ndarray,
    edge: Array,
    size_hw: tuple[int, int],
    keys: Sequence[int],
    bg: Rule,
    bg_map: np.ndarray | None = None,
    **walk_options: Any,
) -> np.ndarray:
    """Pseudo-mask of an image: `irn_scores`, then argmax beside a background rule.

    Args:
        keys: 0-based foreground classes of the K rows.
        bg: published const 0.25 (AMN on COCO 0.22). Of kind ``map`` the background walks with the
            classes, as one of the maps (SIPE).
        bg_map: (h, w) background map on the walk's grid, for bg of kind ``map``.
        walk_options: power, beta, exp_times, radius, normalise of `irn_scores`.

    Returns:
        (H, W) uint8 class ids; background everywhere for K = 0 and for all-zero maps.
    """
    if bg.kind == "map" and len(cam):
        rows = np.concatenate([background(cam, *bg, bg_map)[None], cam])
        return to_class_ids(irn_scores(rows, edge, size_hw, **walk_options).argmax(0), keys)
    scores = irn_scores(cam, edge, size_hw, **walk_options)
    return argmax_labels(scores, background(scores, *bg), keys)
