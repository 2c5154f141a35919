"""IR labels: our lattice for both CRF passes, against two plain pydensecrf an image. Processor seconds of one core.

    python benchmarks/ir_labels.py [--images 20] [--repeats 3] [--classes N] [--backend lattice]

Real photos come from $WSSS_TEST_DATA/voc_mini; their CAMs are blurred ground truth with smooth noise. Both
ways do the whole stage short of the files: CAMs at image size in, IR labels out. Every image is timed with
both ways in turn, and the best of the repeats counts. --classes 1: only photos with one class, two labels.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
import pydensecrf.densecrf as densecrf  # noqa: E402
from _timing import report_ratio  # noqa: E402
from pydensecrf.utils import unary_from_labels  # noqa: E402
from wsss.io.images import read_image  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.refine.background import to_class_ids  # noqa: E402
from wsss.refine.crf import IRN_LABEL, CrfParams, prepare, to_labels  # noqa: E402
from wsss.refine.crf_lattice import kernel_of_places  # noqa: E402
from wsss.refine.ir_labels import merge  # noqa: E402
from wsss.refine.seeds import seed_marginals  # noqa: E402
from wsss.sections.background import Rule  # noqa: E402

T_FG, T_BG = 0.30, 0.05
Sample = tuple[np.ndarray, np.ndarray, list[int]]


def load(count: int, classes: int | None = None) -> list[Sample]:
    """(image, CAM, keys) of photos spread over voc_mini; those with that many classes where it is given."""
    return [sample(photo, mask, seed) for seed, (photo, mask) in enumerate(chosen(count, classes))]


def chosen(count: int, classes: int | None = None) -> list[tuple[Path, Path]]:
    """Photo and mask of each of them."""
    if "WSSS_TEST_DATA" not in os.environ:
        sys.exit("WSSS_TEST_DATA is not set: it names the folder that holds voc_mini, the real photos")
    root = Path(os.environ["WSSS_TEST_DATA"]) / "voc_mini/VOCdevkit/VOC2012"
    ids = (root / "ImageSets/Segmentation/train_aug.txt").read_text().split()
    photos, masks = root / "JPEGImages", root / "SegmentationClassAug"
    if classes is not None:
        ids = [i for i in ids if len(set(np.unique(read_mask(masks / f"{i}.png"))) - {0, 255}) == classes]
    return [(photos / f"{i}.jpg", masks / f"{i}.png") for i in ids[:: max(1, len(ids) // count)][:count]]


def sample(photo: Path, mask: Path, seed: int) -> Sample:
    """A photo with the kind of CAM a classifier gives: smooth, high inside the object, leaking out of it."""
    image, truth = read_image(photo), read_mask(mask)
    keys = [int(k) - 1 for k in np.unique(truth) if 0 < k < 255]
    rng = np.random.default_rng(seed)
    cam = []
    for key in keys:
        blurred = cv2.GaussianBlur((truth == key + 1).astype(np.float32), None, 25)
        noise = cv2.resize(rng.random((8, 10), np.float32), truth.shape[::-1], interpolation=cv2.INTER_CUBIC)
        cam.append(np.clip(blurred * (0.5 + noise), 0, None))
    maps = np.stack(cam) / (np.max(cam, axis=(1, 2), keepdims=True) + 1e-5)
    return image, maps.astype(np.float32), keys


def two_crfs(image: np.ndarray, cam: np.ndarray, keys: list[int]) -> np.ndarray:
    """The published way."""
    names = np.array([0, *(key + 1 for key in keys)])
    confident, unsure = (names[one_crf(image, cam, threshold)] for threshold in (T_FG, T_BG))
    label = confident.copy()
    label[confident == 0] = 255
    label[(confident == 0) & (unsure == 0)] = 0
    return label.astype(np.uint8)


def one_crf(image: np.ndarray, cam: np.ndarray, threshold: float) -> np.ndarray:
    size_hw, n_labels = image.shape[:2], len(cam) + 1
    start = np.pad(cam, ((1, 0), (0, 0), (0, 0)), constant_values=np.float32(threshold)).argmax(0)
    net = densecrf.DenseCRF2D(size_hw[1], size_hw[0], n_labels)
    net.setUnaryEnergy(unary_from_labels(start, n_labels, gt_prob=0.7, zero_unsure=False))
    net.addPairwiseGaussian(sxy=3, compat=3)
    net.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.array(image), compat=10)
    return np.argmax(net.inference(10), axis=0).reshape(size_hw)


def one_lattice(params: CrfParams, image: np.ndarray, cam: np.ndarray, keys: list[int]) -> np.ndarray:
    """Our way, as for the first photo of a size."""
    kernel_of_places.cache_clear()
    rules = [Rule("const", value) for value in (T_FG, T_BG)]
    passes = seed_marginals(image, cam, *rules, params)
    return merge(*(to_class_ids(to_labels(marginals), keys) for marginals in passes))


def timed(way, item: Sample) -> tuple[np.ndarray, float]:
    start = time.process_time()
    label = way(*item)
    return label, time.process_time() - start


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--backend", choices=("lattice", "pydensecrf"), default="lattice")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    plain_s = ours_s = same = pixels = 0
    params = replace(IRN_LABEL, backend=args.backend)
    start = time.perf_counter()
    prepare(params)
    print(f"first call: {time.perf_counter() - start:.2f} s")
    samples = load(args.images, args.classes)
    for item in samples:
        runs = [(timed(two_crfs, item), timed(partial(one_lattice, params), item)) for _ in range(args.repeats)]
        plain_s += min(plain[1] for plain, _ in runs)
        ours_s += min(ours[1] for _, ours in runs)
        same += (runs[0][0][0] == runs[0][1][0]).sum()
        pixels += item[0].shape[0] * item[0].shape[1]
    classes = np.mean([len(keys) for _, _, keys in samples])
    print(f"{len(samples)} photos, {classes:.2f} classes an image; {100 * same / pixels:.4f} % of labels the same")
    print(f"per image and core: plain {plain_s / len(samples):.3f} s, ours {ours_s / len(samples):.3f} s")
    report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
