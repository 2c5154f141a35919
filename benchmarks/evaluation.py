"""What the figures of shapes (Boundary IoU, IoU by size) cost an evaluation, beside the confusion matrices and the sweep.

    python benchmarks/evaluation.py [--images 60]

Masks and CAMs are synthetic (those of benchmarks/sweep.py) and lie on disk as the workflow stores them; a predicted mask
is the CAM cut elsewhere than its ground truth. Each way runs in a process of its own.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import measured  # noqa: E402
from sweep import CLASSES, cam_at, make_images  # noqa: E402
from wsss.io.masks import read_mask, write_mask  # noqa: E402
from wsss.refine.background import argmax_labels, background  # noqa: E402
from wsss.score.confusion import confusion  # noqa: E402
from wsss.score.shapes import Shapes  # noqa: E402
from wsss.score.sweep import Sweep  # noqa: E402

FULL = {"masks": 1464, "CAMs": 10582}
CUT = 0.3  # of predicted masks; their ground truth is cut at .35
Images = list[tuple[Path, Path, tuple[int, ...]]]


def predicted(cam_path: Path, size_hw: tuple[int, int], keys: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8."""
    cam = cam_at(cam_path, size_hw)
    return argmax_labels(cam, background(cam, "const", CUT), keys)


def score_masks(images: Images, has_shapes: bool) -> np.ndarray:
    """As the stage scores pseudo-masks and predictions."""
    total, shapes = np.zeros((CLASSES + 1, CLASSES + 2), np.int64), Shapes(CLASSES + 1)
    for cam_path, mask_path, _ in images:
        gt, mask = read_mask(mask_path), read_mask(cam_path.with_suffix(".made.png"))
        total += confusion(gt, mask, CLASSES + 1)
        if has_shapes:
            shapes.add(gt, mask)
    return total


def score_cams(images: Images, has_shapes: bool) -> np.ndarray:
    """As the stage sweeps seeds."""
    sweep, shapes = Sweep(CLASSES), Shapes(CLASSES + 1)
    for cam_path, mask_path, keys in images:
        gt = read_mask(mask_path)
        cam = cam_at(cam_path, gt.shape)
        sweep.add(cam, keys, gt)
        if has_shapes:
            shapes.add(gt, argmax_labels(cam, background(cam, "const", CUT), keys))
    return sweep.result().confusion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    number = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), number, (375, 500))
        for cam_path, mask_path, keys in images:
            write_mask(cam_path.with_suffix(".made.png"), predicted(cam_path, read_mask(mask_path).shape, keys))
        for what, score in (("masks", score_masks), ("CAMs", score_cams)):
            for has_shapes in (False, True):
                _, seconds, megabytes = measured(score, images, has_shapes)
                each = seconds / number
                words = "with shapes" if has_shapes else "without"
                print(f"{what}, {words}: {1000 * each:.1f} ms an image, {each * FULL[what]:.0f} s for {FULL[what]}; {megabytes:.0f} MB for {number}")


if __name__ == "__main__":
    main()
