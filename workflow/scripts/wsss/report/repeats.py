"""Mean and spread over the seeds of one method."""

import statistics
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean of `n` seeds and their standard deviation, that of a sample (n - 1); `std` is None with one seed."""

    mean: float
    std: float | None
    n: int


def spread(values) -> Spread | None:
    """Of any numbers; None and NaN are left out, and None comes back where nothing is left."""
    there = [float(v) for v in values if v is not None and np.isfinite(v)]
    if not there:
        return None
    return Spread(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else None, len(there))


def mean_curve(curves: list[dict]) -> dict:
    """One curve of several, at the values that all of them have.

    curves: {"threshold": (T,), "miou": (T,), ...} each, at least one. Returns the first with "miou" the mean, "std"
    (T',) the sample's standard deviation (n - 1) and "n"; NaN where a seed has no figure. A single one has no "std".
    """
    if len(curves) == 1:
        return curves[0]
    values = curves[0]["threshold"]
    for curve in curves[1:]:
        values = np.intersect1d(values, curve["threshold"])
    miou = np.stack([c["miou"][np.searchsorted(c["threshold"], values)] for c in curves])
    figures = {"threshold": values, "miou": miou.mean(axis=0), "std": miou.std(axis=0, ddof=1)}
    return {**curves[0], **figures, "n": len(curves)}
