"""SEAM's pixel correlation module, forward and backward: ours, part by part, against the whole matrix.

    python benchmarks/pcm.py --side 56 --batch 1

Plain: A = relu(g^T g), normalised, G A, by autograd; per image it holds several (hw x hw) matrices between the
passes. Ours: `wsss.nets.pcm.correlate`, which makes a part of A's columns at a time, and again for the gradient.
Both get the same guide and embedding, each in a process of its own, so that its peak memory is its own; they take
turns, so that other work on the machine slows both, and the fastest pass counts.
"""

import argparse
import contextlib
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.nets.pcm import correlate  # noqa: E402


def plain_correlate(guide: Tensor, embedding: Tensor) -> Tensor:
    """The formula as it stands in the paper."""
    unit = embedding.flatten(2)
    unit = unit / (unit.norm(dim=1, keepdim=True) + 1e-5)
    affinity = F.relu(unit.transpose(1, 2) @ unit)
    affinity = affinity / (affinity.sum(1, keepdim=True) + 1e-5)
    return (guide.flatten(2) @ affinity).view_as(guide)


WAYS = {"plain": plain_correlate, "ours": correlate}


def inputs(side: int, batch: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    guide = torch.rand(batch, 21, side, side, generator=generator).to(device)
    return guide, torch.randn(batch, 192, side, side, generator=generator).to(device).requires_grad_()


def prepare(way: str, side: int, batch: int, device: str, threads: int) -> None:
    """Make this process's tensors, and run once on a few cells so that libraries are loaded."""
    global function, tensors, before
    torch.set_num_threads(threads)
    function = WAYS[way]
    guide, embedding = inputs(6, 1, device)
    function(guide, embedding).square().sum().backward()
    tensors = inputs(side, batch, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = peak_mb(device)


def peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_pass(device: str) -> tuple[float, Tensor, Tensor, float]:
    """(seconds, result, gradient, peak memory in MB above what the inputs took)."""
    guide, embedding = tensors
    embedding.grad = None
    start = time.perf_counter()
    out = function(guide, embedding)
    out.square().sum().backward()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return seconds, out.detach().cpu(), embedding.grad.cpu(), peak_mb(device) - before


def main() -> None:
    """Time both ways, compare results, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=56, help="cells; 56 is a crop of 448 at stride 8")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    print(f"PCM, {args.side}x{args.side} cells, 192 channels, 21 maps, batch {args.batch}, {args.threads} threads")
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        settings = (args.side, args.batch, args.device, args.threads)
        pools = {way: stack.enter_context(context.Pool(1, prepare, (way, *settings))) for way in WAYS}
        turns = [{way: pool.apply(one_pass, (args.device,)) for way, pool in pools.items()} for _ in range(args.turns)]
    matrix = args.side**4 * 4 / 2**20
    for way in WAYS:
        seconds, peak = min(turn[way][0] for turn in turns), turns[-1][way][3] / args.batch
        print(f"    {way}: {seconds:.3g} s, peak {peak:.0f} MB an image ({peak / matrix:.1f} matrices of {matrix:.0f} MB)")
    for what, place in (("results", 1), ("gradients", 2)):
        plain, ours = turns[0]["plain"][place], turns[0]["ours"][place]
        print(f"{what} differ by at most {(plain - ours).abs().max() / plain.abs().max():.1e} of the largest")
    report_ratio(*(min(turn[way][0] for turn in turns) for way in WAYS))


if __name__ == "__main__":
    main()
