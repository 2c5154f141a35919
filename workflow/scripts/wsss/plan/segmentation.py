"""What the segmentation network reads and is given, for training and for predictions."""

from typing import TYPE_CHECKING, Any

from wsss.errors import UserError
from wsss.nets import segmenters
from wsss.plan import paths, shared
from wsss.plan.data import has_ground_truth
from wsss.plan.read import Read
from wsss.plan.row import Row

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


def is_full(plan: "Plan", row: Row) -> bool:
    """Whether it learns from ground truth (full supervision)."""
    return plan.section(row, "segmentation")["labels"] == "ground_truth"


def reads(plan: "Plan", row: Row) -> list[Read]:
    """The pseudo-masks, unless it learns from ground truth."""
    return [] if is_full(plan, row) else [Read("pseudo_masks", "pseudo_masks")]


def inputs(plan: "Plan", row: Row) -> dict[str, str]:
    """Initial weights, and the digest over ground truth where it learns from that."""
    weights = shared.trunk_weights(plan, row, plan.section(row, "segmentation")["backbone"])
    masks = {"masks_train": paths.digest(row.dataset, "masks_train")} if is_full(plan, row) else {}
    return {**weights, **masks}


def refuse(plan: "Plan", row: Row) -> None:
    """UserError where there is no ground truth to learn from."""
    if is_full(plan, row) and not has_ground_truth(plan, row.dataset):
        raise UserError(
            f"{row.dataset} has no ground-truth masks, from which {row.method} learns; leave {row.method} out of `methods`, or give masks"
        )


def net(plan: "Plan", row: Row) -> str:
    """Name of the network."""
    return plan.section(row, "segmentation").get("net", segmenters.DEFAULT)


def network(plan: "Plan", row: Row) -> dict[str, Any]:
    """What the network is built of."""
    section = plan.section(row, "segmentation")
    return {"net": net(plan, row), "backbone": section["backbone"], "options": section["options"]}
