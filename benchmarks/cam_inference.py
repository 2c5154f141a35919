"""CAM inference: our engine (flips and equal sizes batched, channels_last) against one view at a time.

    python benchmarks/cam_inference.py --images 8 --backbone resnet18 --height 375 --width 500

Random weights and images: time does not depend on their values. Both ways are timed in one run on the
same inputs, and their maps are compared.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from _timing import report_ratio
from wsss.data.transforms import normalise, resize_image
from wsss.io.images import scaled
from wsss.methods.cam import CAM
from wsss.train.device import autocast, pick_device

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
    """The engine's way: a batch of equal-size images, both flips at once, channels_last, autocast on a GPU."""
    cams = []
    for start in range(0, len(images), batch):
        group, maps = images[start : start + batch], []
        ys = y.expand(len(group), -1)
        for scale in SCALES:
            arrays = [normalise(resize_image(i, scaled(i.shape[:2], scale))) for i in group]
            x = torch.from_numpy(np.stack(arrays)).to(device)
            views = torch.cat([x, x.flip(-1)]).contiguous(memory_format=torch.channels_last)
            with autocast(device, "auto"):
                maps.append(method.seed_maps(views, ys).float().cpu())
        cams += [[one[row] for one in maps] for row in range(len(group))]
    return cams


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    device = pick_device("auto", args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    size = (args.height, args.width)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(args.images)]
    method = CAM(20, args.backbone).to(device).eval()
    y = torch.zeros(20, device=device)
    y[[3, 14]] = 1
    with torch.inference_mode():
        plain(method, images[:1], device)
        start = time.perf_counter()
        reference = plain(method, images, device)
        plain_s = time.perf_counter() - start
        fast = method.to(memory_format=torch.channels_last)
        ours(fast, images[: args.batch], y, device, args.batch)
        start = time.perf_counter()
        result = ours(fast, images, y, device, args.batch)
        ours_s = time.perf_counter() - start
    pairs = (pair for one, other in zip(reference, result, strict=True) for pair in zip(one, other, strict=True))
    worst = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    print(f"{args.images} images {size[0]}x{size[1]}, {args.backbone}, {len(SCALES)} scales + flip, on {device}")
    print(f"images per second: plain {args.images / plain_s:.2f}, ours {args.images / ours_s:.2f}; largest difference {worst:.1e}")
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
