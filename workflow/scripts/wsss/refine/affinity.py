"""Affinity of all pairs of a grid from a boundary map, by maxima over shifted views.

a_ij = 1 - max over the path from i to j of the boundary probability (IRN, CVPR 2019). Every path is a few
rows or columns of cells, and the maximum over n cells in a row is one map shared by all paths, so that no
index table is needed and R = 10 takes about 700 maxima instead of 2000.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsss.refine.paths import PathIndex, Run

RunMaps = list[Tensor]  # entry n - 1: the maximum over n cells from here on


def source_view(grid: Tensor, index: PathIndex) -> Tensor:
    """Cells of (..., h, w) that have every target inside the grid: rows 0..h-r-1, columns r..w-r-1."""
    return shifted(grid, 0, 0, index)


def target_views(grid: Tensor, index: PathIndex) -> Tensor:
    """(B, ..., h, w) -> (B, D, ..., h', w'): for each source and direction the value at its target."""
    return torch.stack([shifted(grid, dy, dx, index) for dy, dx in index.directions], dim=1)


def shifted(grid: Tensor, dy: int, dx: int, index: PathIndex) -> Tensor:
    """The view (..., h', w') of the cells at (dy, dx) from each source."""
    rows, cols = index.source_shape(*grid.shape[-2:])
    return _window(grid, dy, index.reach + dx, rows, cols)


def pair_affinity(boundary: Tensor, index: PathIndex) -> Tensor:
    """Affinity of all pairs that training uses; differentiable once, deterministic.

    Args:
        boundary: (B, h, w) probabilities, h > reach and w > 2 reach.

    Returns:
        (B, D, h - reach, w - 2 reach) in [0, 1].
    """
    return 1.0 - _PathMaxima.apply(boundary, index)


@torch.no_grad()
def grid_affinity(boundary: Tensor, index: PathIndex) -> Tensor:
    """Affinity of every cell of an image to its neighbours; 0 to those outside.

    Args:
        boundary: (h, w) probabilities of any size.

    Returns:
        (D, h, w): plane d at (y, x) belongs to (y, x) and (y, x) + directions[d].
    """
    r = index.reach
    # A wall of 1.0 around the image: nothing connects through it, and every cell becomes a source.
    walled = F.pad(boundary[None], (r, r, 0, r), value=1.0)
    return pair_affinity(walled, index)[0]


class _PathMaxima(torch.autograd.Function):
    """Maximum over each path; the gradient goes to the first cell that attains it.

    Saves the boundary map and the result only: plain autograd would keep every intermediate maximum
    (gigabytes at batch 32 and R = 10).
    """

    @staticmethod
    def forward(ctx: Any, boundary: Tensor, index: PathIndex) -> Tensor:
        maps = run_maps(boundary, index)
        rows, cols = index.source_shape(*boundary.shape[-2:])
        out = boundary.new_empty(boundary.shape[0], len(index.directions), rows, cols)
        for d in range(len(index.directions)):
            path_maximum(maps, d, index, boundary.shape, out[:, d])
        ctx.save_for_backward(boundary, out)
        ctx.index = index
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        boundary, out = ctx.saved_tensors
        maps = run_maps(boundary, ctx.index)
        grads: dict[bool, RunMaps] = {vertical: [torch.zeros_like(m) for m in chain] for vertical, chain in maps.items()}
        for d in range(len(ctx.index.directions)):
            scatter_to_runs(grads, maps, grad[:, d].clone(), out[:, d], d, ctx.index)
        return sum_run_gradients(maps, grads), None


def path_maximum(
    maps: dict[bool, RunMaps], direction: int, index: PathIndex, shape: Sequence[int], out: Tensor | None = None
) -> Tensor:
    """Maximum over the paths of one direction, (B, h', w'), into `out` where given; shape: of the boundary map."""
    rows, cols = index.source_shape(*shape[-2:])
    first, *others = (_run_view(maps, run, index, rows, cols) for run in index.runs[direction])
    out = first.clone() if out is None else out.copy_(first)
    for view in others:
        torch.maximum(out, view, out=out)
    return out


def scatter_to_runs(
    grads: dict[bool, RunMaps], maps: dict[bool, RunMaps], left: Tensor, maximum: Tensor, direction: int, index: PathIndex
) -> None:
    """Add `left`, the gradient of the maxima of one direction, which is used up, to the runs that attain them first."""
    rows, cols = maximum.shape[-2:]
    for run in index.runs[direction]:
        hit = left * (_run_view(maps, run, index, rows, cols) == maximum)
        _run_view(grads, run, index, rows, cols).add_(hit)
        left -= hit


def sum_run_gradients(maps: dict[bool, RunMaps], grads: dict[bool, RunMaps]) -> Tensor:
    """Gradient of the boundary map, (B, h, w), from those of the run maps, which are used up."""
    for vertical, chain in maps.items():
        _back_through_runs(chain, grads[vertical], vertical)
    # Both chains begin with the boundary map itself.
    return grads[False][0] + grads[True][0]


def run_maps(boundary: Tensor, index: PathIndex) -> dict[bool, RunMaps]:
    """Maxima over 1, 2, ... cells in a row (False) and in a column (True), as long as the paths' runs are."""
    chains: dict[bool, RunMaps] = {False: [boundary], True: [boundary]}
    runs = [run for runs in index.runs for run in runs]
    for vertical, chain in chains.items():
        axis = -2 if vertical else -1
        longest = max((run.length for run in runs if run.vertical is vertical), default=1)
        for n in range(1, longest):
            size = boundary.shape[axis] - n
            chain.append(torch.maximum(chain[-1].narrow(axis, 0, size), boundary.narrow(axis, n, size)))
    return chains


def _back_through_runs(chain: RunMaps, grads: RunMaps, vertical: bool) -> None:
    """Move the gradient of each run map to the run map one shorter or to the cell added last."""
    axis = -2 if vertical else -1
    for n in range(len(chain) - 1, 0, -1):
        size = chain[n].shape[axis]
        shorter = chain[n - 1].narrow(axis, 0, size)
        from_shorter = grads[n] * (shorter == chain[n])
        grads[n - 1].narrow(axis, 0, size).add_(from_shorter)
        grads[0].narrow(axis, n, size).add_(grads[n] - from_shorter)


def _run_view(maps: dict[bool, RunMaps], run: Run, index: PathIndex, rows: int, cols: int) -> Tensor:
    return _window(maps[run.vertical][run.length - 1], run.dy, index.reach + run.dx, rows, cols)


def _window(grid: Tensor, top: int, left: int, rows: int, cols: int) -> Tensor:
    return grid[..., top : top + rows, left : left + cols]
