"""Stored CAMs: the network's own maps, one a scale, against the former format, one map a class on a stride-4 grid.

    python benchmarks/cam_storage.py [--height 375] [--width 500] [--classes 2] [--stride 16 8] [--repeats 20]

Bytes an image, CPU seconds to read it at its size, and the share of seed pixels that differ from the released order at full
size in float32 (each scale resized to the image, summed, divided by the maximum), at thresholds 0.15 and 0.30. The maps
are bumps of random size and place, a little different at every scale, as rough as those of a network.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss.io.cam_forms import Form  # noqa: E402
from wsss.io.cams import read_cam, write_cam  # noqa: E402
from wsss.io.grids import walk_grid  # noqa: E402
from wsss.refine.background import argmax_labels, background  # noqa: E402

SCALES = (1.0, 0.5, 1.5, 2.0)
THRESHOLDS = (0.15, 0.30)
FORM = Form("sum", "stretch", "max", SCALES)


def network_maps(rng: np.random.Generator, size: tuple[int, int], classes: int, stride: int) -> list[np.ndarray]:
    """(K, h, w) a scale: the same bumps, and ripples of each scale's own, cut at 0."""
    bumps = [[(rng.random(2), rng.uniform(0.05, 0.3), rng.uniform(0.3, 1)) for _ in range(4)] for _ in range(classes)]
    maps = []
    for scale in SCALES:
        grid = [max(1, round(side * scale / stride)) for side in size]
        y, x = (np.mgrid[: grid[0], : grid[1]] + 0.5) / np.array(grid)[:, None, None]
        rows = [sum(h * np.exp(-((y - c[0]) ** 2 + (x - c[1]) ** 2) / w**2) for c, w, h in row) for row in bumps]
        maps.append(np.maximum(np.stack(rows) + 0.05 * rng.standard_normal((classes, *grid)) - 0.05, 0).astype(np.float32))
    return maps


def resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(maps.astype(np.float32))[None]
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0].numpy()


def normed(cam: np.ndarray) -> np.ndarray:
    return cam / (cam.max(axis=(1, 2), keepdims=True) + 1e-5)


def write_former(path: Path, maps: list[np.ndarray], size: tuple[int, int]) -> None:
    """The sum on the stride-4 grid over its maximum, float16."""
    np.save(path, normed(sum(resized(one, walk_grid(size)) for one in maps)).astype(np.float16), allow_pickle=False)


def read_former(path: Path, size: tuple[int, int]) -> np.ndarray:
    """That grid stretched over the image, over its maximum."""
    return normed(resized(np.load(path, allow_pickle=False), size))


def timed(read: Callable, repeats: int) -> float:
    read()
    start = time.process_time()
    for _ in range(repeats):
        read()
    return (time.process_time() - start) / repeats


def differing(cam: np.ndarray, exact: np.ndarray) -> float:
    """Percent of the pixels whose seed is another one, mean over the thresholds."""
    keys = list(range(len(cam)))
    seeds = [[argmax_labels(one, background(one, "const", t), keys) for t in THRESHOLDS] for one in (cam, exact)]
    return 100 * float(np.mean(np.array(seeds[0]) != np.array(seeds[1])))


def compare(folder: Path, size: tuple[int, int], classes: int, stride: int, repeats: int) -> tuple[float, float]:
    """Print the figures of one stride; returns seconds (former, ours) to read an image."""
    rng, figures = np.random.default_rng(stride), {"former": [], "ours": []}
    for n in range(5):
        maps = network_maps(rng, size, classes, stride)
        exact = normed(sum(resized(one, size) for one in maps))
        paths = {"former": folder / f"{n}.npy", "ours": folder / f"{n}.npz"}
        write_former(paths["former"], maps, size)
        write_cam(paths["ours"], range(classes), maps)
        reads = {
            "former": lambda path=paths["former"]: read_former(path, size),
            "ours": lambda path=paths["ours"]: FORM.read(read_cam(path), size, size),
        }
        for name, read in reads.items():
            figures[name].append((os.path.getsize(paths[name]), timed(read, repeats), differing(read(), exact)))
    means = {name: np.mean(rows, axis=0) for name, rows in figures.items()}
    for name, (size_bytes, seconds, share) in means.items():
        print(f"stride {stride}, {name}: {size_bytes:.0f} bytes, {seconds * 1e3:.2f} ms, {share:.4f} % of seed pixels differ")
    print(f"stride {stride}: {100 * means['ours'][0] / means['former'][0]:.0f} % of the bytes")
    return float(means["former"][1]), float(means["ours"][1])


def main() -> None:
    """Both formats on the same maps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("height", 375), ("width", 500), ("classes", 2), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--stride", type=int, nargs="+", default=[16, 8])
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        size = (args.height, args.width)
        seconds = [compare(Path(folder), size, args.classes, stride, args.repeats) for stride in args.stride]
    report_ratio(*seconds[0])


if __name__ == "__main__":
    main()
