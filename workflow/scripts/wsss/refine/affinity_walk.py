"""AffinityNet's walk (CVPR 2018, as SEAM uses it): background and class scores spread between cells of like features."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.refine.affinitynet import STRIDE, feature_affinity
from wsss.refine.background import background, to_class_ids
from wsss.refine.paths import PathIndex, path_index
from wsss.refine.random_walk import walk_affinity
from wsss.sections.background import Rule


@torch.no_grad()
def affinitynet_semantic(
    cam: np.ndarray,
    features: Tensor,
    keys: Sequence[int],
    bg: Rule,
    beta: float = 8.0,
    exp_times: int = 6,
    radius: float = 5,
    pairs: str = "all",
    bg_map: np.ndarray | None = None,
) -> np.ndarray:
    """Pseudo-mask of an image: background and class scores on stride-8 cells, walked, brought back, argmax.

    Args:
        cam: (K, H, W) float32 in [0, 1] at image size, K > 0.
        features: (c, h, w) of the image, h = ceil(H / 8).
        keys: 0-based foreground classes of the K rows.
        bg: the background that walks too; published: (1 - max)^6.
        beta: power of the affinities; exp_times: 2^exp_times steps.
        pairs: of `grid_planes`.
        bg_map: (H, W) background map, for bg of kind ``map``.

    Returns:
        (H, W) uint8 class ids; background where the maps are zero.
    """
    height, width = cam.shape[1:]
    scores = np.concatenate([background(cam, *bg, bg_map)[None], cam])
    start = torch.from_numpy(scores).to(features.device)
    # Zeros fill the last cells up, as released: all scores of a cell shrink alike.
    start = F.avg_pool2d(F.pad(start, (0, -width % STRIDE, 0, -height % STRIDE)), STRIDE)
    planes, index = grid_planes(features.float(), radius, pairs)
    walked = walk_affinity(start, planes, index.directions, beta, 2**exp_times)
    full = F.interpolate(walked[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)[0]
    return to_class_ids(full[:, :height, :width].argmax(0).cpu().numpy(), keys)


@torch.no_grad()
def grid_planes(features: Tensor, radius: float, pairs: str = "all") -> tuple[Tensor, PathIndex]:
    """Affinity of every cell of an image to its neighbours, for the walk.

    Args:
        features: (c, h, w) of any size.
        pairs: ``all`` pairs within the radius; or ``inner``, as released: pairs whose source lies `reach` cells
            from the left, right and bottom border, the radius shrinking on grids below 2 radius + 1 cells.

    Returns:
        (D, h, w), plane d at (y, x) belonging to (y, x) and (y, x) + directions[d], 0 where there is no pair;
        and the directions' index.
    """
    height, width = features.shape[-2:]
    if pairs == "inner":
        side = min(height, width)
        index = path_index(max(2, (side - 1) // 2) if side < 2 * radius + 1 else radius)
        rows, cols = index.source_shape(height, width)
        planes = features.new_zeros(len(index.directions), height, width)
        if min(rows, cols) > 0:
            planes[:, :rows, index.reach : index.reach + cols] = feature_affinity(features[None], index)[0]
        return planes, index
    index = path_index(radius)
    r = index.reach
    # A frame around the image makes every cell a source; the walk takes no notice of pairs that leave the grid.
    return feature_affinity(F.pad(features[None], (r, r, 0, r)), index)[0], index
