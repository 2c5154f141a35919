"""AffinityNet's walk: on the sparse engine, against squaring the dense transition matrix six times.

    python benchmarks/affinity_walk.py [--sizes 375x500] [--classes 2] [--threads 1]

Both ways start from the same features and CAM, of an image of the given pixels, and end with a mask. The dense way
makes the affinities with the same function. The ratio is that of the largest size; the affinities' own time, the same
for both, is printed beside it and is part of neither.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.refine.affinity_walk import grid_planes  # noqa: E402
from wsss.refine.background import background  # noqa: E402
from wsss.refine.random_walk import inside, walk_affinity  # noqa: E402

BETA, STEPS = 8.0, 64


def scene(size_hw: tuple[int, int], classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth features (448, h, w) with steps between regions, and scores (K+1, h, w), background first."""
    generator = torch.Generator().manual_seed(0)
    rows, cols = (-(-side // 8) for side in size_hw)
    coarse = torch.rand(1, classes + 1, 6, 8, generator=generator)
    maps = F.interpolate(coarse, size=(rows, cols), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    prototypes = torch.randn(classes + 1, 448, generator=generator)
    features = prototypes[maps.argmax(0)].permute(2, 0, 1) * 0.4
    features = features + 0.1 * torch.randn(features.shape, generator=generator)
    cam = (maps[1:] / maps[1:].amax((1, 2), keepdim=True)).numpy()
    return features, torch.from_numpy(np.concatenate([background(cam, "power", 6)[None], cam]))


def dense_walk(scores: torch.Tensor, planes: torch.Tensor, directions) -> torch.Tensor:
    """The published way in float32: T = A^beta / column sums, T <- T^2 six times, r = v T."""
    height, width = planes.shape[1:]
    matrix = torch.eye(height * width)
    cells = torch.arange(height * width).reshape(height, width)
    for plane, (dy, dx) in zip(inside(planes, directions), directions, strict=True):
        source = cells[: height - dy, max(0, -dx) : width - max(0, dx)].flatten()
        values = plane.flatten()[source] ** BETA
        matrix[source, source + dy * width + dx] = values
        matrix[source + dy * width + dx, source] = values
    matrix /= matrix.sum(dim=0)
    for _ in range(6):
        matrix = matrix @ matrix
    return (scores.flatten(1) @ matrix).reshape(scores.shape)


def timed(function, repeats: int):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        out = function()
        seconds.append(time.perf_counter() - start)
    return out, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["240x320", "375x500"], help="pixels, HxW")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for size in sorted((tuple(map(int, size.split("x"))) for size in args.sizes), key=np.prod):
        features, scores = scene(size, args.classes)
        (planes, index), planes_s = timed(lambda f=features: grid_planes(f, 5), 3)
        parts = scores, planes, index.directions
        ours, ours_s = timed(lambda p=parts: walk_affinity(*p, BETA, STEPS), 5)
        plain, plain_s = timed(lambda p=parts: dense_walk(*p), 1)
        cells = planes.shape[1] * planes.shape[2]
        same = (ours.argmax(0) == plain.argmax(0)).float().mean().item()
        print(
            f"{size[0]}x{size[1]} pixels, {cells} cells, {args.classes} classes: sparse {ours_s:.4f} s, dense {plain_s:.2f} s "
            f"with 3 matrices of {cells**2 * 4 / 2**20:.0f} MB; affinities {planes_s:.3f} s; same argmax {100 * same:.3f} % "
            f"of cells, largest difference {(ours - plain).abs().max():.1e}"
        )
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
