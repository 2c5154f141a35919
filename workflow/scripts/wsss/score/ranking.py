"""How well image-level scores tell labels: average precision, F1, the soft-margin loss, and what guessing would reach."""

import numpy as np

from wsss.score.confusion import mean_percent, ratio


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the precision-recall steps, in [0, 1]; photos of equal score are taken at once.

    scores: (N,) float; truth: (N,) of 0 and 1, at least one of them 1.
    """
    order = np.argsort(-scores, kind="stable")
    hits, ends = np.cumsum(truth[order] > 0), np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    recall = np.concatenate([[0.0], hits[ends] / hits[-1]])
    return float(np.sum(np.diff(recall) * hits[ends] / (ends + 1)))


def mean_average_precision(scores: np.ndarray, y: np.ndarray) -> tuple[float | None, float | None, int]:
    """Over the classes that some photos have and others have not.

    scores, y: (N, C). Returns mAP and what guessing reaches on average (a class's share of the photos), both in
    percent and None where no class can be ranked, and the number of classes.
    """
    ranked = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    if not ranked:
        return None, None, 0
    found = [average_precision(scores[:, k], y[:, k]) for k in ranked]
    return 100 * float(np.mean(found)), 100 * float(y[:, ranked].mean()), len(ranked)


def mean_f1(logits: np.ndarray, y: np.ndarray) -> float | None:
    """F1 = 2 TP / (2 TP + FP + FN) of a class said where its probability is above one half, in percent.

    The mean over the classes that some photo has or is said to have; None where there are none. logits, y: (N, C).
    """
    said, true = logits > 0, y > 0
    found = ratio(2 * (said & true).sum(0), said.sum(0) + true.sum(0))
    return mean_percent(found)


def soft_margin(logits: np.ndarray, y: np.ndarray) -> float:
    """The classifiers' loss, mean binary cross-entropy over photos and classes; logits, y: (N, C)."""
    z = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0, z) - y * z))


def guess_loss(training: np.ndarray, y: np.ndarray) -> float:
    """The loss of saying for every photo how frequent a class is among those trained on; both (N, C) of 0 and 1."""
    rates = (training.sum(0) + 1) / (len(training) + 2)
    return soft_margin(np.broadcast_to(np.log(rates / (1 - rates)), y.shape), y)
