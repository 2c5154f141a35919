"""IRN's pair loss, forward and backward: maxima over shifted views against pairs gathered through index tables.

    python benchmarks/irn_training.py --batch 2 --crop 256

The plain way is the obvious one: for each pair the cells of its path are gathered, autograd keeps them, and the labels
of both ends are gathered likewise. The loss alone is measured; what the network before it costs is the same for both. Each
side has a process of its own, so that each has its own peak of memory; they take turns.
"""

import argparse
import resource
import sys
import time
from collections import defaultdict
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import memory_mb, report_ratio  # noqa: E402
from wsss.refine.irn import irn_losses  # noqa: E402
from wsss.refine.pairs import pair_losses  # noqa: E402
from wsss.refine.paths import PathIndex, path_index  # noqa: E402

RADIUS = 10


def gathered_losses(edge: Tensor, labels: Tensor, index: PathIndex) -> dict[str, Tensor]:
    """The same losses from tables of cell numbers, (pairs, cells of the path), one table a path length."""
    height, width = edge.shape[1:]
    rows, cols = index.source_shape(height, width)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols) + index.reach, indexing="ij")
    source = (y * width + x).flatten()
    by_length = defaultdict(list)
    for path in index.paths:
        by_length[len(path)].append(torch.tensor([dy * width + dx for dy, dx in path]))
    boundary, flat = edge.sigmoid().flatten(1), labels.flatten(1)
    affinities, ends = [], []
    for paths in by_length.values():
        table = source[None, :, None] + torch.stack(paths)[:, None]  # directions of one length, sources, cells
        affinities.append(1 - boundary[:, table].amax(-1))
        ends.append(flat[:, table[..., 0]])
    start, end = flat[:, None, source], torch.cat(ends, 1)
    valid = (start != 255) & (end != 255)
    same = valid & (start == end)
    return pair_losses(torch.cat(affinities, 1), same & (start == 0), same & (start > 0), valid & (start != end))


def data(batch: int, cells: int) -> tuple[Tensor, Tensor]:
    """Edge logits (B, h, w) and labels of blobs (B, h, w) uint8, a fifth of them ignored."""
    generator = torch.Generator().manual_seed(0)
    blobs = torch.randint(0, 4, (batch, cells // 16 + 1, cells // 16 + 1), generator=generator, dtype=torch.uint8)
    labels = blobs.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :cells, :cells].clone()
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return torch.randn(batch, cells, cells, generator=generator), labels


def step(gathered: bool, batch: int, cells: int) -> tuple[float, float, Tensor]:
    """Processor seconds, loss and gradient of one forward and backward pass."""
    edge, labels = data(batch, cells)
    edge.requires_grad_()
    index, start = path_index(RADIUS), time.process_time()
    losses = gathered_losses(edge, labels, index) if gathered else irn_losses(edge, None, labels, index)
    losses["total"].backward()
    assert edge.grad is not None
    return time.process_time() - start, losses["total"].item(), edge.grad


def begin() -> None:
    """One thread, and the memory that libraries take, before the first step."""
    global _before
    torch.set_num_threads(1)
    step(False, 1, 24)
    _before = memory_mb("VmRSS")


def peak() -> float:
    """MB beyond the libraries."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - _before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", type=int, default=256, help="pixels; published 512, batch 32")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    size, context = (args.batch, args.crop // 4), get_context("spawn")
    with context.Pool(1, begin) as plain, context.Pool(1, begin) as ours:
        turns = [(plain.apply(step, (True, *size)), ours.apply(step, (False, *size))) for _ in range(args.turns)]
        peaks = plain.apply(peak), ours.apply(peak)
    (_, plain_loss, plain_grad), (_, our_loss, our_grad) = turns[0]
    difference = float((plain_grad - our_grad).abs().max() / plain_grad.abs().max())
    print(f"pair loss, radius {RADIUS}, batch {args.batch}, crop {args.crop}, one thread")
    print(f"loss {plain_loss:.6f} and {our_loss:.6f}; gradients differ by at most {difference:.1e} of the largest")
    print(f"memory: {peaks[0] / peaks[1]:.1f} times less (plain {peaks[0]:.0f} MB, ours {peaks[1]:.0f} MB)")
    report_ratio(min(turn[0][0] for turn in turns), min(turn[1][0] for turn in turns))


if __name__ == "__main__":
    main()
