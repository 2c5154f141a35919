"""Confusion matrices and the figures read from them.

Labels: 0 background, k + 1 for foreground class k, 255 ignore. A matrix is `(n, n + 1)` int64 with
n = classes + 1: row = ground truth, column = prediction, last column = pixels predicted 255.
"""

import numpy as np

from wsss.constants import IGNORE
from wsss.engine.explain import for_people
from wsss.errors import UserError

RULES = ("background", "wrong", "left_out")
MOST_CONFUSIONS = 10


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
    as a miss of the ground-truth class and as a prediction of nothing, "left_out" leaves the pixel out of the score.
    """
    hit, truth, predicted = _totals(conf, rule)
    return ratio(hit, truth + predicted - hit)


def summarise(conf: np.ndarray, classes, rule: str = "background") -> dict:
    """Figures of one matrix, in percent, ready for JSON (None where nothing defines it).

    conf: (n, n + 1) int64; classes: the n - 1 foreground names. mIoU is the mean over labels present in ground
    truth or prediction; `precision` and `recall` are means over the foreground classes that are predicted
    somewhere (precision) or present somewhere (recall); `coverage` is the share of labelled pixels whose
    prediction is not 255; `miou_by_rule` is the mIoU under each rule for 255. Further figures: `error_rates`,
    `top_confusions`; `confusion` is the matrix itself, its rows and columns named by `labels`.
    """
    names = ["background", *classes]
    if conf.shape != (len(names), len(names) + 1):
        raise ValueError(f"confusion matrix {conf.shape} does not fit {len(names)} labels")
    hit, truth, predicted = _totals(conf, rule)
    union = ratio(hit, truth + predicted - hit)
    precision, recall = ratio(hit, predicted), ratio(hit, truth)
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
        "miou_by_rule": {name: mean_percent(iou(conf, name)) for name in RULES},
        **error_rates(conf, names, rule),
        "top_confusions": top_confusions(conf, names, rule),
        "labels": [*names, "predicted 255"],
        "confusion": conf.tolist(),
    }


def error_rates(conf: np.ndarray, names, rule: str = "background") -> dict:
    """What a mean IoU is lost to, in percent but for the confusion ratio; None where nothing defines it.

    false_positive_rate, false_negative_rate: FP and FN as parts of the union TP + FP + FN, a label each, so that IoU
    and the two add up to 100; mfpr, mfnr: their means over the labels of the mIoU. confusion_ratio: FP / TP, a
    foreground class each, and its mean over those that are hit somewhere. pixel_accuracy: correct labelled pixels;
    mean_accuracy: mean recall over the labels of the ground truth, background included.
    """
    hit, truth, predicted = _totals(conf, rule)
    union = truth + predicted - hit
    wrong, missed, confused = ratio(predicted - hit, union), ratio(truth - hit, union), ratio(predicted - hit, hit)[1:]
    labelled, is_hit = int(truth.sum()), np.isfinite(confused)
    return {
        "mfpr": mean_percent(wrong),
        "mfnr": mean_percent(missed),
        "false_positive_rate": _named(names, wrong),
        "false_negative_rate": _named(names, missed),
        "confusion_ratio": float(confused[is_hit].mean()) if is_hit.any() else None,
        "confusion_ratio_per_class": {k: float(v) if np.isfinite(v) else None for k, v in zip(names[1:], confused, strict=True)},
        "pixel_accuracy": 100.0 * int(hit.sum()) / labelled if labelled else None,
        "mean_accuracy": mean_percent(ratio(hit, truth)),
    }


def top_confusions(conf: np.ndarray, names, rule: str = "background", most: int = MOST_CONFUSIONS) -> list[dict]:
    """Which label is taken for which: the pairs that cost a foreground class the most IoU, the costliest first.

    Each is {"truth", "taken_for", "of", "percent", "pixels"}: `pixels` of `truth` are predicted as `taken_for`, and
    that is `percent` of the union of class `of`, whose IoU it lowers: the predicted class, or the true one where
    it is missed as background.
    """
    square = _square(conf, rule)
    hit, truth, predicted = _totals(conf, rule)
    union = truth + predicted - hit
    found = []
    for true, taken in np.argwhere(square * ~np.eye(len(square), dtype=bool)).tolist():
        of, pixels = taken or true, int(square[true, taken])
        pair = {"truth": names[true], "taken_for": names[taken], "of": names[of]}
        found.append({**pair, "percent": 100.0 * pixels / int(union[of]), "pixels": pixels})
    return sorted(found, key=lambda pair: -pair["percent"])[:most]


def matrix_of(block: dict, classes, name: str) -> np.ndarray:
    """The matrix that a block of scores.json holds, (n, n + 1) int64.

    Raises UserError naming the file `name` when it is of other classes than these foreground ones.
    """
    wanted, found = ["background", *classes], block["labels"][:-1]
    if found != wanted:
        other = sorted(set(found) ^ set(wanted)) or [for_people("in another order")]
        raise UserError(f"{name}: its confusion matrix is of other classes than the dataset's ({', '.join(other)}); score the method again")
    return np.array(block["confusion"], np.int64)


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
    square = _square(conf, rule)
    return np.diag(square), (square if rule == "left_out" else conf).sum(1), square.sum(0)


def _square(conf, rule):
    """(n, n): predicted 255 counted as background, or left out of the predictions."""
    square = np.array(conf[:, :-1], dtype=np.int64)
    if rule == "background":
        square[:, 0] += conf[:, -1]
    return square


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
