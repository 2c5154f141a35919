"""CAM inference: our engine (flips and equal sizes batched, on a CPU fused layers) against one view at a time.

    python benchmarks/cam_inference.py --images 2 --backbone resnet50 --threads 1 [--photos DIR]

Random weights, statistics as after a training: time does not depend on their values. Photos are those of DIR (*.jpg), brought
to one size, else noise. Both ways take turns in one run on the same inputs, the best of each counts, and their maps are
compared. On a CPU the time is that of the processor, which other work on the machine moves less.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from _timing import report_ratio
from wsss.data.transforms import normalise, resize_image
from wsss.io.images import read_image, scaled
from wsss.methods.cam import CAM
from wsss.nets.fused import ready_to_infer
from wsss.nets.norm import BatchNorm
from wsss.train.device import pick_device

SCALES = (1.0, 0.5, 1.5, 2.0)


def plain(method: CAM, images: list[np.ndarray], device: torch.device) -> list:
    """One image, one scale, one flip at a time, float32, as the reference scripts do."""
    cams = []
    for image in images:
        pairs = []
        for scale in SCALES:
            x = torch.from_numpy(normalise(resize_image(image, scaled(image.shape[:2], scale))))[None].to(device)
            maps = [method({"image": v}, frozenset({"maps"})).maps.relu() for v in (x, x.flip(-1))]
            pairs.append((maps[0] + maps[1].flip(-1)).cpu()[0])
        cams.append(pairs)
    return cams


def ours(method: CAM, images: list[np.ndarray], y: torch.Tensor, device: torch.device, batch: int) -> list:
    """The engine's way: a batch of equal-size images, both flips at once, channels_last, float32 as CAMs always are."""
    cams = []
    for start in range(0, len(images), batch):
        group, maps = images[start : start + batch], []
        ys = y.expand(len(group), -1)
        for scale in SCALES:
            arrays = [normalise(resize_image(i, scaled(i.shape[:2], scale))) for i in group]
            x = torch.from_numpy(np.stack(arrays)).to(device)
            views = torch.cat([x, x.flip(-1)]).contiguous(memory_format=torch.channels_last)
            maps.append(method.seed_maps(views, ys).cpu())
        cams += [[one[row] for one in maps] for row in range(len(group))]
    return cams


def network(backbone: str, device: torch.device) -> CAM:
    """A net whose BatchNorms do something."""
    torch.manual_seed(0)
    method = CAM(20, backbone, {"output_stride": 8} if backbone == "resnet38d" else None)
    with torch.no_grad():
        for norm in (m for m in method.modules() if isinstance(m, BatchNorm)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.1)
    return method.to(device).eval()


def photos(folder: Path | None, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """`count` images (height, width, 3) uint8."""
    if folder is None:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]
    return [resize_image(read_image(path), size) for path in sorted(folder.glob("*.jpg"))[:count]]


def timed(function: Callable, device: torch.device) -> tuple[list, float]:
    """Result and seconds: of the processor on a CPU."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    return function(), clock() - start


def main() -> None:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="folder of *.jpg")
    args = parser.parse_args()
    device = pick_device("auto", args.threads)
    size = (args.height, args.width)
    images = photos(args.photos, args.images, size)
    method = network(args.backbone, device)
    fast = ready_to_infer(copy.deepcopy(method), device)
    y = torch.zeros(20, device=device)
    y[[3, 14]] = 1
    plain_s, ours_s = [], []
    with torch.inference_mode():
        for _ in range(args.turns + 1):  # the first, in which libraries warm up, does not count
            reference, seconds = timed(lambda: plain(method, images, device), device)
            plain_s.append(seconds)
            result, seconds = timed(lambda: ours(fast, images, y, device, args.batch), device)
            ours_s.append(seconds)
    pairs = (pair for one, other in zip(reference, result, strict=True) for pair in zip(one, other, strict=True))
    worst = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    best = min(plain_s[1:]), min(ours_s[1:])
    print(f"{args.images} images {size[0]}x{size[1]}, {args.backbone}, {len(SCALES)} scales + flip, on {device}")
    print(f"images per second: plain {args.images / best[0]:.2f}, ours {args.images / best[1]:.2f}; largest difference {worst:.1e}")
    report_ratio(*best)


if __name__ == "__main__":
    main()
