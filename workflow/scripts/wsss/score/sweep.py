"""The threshold sweep: every CAM is read once, all thresholds come out exactly.

With background `const(t)` a pixel is foreground iff its winning score is > t (a tie goes to the background,
as argmax over [background, classes] has it); with `power(alpha)` iff m > (1 - m)^alpha, that is m > root(alpha).
Either way the class never depends on the value swept, so the counts over (ground truth, winning class, number
of cuts below the score) hold all confusion matrices at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsss.errors import UserError
from wsss.found import value_of
from wsss.score.confusion import check_labels, mean_percent, ratio

OFFSETS = (0.05, 0.10)


def default_values(kind: str, extra=()) -> np.ndarray:
    """Values swept: 0.00..0.99 by 0.01 for "const"; for "power" the alphas that cut at 0.01..0.99, and 1..32; and the `extra` ones, ascending.

    Both kinds sweep the same cuts, so that the best value and PxAP do not depend on the kind.
    """
    cuts = np.arange(100) / 100
    alphas = [float(f"{value_of('power', cut):.4g}") for cut in cuts[1:]]  # no alpha cuts at 0
    grids = {"const": cuts, "power": np.array([*alphas, *range(1, 33)])}
    if kind not in grids:
        raise UserError(f"sweep: background kind '{kind}' cannot be swept; choose one of {', '.join(grids)}")
    return np.unique(np.concatenate([grids[kind], np.asarray(extra, dtype=float)]))


def power_root(alpha: float) -> np.float32:
    """Largest float32 m in [0, 1] with m <= (1 - m)^alpha: above it a pixel is foreground.

    Bisection over the bit patterns of float32 (ordered as the numbers are), so the cut agrees with comparing
    the two maps themselves in float32. Raises UserError unless alpha > 0.
    """
    if not alpha > 0:
        raise UserError(f"sweep: background power {alpha} must be above 0")
    low, high = np.float32(0).view(np.int32), np.float32(1).view(np.int32)
    while high - low > 1:
        middle = np.int32((int(low) + int(high)) // 2)
        m = middle.view(np.float32)
        is_foreground = m > (np.float32(1) - m) ** np.float32(alpha)
        low, high = (low, middle) if is_foreground else (middle, high)
    return low.view(np.float32)


def winner(cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cam (K, H, W), K >= 1 -> row of the highest score (the first on a tie) and that score, (H, W) each."""
    best, score = np.zeros(cam.shape[1:], np.int64), cam[0]
    for k in range(1, len(cam)):
        best[cam[k] > score] = k
        score = np.maximum(score, cam[k])
    return best, score


class Sweep:
    """Counts for all thresholds, image by image: `add` every image, then `result`."""

    def __init__(self, num_classes: int, kind: str = "const", values=None):
        """num_classes: foreground classes; values: ascending values swept (default_values(kind) if None)."""
        self.n, self.kind = num_classes + 1, kind
        self.values = default_values(kind) if values is None else np.unique(np.asarray(values, dtype=float))
        cuts = self.values if kind == "const" else [power_root(a) for a in self.values]
        cuts = np.asarray(cuts, dtype=np.float32)
        order = np.argsort(cuts, kind="stable")
        self.cuts = cuts[order]
        self._rank = np.argsort(order)
        self._counts = np.zeros((self.n, num_classes, len(cuts) + 1), np.int64)
        self._oracle = np.zeros((self.n, self.n), np.int64)
        self._images: list[ImageSweep] = []

    def add(self, cam: np.ndarray, keys: Sequence[int], gt: np.ndarray, name: str = "CAM") -> None:
        """Take in one image.

        cam: (K, H, W) float32, K may be 0; keys: K foreground indices (0-based) of its rows; gt: (H, W) uint8
        labels with 255 = ignore.
        Raises UserError naming `name` for NaN scores, unequal sizes and labels out of range.
        """
        rows = np.asarray(keys, dtype=np.int64)
        if len(rows) != len(cam):
            raise UserError(f"{name}: {len(cam)} maps for {len(rows)} classes; remake the CAMs of this image")
        if gt.shape != cam.shape[1:]:
            raise UserError(f"{name}: ground truth is {gt.shape}, the CAM {cam.shape[1:]} at image size")
        if len(cam) == 0:  # a score of 0 is background at every value, so the class named does not matter
            cam, rows = np.zeros((1, *cam.shape[1:]), np.float32), np.zeros(1, np.int64)
        row, score = winner(cam)
        if not np.isfinite(score).all():
            raise UserError(f"{name}: the CAM holds NaN or infinite scores; remake it")
        below = np.searchsorted(self.cuts, score.ravel())
        self._count(row.ravel(), below, rows, gt.ravel(), name)

    def _count(self, row: np.ndarray, below: np.ndarray, keys: np.ndarray, gt: np.ndarray, name: str) -> None:
        """Count the pixels of one image, each array (H * W,): the row that wins, the cuts below its score, the label."""
        shape = (256, len(keys), len(self.cuts) + 1)
        code = (gt.astype(np.int64) * shape[1] + row) * shape[2] + below
        counts = np.bincount(code, minlength=np.prod(shape)).reshape(shape)
        check_labels(counts.sum((1, 2)), self.n, f"{name} (ground truth)")
        counts = counts[: self.n]
        self._counts[:, keys] += counts
        self._add_image(counts, keys)

    def _add_image(self, counts: np.ndarray, keys: np.ndarray) -> None:
        """Keep the image's counts, and add the confusion at the threshold that is best for it alone."""
        present = np.flatnonzero(counts.sum((1, 2)))
        labels = np.unique(np.concatenate([[0], present, keys + 1]))
        conf = confusions(counts[labels], np.searchsorted(labels, keys + 1))
        self._images.append(ImageSweep(labels, conf))
        union = ious(conf)
        mean = np.nanmean(union, axis=1) if present.size else np.zeros(len(conf))
        self._oracle[np.ix_(labels, labels)] += conf[int(mean.argmax())]

    def result(self) -> "SweepResult":
        """Figures at every value, in the order of `values`."""
        conf = confusions(self._counts, np.arange(1, self.n))[self._rank]
        return SweepResult(
            self.kind,
            self.values,
            self.cuts,
            self._rank,
            conf,
            self._counts.sum((0, 1)),
            mean_percent(ious(self._oracle[None])[0]),
            self._images,
        )


class ImageSweep:
    """One image at all cuts: labels (L,) that it has or may be given, and hit, predicted (T, L) and truth (L,) in pixels."""

    def __init__(self, labels: np.ndarray, conf: np.ndarray) -> None:
        """conf: (T, L, L) confusion, a cut each in ascending order."""
        self.labels = labels.astype(np.int32)
        self.hit = np.diagonal(conf, axis1=1, axis2=2).astype(np.int32)
        self.predicted, self.truth = conf.sum(1).astype(np.int32), conf[0].sum(1).astype(np.int32)

    def at(self, cut: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels (L,), and (L, 3) pixels that are hit, wrongly predicted and missed at this cut."""
        hit, predicted = self.hit[cut], self.predicted[cut]
        return self.labels, np.stack([hit, predicted - hit, self.truth - hit], axis=1)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found. T values, n labels.

    values (T,) ascending; confusion (T, n, n) int64; cuts (T,) float32 ascending and rank (T,): value i cuts
    the score at cuts[rank[i]]; labelled_scores (T + 1,): pixels with ground truth by number of cuts below their
    winning score; oracle_miou: percent, each image at its
    own best threshold; images: those with ground truth, in the order they came.
    """

    kind: str
    values: np.ndarray
    cuts: np.ndarray
    rank: np.ndarray
    confusion: np.ndarray
    labelled_scores: np.ndarray
    oracle_miou: float | None
    images: list[ImageSweep] = field(default_factory=list)

    @property
    def per_class(self) -> np.ndarray:
        """(T, n) IoU in percent, NaN for labels in neither ground truth nor prediction."""
        return 100.0 * ious(self.confusion)

    @property
    def miou(self) -> np.ndarray:
        """(T,) percent, NaN without any ground truth."""
        return _row_means(self.per_class)

    @property
    def precision(self) -> np.ndarray:
        """(T,) percent, mean over the foreground classes predicted somewhere."""
        hit = np.diagonal(self.confusion, axis1=1, axis2=2)
        return 100.0 * _row_means(ratio(hit, self.confusion.sum(1))[:, 1:])

    @property
    def recall(self) -> np.ndarray:
        """(T,) percent, mean over the foreground classes present in the ground truth."""
        hit = np.diagonal(self.confusion, axis1=1, axis2=2)
        return 100.0 * _row_means(ratio(hit, self.confusion.sum(2))[:, 1:])

    @property
    def pxap(self) -> np.ndarray:
        """(n - 1,) pixel average precision of each foreground class, percent; NaN for one that no image has.

        PxAP (Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020): precision
        over recall of a class's pixels from the highest value to the lowest, sum of P (R - R before). A pixel
        counts for the class that wins there, so what another class takes is never recalled.
        """
        conf = self.confusion[np.argsort(-self.cuts[self.rank], kind="stable")][:, :, 1:]
        hit = np.diagonal(conf[:, 1:], axis1=1, axis2=2)
        precision, recall = ratio(hit, conf.sum(1)), ratio(hit, np.broadcast_to(self.confusion[0].sum(1)[1:], hit.shape))
        steps = np.diff(recall, axis=0, prepend=0.0)
        return 100.0 * np.sum(np.where(steps > 0, precision, 0.0) * steps, axis=0)

    def index(self, value: float) -> int:
        """Position of a swept value; UserError when it was not swept."""
        at = int(np.abs(self.values - value).argmin())
        if abs(self.values[at] - value) > 1e-9:
            raise UserError(
                f"sweep: value {value} was not swept; add it to the values (default_values(kind, [value]))"
            )
        return at

    def nearest(self, value: float) -> float:
        """The swept value that lies nearest to `value`."""
        return float(self.values[np.abs(self.values - value).argmin()])

    def best(self) -> int:
        """Position of the highest mIoU (the lowest such value); UserError without ground truth."""
        if not self.confusion.any():
            raise UserError("sweep: no image has ground truth, so none is best; use the policy 'found'")
        return int(np.nanargmax(self.miou))

    def flips(self, a: int, b: int) -> float:
        """Percent of the labelled pixels whose label differs between the values at positions a and b."""
        low, high = sorted((int(self.rank[a]), int(self.rank[b])))
        return 100.0 * float(self.labelled_scores[low + 1 : high + 1].sum() / self.labelled_scores.sum())


def confusions(counts: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """counts (n, K, T + 1) by (ground truth, winning row, cuts below the score), columns (K,) label of each row
    -> (T, n, n) int64 confusion matrices, one per cut in ascending order."""
    n, _, bins = counts.shape
    above = counts[:, :, ::-1].cumsum(axis=2)[:, :, -2::-1]  # [..., i]: pixels with more than i cuts below
    conf = np.zeros((bins - 1, n, n), np.int64)
    conf[:, :, columns] = above.transpose(2, 0, 1)
    conf[:, :, 0] = counts.sum((1, 2)) - above.sum(1).T
    return conf


def ious(conf: np.ndarray) -> np.ndarray:
    """(T, n, n) -> (T, n) IoU in [0, 1], NaN where a label is in neither ground truth nor prediction."""
    hit = np.diagonal(conf, axis1=1, axis2=2)
    return ratio(hit, conf.sum(2) + conf.sum(1) - hit)


def _row_means(values):
    return ratio(np.nansum(values, axis=1), np.isfinite(values).sum(1))
