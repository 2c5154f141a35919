"""Saliency made from the images alone, against ground truth and against a network's maps. One core.

    python benchmarks/saliency.py [--every 1] [--plain 10] [--others 0]

Both ways that make maps, `robust_background` and `feature_cut` (weights: resnet18 below $WSSS_TEST_DATA/weights), on
all photos of $WSSS_TEST_DATA/voc_mini with ground truth: foreground is SegmentationClassAug > 0, 255 is left out. The
maps given there (SALImages) come from a small off-the-shelf network that learnt from pixels. Precision, recall and
IoU are over all pixels of a set, at the value EPS cuts at (0.5); MAE is the mean over images. `centre` is a Gaussian at
the middle of the image: what one gets for knowing nothing. `--others N` adds, for N photos of val, what the installed OpenCV could do instead:
GrabCut from a frame of 5 %, GrabCut started from our map, and spectral residual (Hou and Zhang, CVPR 2007; OpenCV has it
in its contrib build only, so it is written out here). The ratio is to our method written out in loops.
"""

import argparse
import heapq
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
from _timing import report_ratio  # noqa: E402
from skimage.color import rgb2lab  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.io.saliency import read_saliency  # noqa: E402
from wsss.nets.fetch import fetch  # noqa: E402
from wsss.saliency import robust_background as ours  # noqa: E402
from wsss.saliency.feature_cut import feature_cut  # noqa: E402

CUT = 0.5
SETS = {"trainaug": "train_aug", "val": "val"}


class Tally:
    """Sums of one kind of map over the images of a set."""

    def __init__(self) -> None:
        self.both = self.found = self.true = 0
        self.errors: list[float] = []

    def add(self, values: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> None:
        """values (H, W) in [0, 1]; truth, valid (H, W) bool."""
        cut = (values > CUT) & valid
        self.both += int((cut & truth & valid).sum())
        self.found += int(cut.sum())
        self.true += int((truth & valid).sum())
        self.errors.append(float(np.abs(values - truth)[valid].mean()))

    def line(self) -> str:
        precision, recall = self.both / max(self.found, 1), self.both / max(self.true, 1)
        iou = self.both / max(self.found + self.true - self.both, 1)
        return (
            f"precision {precision:.3f}, recall {recall:.3f}, IoU {iou:.3f}, MAE {np.mean(self.errors):.3f}"
        )


def tree() -> Path:
    if "WSSS_TEST_DATA" not in os.environ:
        sys.exit("WSSS_TEST_DATA is not set: it names the folder that holds voc_mini, the real photos")
    return Path(os.environ["WSSS_TEST_DATA"]) / "voc_mini/VOCdevkit/VOC2012"


def ids_of(root: Path, name: str) -> list[str]:
    return (root / f"ImageSets/Segmentation/{name}.txt").read_text().split()


def centre_prior(size_hw: tuple[int, int]) -> np.ndarray:
    y, x = (((np.arange(side) + 0.5) / side - 0.5) ** 2 for side in size_hw)
    return np.exp(-(y[:, None] + x[None]) / (2 * 0.25**2))


def grabcut(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) of 0 and 1 from a mask of OpenCV's four values."""
    models = np.zeros((1, 65)), np.zeros((1, 65))
    if not (mask & 1).any() or (mask & 1).all():  # GrabCut wants some of both
        return (mask & 1).astype(float)
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(image[..., ::-1]), mask, None, *models, 3, cv2.GC_INIT_WITH_MASK)
    return (mask & 1).astype(float)


def frame_grabcut(image: np.ndarray, made: np.ndarray) -> np.ndarray:
    height, width = made.shape
    mask = np.full(made.shape, cv2.GC_BGD, np.uint8)
    mask[height // 20 : height - height // 20, width // 20 : width - width // 20] = cv2.GC_PR_FGD
    return grabcut(image, mask)


def made_grabcut(image: np.ndarray, made: np.ndarray) -> np.ndarray:
    mask = np.where(made > CUT, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[made < 0.1] = cv2.GC_BGD
    return grabcut(image, mask)


def spectral_residual(image: np.ndarray, made: np.ndarray) -> np.ndarray:
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (64, 64)).astype(np.float32)
    spectrum = np.fft.fft2(gray)
    log = np.log(np.abs(spectrum) + 1e-9)
    residual = np.fft.ifft2(np.exp(log - cv2.blur(log, (3, 3)) + 1j * np.angle(spectrum)))
    found = cv2.GaussianBlur((np.abs(residual) ** 2).astype(np.float32), None, 8)
    return cv2.resize((found - found.min()) / max(np.ptp(found), 1e-9), made.shape[::-1])


OTHERS = {
    "robust_background": lambda image, made: made,
    "frame + GrabCut": frame_grabcut,
    "ours + GrabCut": made_grabcut,
    "spectral residual": spectral_residual,
}


def score_others(root: Path, ids: list[str]) -> None:
    print(f"val, {len(ids)} photos")
    for name, way in OTHERS.items():
        tally, seconds = Tally(), 0.0
        for image_id in ids:
            image = read_image(root / f"JPEGImages/{image_id}.jpg")
            truth = read_mask(root / f"SegmentationClassAug/{image_id}.png")
            made = ours.robust_background(image) / 255
            start = time.perf_counter()
            found = way(image, made)
            seconds += time.perf_counter() - start
            tally.add(found, truth > 0, truth != 255)
        cost = f"; {seconds / len(ids):.2f} s an image on top" if seconds > 0.1 else ""
        print(f"    {name:18s} {tally.line()}{cost}", flush=True)


def timed(way: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    return way(image), time.perf_counter() - start


def score(root: Path, ids: list[str], weights: Path) -> tuple[dict[str, Tally], list[float]]:
    """Tallies by kind of map, and seconds an image for the two that are made."""
    kinds = ("robust_background", "feature_cut", "given", "centre", "ours against given")
    tallies, seconds = {kind: Tally() for kind in kinds}, [0.0, 0.0]
    for image_id in ids:
        image, truth = (
            read_image(root / f"JPEGImages/{image_id}.jpg"),
            read_mask(root / f"SegmentationClassAug/{image_id}.png"),
        )
        given = read_saliency(root / f"SALImages/{image_id}.png") / 255
        made, made_s = timed(ours.robust_background, image)
        cut, cut_s = timed(partial(feature_cut, weights=weights), image)
        seconds = [seconds[0] + made_s, seconds[1] + cut_s]
        valid = truth != 255
        for kind, values in zip(kinds, (made / 255, cut / 255, given, centre_prior(truth.shape)), strict=False):
            tallies[kind].add(values, truth > 0, valid)
        tallies[kinds[4]].add(made / 255, given > CUT, np.ones_like(valid))
    return tallies, [total / len(ids) for total in seconds]


# --- the method in loops -------------------------------------------------------------------------------


def plain(image: np.ndarray) -> np.ndarray:
    """The same map, superpixel by superpixel; SLIC, the linear solver and resizing are the libraries' in both."""
    small = ours.shrink(image, 400)
    labels = ours.segments(small, 250)
    lab, centres, border, touching = plain_graph(small, labels)
    n = len(lab)
    colour = np.array([[np.linalg.norm(lab[i] - lab[j]) for j in range(n)] for i in range(n)])
    apart = np.array([[np.linalg.norm(centres[i] - centres[j]) for j in range(n)] for i in range(n)])
    background = plain_background(colour, border, touching)
    contrast = [
        sum(colour[i, j] * np.exp(-(apart[i, j] ** 2) / (2 * 0.25**2)) * background[j] for j in range(n))
        for i in range(n)
    ]
    values = ours.sharpen(
        ours.optimise(background, np.array(contrast) / max(*contrast, 1e-9), colour, touching)
    )
    painted = np.zeros(labels.shape, np.uint8)
    for i in range(n):
        painted[labels == i] = np.rint(255 * values[i])
    resized = ours.Image.fromarray(painted).resize(image.shape[1::-1], ours.Image.Resampling.BILINEAR)
    return np.asarray(resized)


def plain_graph(
    image: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    pixels, (height, width), n = rgb2lab(image), labels.shape, labels.max() + 1
    lab = np.array([pixels[labels == i].mean(0) for i in range(n)])
    centres = np.array([(np.argwhere(labels == i).mean(0) + 0.5) / (height, width) for i in range(n)])
    border, touching = np.zeros(n, bool), np.zeros((n, n), bool)
    for y in range(height):
        for x in range(width):
            border[labels[y, x]] |= y in (0, height - 1) or x in (0, width - 1)
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < height and u < width and labels[v, u] != labels[y, x]:
                    touching[labels[y, x], labels[v, u]] = touching[labels[v, u], labels[y, x]] = True
    return lab, centres, border, touching


def plain_background(colour: np.ndarray, border: np.ndarray, touching: np.ndarray) -> np.ndarray:
    n, found = len(colour), []
    near = [
        [j for j in range(n) if j != i and (touching[i, j] or (border[i] and border[j]))] for i in range(n)
    ]
    for start in range(n):
        least, queue = {}, [(0.0, start)]
        while queue:
            length, i = heapq.heappop(queue)
            if i not in least:
                least[i] = length
                for j in near[i]:
                    heapq.heappush(queue, (length + colour[i, j], j))
        alike = {i: np.exp(-(length**2) / 200) for i, length in least.items()}
        connectivity = sum(a for i, a in alike.items() if border[i]) / np.sqrt(sum(alike.values()))
        found.append(1 - np.exp(-(connectivity**2) / 2))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="score every n-th photo")
    parser.add_argument("--plain", type=int, default=10, help="photos done by the loops too")
    parser.add_argument("--others", type=int, default=0, help="photos done by OpenCV's means too")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    root = tree()
    torch.set_num_threads(1)
    weights = fetch("resnet18", Path(tempfile.mkdtemp()) / "resnet18.safetensors", root.parents[2] / "weights/resnet18_imagenet_fp16.pth")
    for name, listed in SETS.items():
        ids = ids_of(root, listed)[:: args.every]
        tallies, (made_s, cut_s) = score(root, ids, weights)
        print(f"{name}, {len(ids)} photos, {made_s:.3f} s an image (feature_cut {cut_s:.3f} s)")
        for kind, tally in tallies.items():
            print(f"    {kind:18s} {tally.line()}", flush=True)
    if args.others:
        score_others(root, ids_of(root, "val")[:: 180 // args.others][: args.others])
    plain_s = ours_s = largest = 0.0
    for image_id in ids_of(root, "train_aug")[:: 360 // args.plain][: args.plain]:
        image = read_image(root / f"JPEGImages/{image_id}.jpg")
        (slow, slow_s), (fast, fast_s) = timed(plain, image), timed(ours.robust_background, image)
        plain_s, ours_s = plain_s + slow_s, ours_s + fast_s
        largest = max(largest, float(np.abs(slow.astype(int) - fast).max()))
    print(
        f"{args.plain} photos by loops: {plain_s / args.plain:.2f} s an image; largest difference {largest:.0f} of 255"
    )
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
