"""Which threshold a seed is scored at, and how much that choice matters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wsss.errors import UserError
from wsss.found import BY_SCORES, FOUND, MAP
from wsss.score.confusion import mean_percent, summarise
from wsss.score.sweep import OFFSETS, SweepResult

POLICIES = {
    "fixed": "the recipe's published value",
    "best_on_train_gt": "the value with the highest mIoU on the scored images (uses ground truth)",
    FOUND: "found without ground truth",
}
NO_THRESHOLD = "none: the largest of the classes' maps and the background's own (no ground truth)"


def seed_stage(
    result: SweepResult,
    classes: Sequence[str],
    fixed: float,
    policy: str = "fixed",
    found: float | None = None,
    found_by: str = BY_SCORES,
    shapes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The `seed` stage of scores.json: figures under the recipe's policy, a block per policy, the sweep, PxAP.

    classes: foreground names; fixed: the recipe's value; found: that of the found cut, None where there is none (then
    there is no such block); both must be among those swept. shapes: `wsss.score.shapes.Shapes.result` of the seed at
    the value that is known before the sweep, that of the policy `found`, else the recipe's. found_by: what the found cut was found by. Raises UserError for an unknown policy and when a policy
    or the scores need ground truth that is not there.
    """
    if policy not in POLICIES:
        raise UserError(f"threshold policy '{policy}' is unknown; choose one of {', '.join(POLICIES)}")
    taken = {"fixed": result.index(fixed), "best_on_train_gt": result.best()}
    if found is not None:
        taken[FOUND] = result.index(found)
    blocks = {name: _block(result, classes, at, name, found_by) for name, at in taken.items()}
    blocks[FOUND if policy == FOUND else "fixed"] |= shapes or {}
    return {**blocks[policy], **blocks, "sweep": stability(result), **_pxap(result, classes)}


def map_stage(total: np.ndarray, classes: Sequence[str], scale: float, shapes: dict[str, Any]) -> dict[str, Any]:
    """The `seed` stage of scores.json for CAMs with a background map: one block, `map`, and no sweep.

    total: confusion matrix of argmax beside the map times `scale`; shapes: `wsss.score.shapes.Shapes.result` of the same masks.
    """
    block = {**summarise(total, classes), **shapes, "provenance": chosen(MAP, scale, MAP)}
    return {**block, MAP: block}


def chosen(kind: str, value: float, policy: str, found_by: str = BY_SCORES) -> dict:
    """What provenance says of a threshold: its value and kind, the policy, and whether that looks at ground truth.

    For kind ``map`` that there is none; `value` is what the background map was multiplied with. found_by: by what a found one was found.
    """
    if kind == MAP:
        scale = {} if value == 1 else {"background_scale": value}
        return {
            "threshold_kind": MAP,
            "threshold_policy": MAP,
            "threshold_chosen_by": NO_THRESHOLD,
            "threshold_uses_ground_truth": False,
            **scale,
        }
    return {
        "threshold": value,
        "threshold_kind": kind,
        "threshold_policy": policy,
        "threshold_chosen_by": f"{POLICIES[policy]}: {found_by}" if policy == FOUND else POLICIES[policy],
        "threshold_uses_ground_truth": policy == "best_on_train_gt",
    }


def stability(result: SweepResult) -> dict:
    """How flat the mIoU is around the best value: JSON-ready, percent.

    best, best_miou; width_1pt and interval_1pt: the run of values around the best whose mIoU stays within one
    point of it; oracle_miou: every image at its own best value. For background "const" also `at`, per offset
    (0.05 and 0.10) to either side: the value (kept inside the range swept), its mIoU and `flips`, the share of
    labelled pixels whose label differs from that at the best; and `flips_within`, both sides together.
    """
    best, miou = result.best(), result.miou
    low, high = _run_within(miou, best, 1.0)
    out: dict[str, Any] = {
        "best": float(result.values[best]),
        "best_miou": float(miou[best]),
        "interval_1pt": [float(result.values[low]), float(result.values[high])],
        "width_1pt": float(result.values[high] - result.values[low]),
        "oracle_miou": result.oracle_miou,
    }
    if result.kind == "const":
        out["at"] = {f"{s * d:+.2f}": _beside(result, best, s * d) for d in OFFSETS for s in (-1, 1)}
        out["flips_within"] = {
            f"{d:.2f}": sum(out["at"][f"{s * d:+.2f}"]["flips"] for s in (-1, 1)) for d in OFFSETS
        }
    return out


def _pxap(result, classes):
    """`pxap`, percent, the mean over the classes that some image has, and `pxap_per_class`."""
    found = result.pxap
    per_class = {name: float(v) if np.isfinite(v) else None for name, v in zip(classes, found, strict=True)}
    return {"pxap": mean_percent(found / 100.0), "pxap_per_class": per_class}


def _block(result, classes, at, policy, found_by):
    conf = np.pad(result.confusion[at], ((0, 0), (0, 1)))  # a seed never predicts 255
    return {
        **summarise(conf, classes),
        "provenance": chosen(result.kind, float(result.values[at]), policy, found_by),
    }


def _run_within(miou, best, points):
    near = miou >= miou[best] - points
    low = high = best
    while low > 0 and near[low - 1]:
        low -= 1
    while high + 1 < len(near) and near[high + 1]:
        high += 1
    return low, high


def _beside(result, best, offset):
    at = int(np.abs(result.values - (result.values[best] + offset)).argmin())
    return {
        "value": float(result.values[at]),
        "miou": float(result.miou[at]),
        "flips": result.flips(best, at),
    }
