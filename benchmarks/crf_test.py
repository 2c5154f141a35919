"""Test-time CRF with 21 and 81 labels: ours, without labels that cannot win, against plain pydensecrf. One core.

    python benchmarks/crf_test.py [--images 3] [--labels 21 81]

Real photos of $WSSS_TEST_DATA/voc_mini; a network's probabilities are stood in for by blurred ground truth with smooth
noise, and a softmax over all labels that leaves each absent one a little. Processor seconds, the share of equal labels, and
mIoU against ground truth before the CRF and after either.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
import pydensecrf.densecrf as densecrf  # noqa: E402
from _timing import report_ratio  # noqa: E402
from ir_labels import chosen, load  # noqa: E402
from wsss.io.masks import read_mask  # noqa: E402
from wsss.refine.crf import DEEPLAB_TEST, prepare, score_energy, softmax_crf  # noqa: E402
from wsss.refine.crf_lattice import kernel_of_places  # noqa: E402
from wsss.score.confusion import confusion, iou  # noqa: E402


def probabilities(cam: np.ndarray, keys: list[int], labels: int, seed: int) -> np.ndarray:
    """(labels, H, W) float32: strong where the maps are, near e^-9 to e^-7 of that for absent labels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-9, -7, (labels, 6, 8)).astype(np.float32)
    logits = np.stack([cv2.resize(grid, cam.shape[:0:-1], interpolation=cv2.INTER_LINEAR) for grid in coarse])
    logits[0] = 1
    for key, row in zip(keys, cam, strict=True):
        logits[key + 1] = 4 * row - 0.5
    weights = np.exp(logits)
    return (weights / weights.sum(0)).astype(np.float32)


def plain(image: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """All labels, by pydensecrf."""
    params, (height, width) = DEEPLAB_TEST, image.shape[:2]
    net = densecrf.DenseCRF2D(width, height, len(probs))
    net.setUnaryEnergy(np.ascontiguousarray(score_energy(probs), np.float32))
    net.addPairwiseGaussian(sxy=params.sxy_gaussian, compat=params.compat_gaussian)
    net.addPairwiseBilateral(sxy=params.sxy_bilateral, srgb=params.srgb, rgbim=np.array(image), compat=params.compat_bilateral)
    return np.argmax(net.inference(params.iterations), axis=0).reshape(height, width)


def timed(way, *arguments):
    start = time.process_time()
    found = way(*arguments)
    return found, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="+", default=[21, 81])
    args = parser.parse_args()
    prepare(DEEPLAB_TEST)
    samples, truths = load(args.images), [read_mask(mask) for _, mask in chosen(args.images)]
    for labels in args.labels:
        plain_s = ours_s = same = pixels = 0
        counts = np.zeros((3, labels, labels + 1), np.int64)
        for seed, (image, cam, keys) in enumerate(samples):
            probs = probabilities(cam, keys, labels, seed)
            kernel_of_places.cache_clear()  # as for the first photo of a size
            ours, seconds = timed(softmax_crf, image, probs)
            wanted, plain_seconds = timed(plain, image, probs)
            plain_s, ours_s = plain_s + plain_seconds, ours_s + seconds
            counts += [confusion(truths[seed], found, labels) for found in (probs.argmax(0), ours, wanted)]
            same, pixels = same + (ours == wanted).sum(), pixels + ours.size
        print(f"{labels} labels, {len(samples)} photos: {100 * same / pixels:.4f} % of labels the same")
        before, after, plain_after = (100 * np.nanmean(iou(count)) for count in counts)
        print(f"mIoU {before:.3f} before the CRF, {after:.3f} after ours, {plain_after:.3f} after plain: they differ by {abs(after - plain_after):.3f}")
        report_ratio(plain_s, ours_s)


if __name__ == "__main__":
    main()
