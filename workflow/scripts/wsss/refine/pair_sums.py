"""IRN's pair losses direction by direction, so that no array over all pairs ever stands in memory.

At radius 10, batch 32 and crop 512 one such array is 250 MB, and autograd would keep ten of them.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsss.ranks import mean_over_ranks, world
from wsss.refine.affinity import RunMaps, path_maximum, run_maps, scatter_to_runs, shifted, sum_run_gradients
from wsss.refine.pairs import EPSILON, kinds_of, total_of
from wsss.refine.paths import PathIndex

KINDS = ("positive_bg", "positive_fg", "negative")


def boundary_losses(boundary: Tensor, labels: Tensor, index: PathIndex) -> dict[str, Tensor]:
    """`pair_losses` of all pairs of boundary (B, h, w), probabilities in float32; labels (B, h, w) uint8, 255 = ignore."""
    sums, counts = _PairSums.apply(boundary, labels, index)
    means = sums / (mean_over_ranks(counts) + EPSILON / world())
    return total_of(dict(zip(KINDS, means, strict=True)))


def _kinds(labels: Tensor, dy: int, dx: int, index: PathIndex) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (B, h', w') of the pairs in one direction, by KINDS."""
    return kinds_of(shifted(labels, 0, 0, index), shifted(labels, dy, dx, index))


class _PairSums(torch.autograd.Function):
    """Sums of the cross-entropies by kind, (3,), and how many pairs they are of; the backward pass makes the maxima again."""

    @staticmethod
    def forward(ctx: Any, boundary: Tensor, labels: Tensor, index: PathIndex) -> tuple[Tensor, Tensor]:
        maps = run_maps(boundary, index)
        sums, counts = boundary.new_zeros(3), boundary.new_zeros(3)
        for d, (dy, dx) in enumerate(index.directions):
            affinity = 1.0 - path_maximum(maps, d, index, boundary.shape)
            alike, unlike = -torch.log(affinity + EPSILON), -torch.log(1.0 + EPSILON - affinity)
            kinds = _kinds(labels, dy, dx, index)
            sums += torch.stack([(v * mask).sum() for v, mask in zip((alike, alike, unlike), kinds, strict=True)])
            counts += torch.stack([mask.sum() for mask in kinds])
        ctx.save_for_backward(boundary, labels)
        ctx.index = index
        ctx.mark_non_differentiable(counts)
        return sums, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        boundary, labels = ctx.saved_tensors
        index = ctx.index
        maps = run_maps(boundary, index)
        grads: dict[bool, RunMaps] = {vertical: [torch.zeros_like(m) for m in chain] for vertical, chain in maps.items()}
        for d, (dy, dx) in enumerate(index.directions):
            maximum = path_maximum(maps, d, index, boundary.shape)
            affinity = 1.0 - maximum
            bg, fg, negative = _kinds(labels, dy, dx, index)
            slope = (grad[0] * bg + grad[1] * fg) / (affinity + EPSILON) - grad[2] * negative / (1.0 + EPSILON - affinity)
            scatter_to_runs(grads, maps, slope, maximum, d, index)
        return sum_run_gradients(maps, grads), None, None
