"""IRN's losses (CVPR 2019): boundaries and displacements are learnt from pairs of confident labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wsss.ranks import mean_over_ranks, world
from wsss.refine.affinity import shifted, source_view
from wsss.refine.pair_sums import boundary_losses
from wsss.refine.pairs import EPSILON, pair_types
from wsss.refine.paths import PathIndex


def label_grid(label: Tensor, size_hw: Sequence[int]) -> Tensor:
    """(B, S, S) labels at the centres of the cells of a grid: pixel 4i + 2 at stride 4."""
    sides = zip(label.shape[1:], size_hw, strict=True)
    rows, cols = (_centres(pixels, cells, label.device) for pixels, cells in sides)
    return label[:, rows][:, :, cols]


def _centres(pixels: int, cells: int, device: torch.device) -> Tensor:
    return (torch.arange(cells, device=device) * 2 + 1) * pixels // (2 * cells)


def irn_losses(edge: Tensor, displacement: Tensor | None, labels: Tensor, index: PathIndex) -> dict[str, Tensor]:
    """Losses over all pairs of the batch, pairs being formed on the device.

    Args:
        edge: (B, h, w) logits.
        displacement: (B, 2, h, w) in cells, or None.
        labels: (B, h, w) uint8, 255 = ignore.

    Returns:
        total = (positive + negative) / 2, plus (displacement_fg + displacement_bg) / 2 with displacement;
        positive is the mean of positive_bg and positive_fg.
    """
    losses = boundary_losses(edge.float().sigmoid(), labels, index)
    if displacement is not None:
        bg, fg, _ = pair_types(labels, index)
        moved = displacement_losses(displacement.float(), bg, fg, index)
        losses["total"] = losses["total"] + (moved["displacement_fg"] + moved["displacement_bg"]) / 2
        losses |= moved
    return losses


def displacement_losses(displacement: Tensor, bg: Tensor, fg: Tensor, index: PathIndex) -> dict[str, Tensor]:
    """Foreground pairs differ by their offset, background pairs not at all (L1, both coordinates)."""
    source = source_view(displacement, index)
    sums = {"displacement_fg": displacement.new_zeros(()), "displacement_bg": displacement.new_zeros(())}
    # Direction by direction: the differences of all pairs at once would be 1 GB at batch 32.
    for d, (dy, dx) in enumerate(index.directions):
        difference = source - shifted(displacement, dy, dx, index)
        offset = difference.new_tensor([dy, dx]).view(1, 2, 1, 1)
        sums["displacement_fg"] = sums["displacement_fg"] + ((difference - offset).abs().sum(1) * fg[:, d]).sum()
        sums["displacement_bg"] = sums["displacement_bg"] + (difference.abs().sum(1) * bg[:, d]).sum()
    counts = {"displacement_fg": mean_over_ranks(fg.sum()), "displacement_bg": mean_over_ranks(bg.sum())}
    return {name: value / (2 * counts[name] + EPSILON / world()) for name, value in sums.items()}
