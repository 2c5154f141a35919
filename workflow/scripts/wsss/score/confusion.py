"""Confusion matrices and the figures read from them.

Labels: 0 background, k + 1 for foreground class k, 255 ignore. A matrix is `(n, n + 1)` int64 with
n = classes + 1: row = ground truth, column = prediction, last column = pixels predicted 255.
"""

import numpy as np

from wsss.errors import UserError

IGNORE = 255
RULES = ("background", "wrong")


def confusion(gt: np.ndarray, pred: np.ndarray, n: int, name: str = "prediction") -> np.ndarray:
    """Count label pairs of one image.

    gt, pred: (H, W) integers in 0..n-1 or 255; pixels with gt 255 are left out. n: labels with background.
    name: what an error calls the file. Returns (n, n + 1) int64.
    Raises UserError when the sizes differ or a value is neither a label nor 255.
    """
    if gt.shape != pred.shape:
        raise UserError(
            f"{name}: size {_size(pred)} differs from the ground truth's {_size(gt)}; "
            "masks must have the size of their image"
        )
    # One joint 256 x 256 histogram: uint16 before the product (uint8 would wrap), and it shows bad values too.
    pair = _as_bytes(gt, f"{name} (ground truth)").astype(np.uint16) * 256 + _as_bytes(pred, name)
    joint = np.bincount(pair.ravel(), minlength=65536).reshape(256, 256)
    check_labels(joint.sum(1), n, f"{name} (ground truth)")
    check_labels(joint.sum(0), n, name)
    return np.concatenate([joint[:n, :n], joint[:n, IGNORE:]], axis=1).astype(np.int64)


def check_labels(counts: np.ndarray, n: int, name: str) -> None:
    """Raise UserError when any of the 256 value counts belongs to neither 0..n-1 nor 255."""
    bad = np.flatnonzero(counts[n:IGNORE]) + n
    if bad.size:
        raise UserError(
            f"{name}: label value {bad[0]} is out of range; allowed are 0..{n - 1} "
            "(0 = background) and 255 (ignore)"
        )


def iou(conf: np.ndarray, rule: str = "background") -> np.ndarray:
    """IoU per label, (n,) float64 in [0, 1]; NaN for a label in neither ground truth nor prediction.

    rule says what a predicted 255 is: "background" counts it as a prediction of background, "wrong" counts it
    as a miss of the ground-truth class and as a prediction of nothing.
    """
    hit, truth, predicted = _totals(conf, rule)
    return ratio(hit, truth + predicted - hit)


def summarise(conf: np.ndarray, classes, rule: str = "background") -> dict:
    """Figures of one matrix, in percent, ready for JSON (None where nothing defines it).

    conf: (n, n + 1) int64; classes: the n - 1 foreground names. mIoU is the mean over labels present in ground
    truth or prediction; `precision` and `recall` are means over the foreground classes that are predicted
    somewhere (precision) or present somewhere (recall); `coverage` is the share of labelled pixels whose
    prediction is not 255; `other_rule_miou` is the mIoU under the other rule for 255.
    """
    names = ["background", *classes]
    if conf.shape != (len(names), len(names) + 1):
        raise ValueError(f"confusion matrix {conf.shape} does not fit {len(names)} labels")
    hit, truth, predicted = _totals(conf, rule)
    union = ratio(hit, truth + predicted - hit)
    precision, recall = ratio(hit, predicted), ratio(hit, truth)
    other = RULES[1 - RULES.index(rule)]
    labelled = int(conf.sum())
    return {
        "miou": mean_percent(union),
        "per_class": _named(names, union),
        "precision": mean_percent(precision[1:]),
        "recall": mean_percent(recall[1:]),
        "precision_per_class": _named(names, precision),
        "recall_per_class": _named(names, recall),
        "coverage": 100.0 * (labelled - int(conf[:, -1].sum())) / labelled if labelled else None,
        "classes_in_mean": int(np.isfinite(union).sum()),
        "other_rule_miou": mean_percent(iou(conf, other)),
    }


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, NaN where whole is 0."""
    out = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out


def mean_percent(values: np.ndarray) -> float | None:
    """Mean of the defined values in percent, None when there is none."""
    defined = values[np.isfinite(values)]
    return 100.0 * float(defined.mean()) if defined.size else None


def _totals(conf, rule):
    if rule not in RULES:
        raise UserError(f"rule for predicted 255: '{rule}' is unknown; choose one of {', '.join(RULES)}")
    square = np.array(conf[:, :-1], dtype=np.int64)
    if rule == "background":
        square[:, 0] += conf[:, -1]
    return np.diag(square), conf.sum(1), square.sum(0)


def _named(names, values):
    return {k: 100.0 * float(v) if np.isfinite(v) else None for k, v in zip(names, values, strict=True)}


def _as_bytes(label, name):
    if label.dtype == np.uint8:
        return label
    if label.dtype.kind not in "iu" or (label.size and (label.min() < 0 or label.max() > 255)):
        raise UserError(f"{name}: labels must be whole numbers in 0..255, not {label.dtype}")
    return label.astype(np.uint8)


def _size(label):
    return "x".join(str(n) for n in label.shape)
