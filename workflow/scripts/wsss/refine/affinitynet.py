"""What AffinityNet (Ahn and Kwak, CVPR 2018) learns from and by: labels of cells from two CRF passes, affinities of features."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsss.constants import IGNORE
from wsss.refine.affinity import shifted, source_view
from wsss.refine.paths import PathIndex

STRIDE = 8  # pixels a cell


def feature_affinity(features: Tensor, index: PathIndex) -> Tensor:
    """exp(-mean over channels of |f_i - f_j|) of all pairs that training uses; differentiable once.

    (B, c, h, w), h > reach and w > 2 reach -> (B, D, h - reach, w - 2 reach) in (0, 1].
    """
    return _FeatureAffinity.apply(features, index)


class _FeatureAffinity(torch.autograd.Function):
    """Saves features and affinities only: plain autograd would keep every difference, 1.2 GB at batch 8."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, index: PathIndex) -> Tensor:
        source = source_view(features, index)
        targets = (shifted(features, dy, dx, index) for dy, dx in index.directions)
        out = torch.stack([(source - target).abs_().mean(1) for target in targets], dim=1).neg_().exp_()
        ctx.save_for_backward(features, out)
        ctx.index = index
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        features, out = ctx.saved_tensors
        index, total = ctx.index, torch.zeros_like(features)
        source, at_source = source_view(features, index), source_view(total, index)
        pull = grad * out / -features.shape[1]
        for d, (dy, dx) in enumerate(index.directions):
            part = (source - shifted(features, dy, dx, index)).sign_().mul_(pull[:, d, None])
            at_source += part
            target = shifted(total, dy, dx, index)
            target -= part
        return total, None


def cell_labels(probs: np.ndarray) -> np.ndarray:
    """Labels of stride-8 cells from the two CRF passes over an image.

    Args:
        probs: (2, K+1, S, S) probabilities, any scale, 0 in padding; the confident pass first, background
            first. S is filled up to a multiple of 8.

    Returns:
        (s, s) uint8 rows: the confident pass's class; 0 where the unsure pass says background; else 255, also
        where nothing is known. Rows are positions in the image's own list: pairs are compared within an image.
    """
    spare = -probs.shape[-1] % STRIDE
    probs = np.pad(probs, ((0, 0), (0, 0), (0, spare), (0, spare))) if spare else probs
    side = probs.shape[-1] // STRIDE
    cells = probs.reshape(*probs.shape[:2], side, STRIDE, side, STRIDE).sum(axis=(3, 5), dtype=np.float32)
    confident, unsure = cells.argmax(axis=1)
    label = np.where(confident == 0, IGNORE, confident)
    label[unsure == 0] = 0
    label[cells.sum(axis=(0, 1)) == 0] = IGNORE
    return label.astype(np.uint8)
