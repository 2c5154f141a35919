"""Losses over pairs of labelled cells, the same for IRN (CVPR 2019) and AffinityNet (CVPR 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wsss.constants import IGNORE
from wsss.errors import UserError
from wsss.ranks import mean_over_ranks, world
from wsss.refine.affinity import source_view, target_views
from wsss.refine.paths import PathIndex

EPSILON = 1e-5


def require_pairs(net: str, size_hw: Sequence[int], stride: int, index: PathIndex) -> None:
    """UserError where a grid of `size_hw` cells, of `stride` pixels each, is too small for any pair."""
    if min(index.source_shape(*size_hw)) < 1:
        raise UserError(
            f"{net}: crop of {size_hw[0] * stride} x {size_hw[1] * stride} pixels is too small for pairs of radius "
            f"{index.radius}; use a crop of at least {stride * (2 * index.reach + 1)} pixels or a smaller radius"
        )


def pair_types(labels: Tensor, index: PathIndex) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (B, D, h', w') of pairs both background, both the same foreground class, and of two classes."""
    return kinds_of(source_view(labels, index)[:, None], target_views(labels, index))


def kinds_of(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The masks of `pair_types` for labels of both ends, which are broadcast."""
    valid = (source != IGNORE) & (target != IGNORE)
    same = valid & (source == target)
    return same & (source == 0), same & (source > 0), valid & (source != target)


def pair_losses(affinity: Tensor, bg: Tensor, fg: Tensor, negative: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of affinities in [0, 1], (B, D, h', w'), with the masks of `pair_types`.

    Returns:
        positive_bg, positive_fg and negative, each a mean over the batch's pairs of its kind, and total =
        (positive_bg + positive_fg) / 4 + negative / 2; finite where a kind has no pair.
    """
    alike = -torch.log(affinity + EPSILON)
    unlike = -torch.log(1.0 + EPSILON - affinity)
    return total_of({
        "positive_bg": mean_over(alike, bg),
        "positive_fg": mean_over(alike, fg),
        "negative": mean_over(unlike, negative),
    })


def total_of(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses of the three kinds of pair, and `total`, which is minimised."""
    total = (losses["positive_bg"] + losses["positive_fg"]) / 4 + losses["negative"] / 2
    return {"total": total, **losses}


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over `mask` divided by its size + 1e-5, as released: 0 for an empty one."""
    return (values * mask).sum() / (mean_over_ranks(mask.sum()) + EPSILON / world())
