"""Threshold sweep: one pass over the CAMs against reading and scoring every CAM once per threshold.

    python benchmarks/sweep.py [--images 20] [--height 375] [--width 500] [--thresholds 100]

The CAMs are synthetic (smooth blobs, one to three classes an image) and lie on disk as the workflow stores them.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.io.cam_forms import Form  # noqa: E402
from wsss.io.cams import read_cam, write_cam  # noqa: E402
from wsss.io.grids import ceil16  # noqa: E402
from wsss.io.masks import read_mask, write_mask  # noqa: E402
from wsss.refine.background import argmax_labels, background  # noqa: E402
from wsss.score.confusion import confusion, iou  # noqa: E402
from wsss.score.sweep import Sweep  # noqa: E402

CLASSES = 20
SCALES = (1.0, 0.5, 1.5, 2.0)
FORM = Form("sum", "pad16", "max", SCALES)


def make_images(
    folder: Path, count: int, size_hw: tuple[int, int]
) -> list[tuple[Path, Path, tuple[int, ...]]]:
    """Write CAMs and ground truth; returns (CAM, mask, keys) per image."""
    rng, images = np.random.default_rng(0), []
    for i in range(count):
        keys = tuple(np.sort(rng.choice(CLASSES, rng.integers(1, 4), replace=False)).tolist())
        grids = [[ceil16(round(side * s)) // 16 for side in size_hw] for s in SCALES]
        paths = folder / f"{i}.npz", folder / f"{i}.png"
        write_cam(paths[0], keys, [np.stack([blob(rng, grid) for _ in keys]) for grid in grids])
        at_size = cam_at(paths[0], size_hw)
        write_mask(paths[1], argmax_labels(at_size, background(at_size, "const", 0.35), keys))
        images.append((*paths, keys))
    return images


def cam_at(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """(K, H, W) float32 of a file."""
    return FORM.read(read_cam(path), size_hw, size_hw)


def blob(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """A bump with ripples, (h, w) float32 in [0, 1]."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] / np.array(size_hw)[:, None, None]
    centre, width = rng.random(2), rng.uniform(0.05, 0.3)
    bump = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2)
    return (bump * (0.9 + 0.1 * np.sin(40 * (x + y)))).astype(np.float32).clip(0, 1)


def plain_way(images, values) -> list[float]:
    """Score every threshold on its own."""
    mious = []
    for value in values:
        total = np.zeros((CLASSES + 1, CLASSES + 2), np.int64)
        for cam_path, mask_path, keys in images:
            gt = read_mask(mask_path)
            cam = cam_at(cam_path, gt.shape)
            total += confusion(gt, argmax_labels(cam, background(cam, "const", value), keys), CLASSES + 1)
        mious.append(100 * float(np.nanmean(iou(total))))
    return mious


def our_way(images, values) -> list[float]:
    """All thresholds from one pass."""
    sweep = Sweep(CLASSES, "const", values)
    for cam_path, mask_path, keys in images:
        gt = read_mask(mask_path)
        sweep.add(cam_at(cam_path, gt.shape), keys, gt)
    return sweep.result().miou.tolist()


def timed(function, *arguments):
    start = time.perf_counter()
    found = function(*arguments)
    return found, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("images", 20), ("height", 375), ("width", 500), ("thresholds", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    values = np.arange(args.thresholds) / args.thresholds
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), args.images, (args.height, args.width))
        ours, ours_s = timed(our_way, images, values)
        plain, plain_s = timed(plain_way, images, values)
    np.testing.assert_allclose(ours, plain, atol=1e-9)
    print(
        f"{args.images} images of {args.height}x{args.width}, {args.thresholds} thresholds; same mIoU at each"
    )
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
