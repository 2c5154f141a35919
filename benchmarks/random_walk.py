"""IRN's random walk: sparse, against squaring the dense transition matrix eight times.

    python benchmarks/random_walk.py [--sizes 47x63 94x125] [--classes 2] [--full] [--threads 1]

Both ways start from the same boundary map and scores and end with scores on the grid. Sizes above 47x63 cells
are extrapolated from the largest one measured (time ~ cells^3) unless --full is given: the dense way then
takes minutes and 3 GB at 94x125, the grid of a 375x500 image. Memory is each way's own peak, in a process of
its own. The ratio is that of the largest size.
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.refine.affinity import grid_affinity  # noqa: E402
from wsss.refine.paths import path_index  # noqa: E402
from wsss.refine.random_walk import walk  # noqa: E402

MEASURED_CELLS = 47 * 63


def scene(size_hw: tuple[int, int], classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Closed object borders with noise (h, w), and blurred class scores (K, h, w), both in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, classes + 1, 6, 8, generator=generator)
    maps = F.interpolate(coarse, size=size_hw, mode="bicubic", align_corners=False)[0]
    regions = F.pad(maps.argmax(0), (0, 1, 0, 1)).float()
    border = (regions[1:, :-1] != regions[:-1, :-1]) | (regions[:-1, 1:] != regions[:-1, :-1])
    noise = torch.rand(size_hw, generator=generator)
    return (0.75 * border + 0.2 * noise).clamp(0, 1), maps[:classes].clamp(0, 1)


def dense_walk(scores: torch.Tensor, edge: torch.Tensor) -> torch.Tensor:
    """The published way in float32: T = A^10 / column sums, T <- T^2 eight times, r = v T."""
    height, width = edge.shape
    index = path_index(5)
    matrix = torch.eye(height * width)
    cells = torch.arange(height * width).reshape(height, width)
    for plane, (dy, dx) in zip(grid_affinity(edge, index), index.directions, strict=True):
        source = cells[: height - dy, max(0, -dx) : width - max(0, dx)].flatten()
        values = plane.flatten()[source] ** 10
        matrix[source, source + dy * width + dx] = values
        matrix[source + dy * width + dx, source] = values
    matrix /= matrix.sum(dim=0)
    for _ in range(8):
        matrix = matrix @ matrix
    return (scores.flatten(1) @ matrix).reshape(scores.shape)


WAYS = {"dense": dense_walk, "sparse": walk}


def measure(
    way: str, size_hw: tuple[int, int], classes: int, threads: int
) -> tuple[np.ndarray, float, float]:
    """(scores, seconds, MB on top of the idle process); the sparse way's best of five."""
    torch.set_num_threads(threads)
    edge, scores = scene(size_hw, classes)
    WAYS[way](*reversed(scene((12, 12), classes)))  # libraries load at the first call
    before, seconds = getrusage(RUSAGE_SELF).ru_maxrss, []
    for _ in range(1 if way == "dense" else 5):
        start = time.perf_counter()
        out = WAYS[way](scores, edge)
        seconds.append(time.perf_counter() - start)
    return out.numpy(), min(seconds), (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024


def in_fresh_process(*arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def labels(scores: np.ndarray) -> np.ndarray:
    """Argmax beside a background of 0.25, as the pseudo-masks are made."""
    return np.concatenate([np.full_like(scores[:1], 0.25), scores / scores.max()]).argmax(0)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--sizes", nargs="+", default=["47x63", "94x125"], help="grid cells, HxW")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="run the dense way at every size")
    args = parser.parse_args()
    sizes = sorted((tuple(map(int, size.split("x"))) for size in args.sizes), key=np.prod)
    measured = None
    for size in sizes:
        cells = int(np.prod(size))
        ours, ours_s, ours_mb = in_fresh_process("sparse", size, args.classes, args.threads)
        print(f"{size[0]}x{size[1]} cells, {args.classes} classes: sparse {ours_s:.4f} s, {ours_mb:.0f} MB")
        if args.full or cells <= MEASURED_CELLS or measured is None:
            plain, plain_s, plain_mb = in_fresh_process("dense", size, args.classes, args.threads)
            same = (labels(ours) == labels(plain)).mean()
            error = (abs(ours - plain) / plain.max()).max()
            measured = cells, plain_s
            print(
                f"    dense {plain_s:.2f} s, {plain_mb:.0f} MB; same argmax {100 * same:.3f} % of cells, "
                f"largest difference {error:.1e} of the maximum"
            )
        else:
            plain_s = measured[1] * (cells / measured[0]) ** 3
            print(
                f"    dense {plain_s:.0f} s, extrapolated from {measured[0]} cells; 3 matrices of "
                f"{cells**2 * 4 / 2**20:.0f} MB"
            )
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
