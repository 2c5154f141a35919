"""Figures that need the masks themselves, not only their confusion matrix: Boundary IoU, and IoU by the size of objects."""

import cv2
import numpy as np

from wsss.constants import IGNORE
from wsss.score.confusion import mean_percent, ratio

DILATION = 0.02  # of the image's diagonal
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO's: an object is smaller than so many pixels
SPECK = 5**2  # pixels; VOC's masks have about six smaller regions an image, left over along outlines, which are no objects


class Shapes:
    """Adds up single images: `add` each, then `result`."""

    def __init__(self, labels: int) -> None:
        """labels: classes and background."""
        self._boundary = np.zeros((labels, 3), np.int64)
        self._iou = np.zeros((labels, len(SIZES)))
        self._objects = np.zeros((labels, len(SIZES)), np.int64)

    def add(self, gt: np.ndarray, pred: np.ndarray) -> None:
        """One image; gt, pred: (H, W) uint8 labels or 255. A predicted 255 is background, as it is in the mIoU."""
        pred = pred * (pred != IGNORE)
        self._boundary += boundary_counts(gt, pred, len(self._boundary))
        for label, area, iou in (found for found in objects(gt, pred) if found[1] >= SPECK):
            size = next(i for i, below in enumerate(SIZES.values()) if area < below)
            self._iou[label, size] += iou
            self._objects[label, size] += 1

    def result(self) -> dict:
        """`boundary_iou`: the mean over the labels that have a boundary in ground truth or prediction, percent.

        `size_iou`: size -> mean IoU of the objects of a class, averaged over the classes that have some, percent, None
        where no class has; `objects`: size -> how many there are.
        """
        hit, truth, predicted = self._boundary.T
        means = ratio(self._iou, self._objects)
        return {
            "boundary_iou": mean_percent(ratio(hit, truth + predicted - hit)),
            "size_iou": {size: mean_percent(means[:, i]) for i, size in enumerate(SIZES)},
            "objects": {size: int(self._objects[:, i].sum()) for i, size in enumerate(SIZES)},
        }


def boundary_counts(gt: np.ndarray, pred: np.ndarray, labels: int) -> np.ndarray:
    """Pixels of each label's boundary: in both masks, in the ground truth's, in the prediction's; (labels, 3) int64.

    Boundary IoU (Cheng et al., "Boundary IoU: Improving object-centric image segmentation evaluation", CVPR 2021):
    of a mask only the pixels count that lie within d of its edge, d being 2 % of the image's diagonal; the image's own
    edge is one, as in the authors' code. Ground truth 255 belongs to no mask, whatever is predicted there, so that the
    unlabelled seam that VOC draws around objects costs nothing.

    gt: (H, W) uint8, 255 = ignore; pred: (H, W) uint8 labels.
    """
    reach = max(1, round(DILATION * float(np.hypot(*gt.shape))))
    seen = pred | (gt == IGNORE) * np.uint8(IGNORE)  # 255 where the truth is
    in_truth, in_pred = band(gt, reach) & (gt != IGNORE), band(seen, reach) & (seen != IGNORE)
    both = in_truth & in_pred & (gt == seen)
    parts = (gt[both], gt[in_truth], seen[in_pred])
    return np.stack([np.bincount(part, minlength=labels) for part in parts], axis=1)


def band(label: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) uint8 -> (H, W) bool: the pixels with another label, or the outside, at most `reach` away in rows and columns.

    For every label at once what eroding its own mask takes away.
    """
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    found = cv2.dilate(label, square) != cv2.erode(label, square)
    for edge in (found[:reach], found[-reach:], found[:, :reach], found[:, -reach:]):
        edge[...] = True
    return found


def objects(gt: np.ndarray, pred: np.ndarray) -> list[tuple[int, int, float]]:
    """(label, area, IoU) of each object: a connected region of a foreground class in the ground truth, diagonals included.

    After the instance-aware IoU of Mun et al. ("Small objects matters in weakly-supervised semantic segmentation", WACV
    2024): each connected region of the prediction goes to the objects of its class that it meets, and its wrong pixels are
    shared among them in the proportion of the pixels it hits of each. Regions that meet no object count nowhere here.

    gt: (H, W) uint8, 255 = ignore, of which no pixel counts; pred: (H, W) uint8 labels.
    """
    found, is_labelled = [], gt != IGNORE
    for label in (np.flatnonzero(cv2.calcHist([gt], [0], None, [256], [0, 256]).ravel()[1:IGNORE]) + 1).tolist():
        pairs = _pairs(gt == label, pred == label, is_labelled)
        wrong, hits = pairs[1:, 0], pairs[1:, 1:]
        areas, taken = pairs[:, 1:].sum(0), np.nan_to_num(ratio(hits, np.broadcast_to(hits.sum(1, keepdims=True), hits.shape)))
        ious = ratio(hits.sum(0), areas + (wrong[:, None] * taken).sum(0))
        found += [(label, int(area), float(iou)) for area, iou in zip(areas, ious, strict=True)]
    return found


def _pairs(truth: np.ndarray, guess: np.ndarray, is_labelled: np.ndarray) -> np.ndarray:
    """Labelled pixels by region of the prediction (rows) and of the ground truth (columns), number 0 being none; (0, 0) is not counted.

    All (H, W) bool. Only the box around both masks is looked at, and in it their own pixels: most of an image is neither.
    """
    x, y, width, height = cv2.boundingRect((truth | guess).view(np.uint8))
    box = np.s_[y : y + height, x : x + width]
    (count, regions), (made, guesses) = (_regions(mask[box]) for mask in (truth, guess))
    at = np.flatnonzero((truth | guess & is_labelled)[box])
    pair = (guesses * count + regions).ravel()[at]
    return np.bincount(pair, minlength=made * count).reshape(made, count)


def _regions(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """How many regions there are, and that of each pixel, int32; region 0 is what lies outside the mask."""
    count, regions = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    return int(count), regions
