"""Comparisons with the released code's numbers, and the rows of docs/parity.md that they leave behind.

With the environment variable WSSS_PARITY set to a file, every comparison adds a JSON line to it.
"""

import json
import os
from collections.abc import Mapping

import numpy as np
import torch

RECORD = "WSSS_PARITY"


def _largest(ours, theirs):
    """Largest difference, as a part of the largest value."""
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def _absolute(ours, theirs):
    return np.abs(ours - theirs).max()


def _each(ours, theirs):
    """Largest difference of an entry, as a part of that entry; what is 0 there must be 0 here."""
    zero = theirs == 0
    apart = np.abs(ours - theirs)
    return np.where(zero, np.where(apart == 0, 0.0, np.inf), apart / np.where(zero, 1.0, np.abs(theirs))).max()


def _share(ours, theirs):
    return (ours != theirs).mean()


MEASURES = {"largest": _largest, "absolute": _absolute, "each": _each, "share": _share}


def agree(network, stage, ours, theirs, tolerance, measure="largest"):
    """Assert that two arrays, or two dicts of numbers with the same keys, are equal up to `tolerance`.

    Args:
        network, stage: the row of docs/parity.md.
        theirs: from the golden file. An array all of one value is refused: to match it says nothing.
        measure: "largest" | "absolute" | "each" | "share" (of labels that differ), of MEASURES.
    """
    apart, count = distance(ours, theirs, measure)
    _record(network=network, stage=stage, measure=measure, value=apart, tolerance=tolerance, numbers=count)
    assert apart <= tolerance, f"{network}, {stage}: {apart:.3g} apart ({measure}), at most {tolerance:g} is allowed"


def differ(network, difference, ours, theirs, at_least, at_most, measure="share"):
    """Assert that a difference on purpose is there, and no larger than is known.

    Args:
        difference: its key in `parity_differences.DIFFERENCES`.
    """
    apart, _ = distance(ours, theirs, measure)
    _record(network=network, difference=difference, measure=measure, value=apart)
    assert at_least <= apart <= at_most, f"{network}, {difference}: {apart:.3g} apart, known: {at_least:g} to {at_most:g}"


def distance(ours, theirs, measure):
    """(how far apart by `measure`, count of numbers). AssertionError where there is nothing to compare."""
    if isinstance(theirs, Mapping):
        assert set(ours) == set(theirs), f"not the same names: {sorted(set(ours) ^ set(theirs))[:5]}"
        ours, theirs = [ours[key] for key in theirs], list(theirs.values())
    ours, theirs = plain(ours), plain(theirs)
    assert ours.shape == theirs.shape, f"{ours.shape} against {theirs.shape}"
    assert theirs.size and np.isfinite(ours).all() and np.isfinite(theirs).all()
    assert theirs.size == 1 or (theirs != theirs.flat[0]).any(), "all one value"
    return float(MEASURES[measure](ours, theirs)), theirs.size


def plain(values):
    """Float64 array of whatever holds numbers; labels keep their values."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values).astype(np.float64)


def _record(**row):
    if path := os.environ.get(RECORD):
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
