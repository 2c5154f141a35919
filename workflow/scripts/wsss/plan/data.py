"""What the stages that make a dataset, its ground truth and ImageNet weights read and are given.

Their jobs are about the name of a dataset, or of a backbone.
"""

import functools
import os
from typing import TYPE_CHECKING, Any

from wsss.data.user_files import check_coco, coco_annotations
from wsss.errors import UserError
from wsss.nets.catalog import require_source
from wsss.plan import paths
from wsss.plan.code_digest import code_version
from wsss.plan.ground_truth import has_masks
from wsss.plan.watched import dataset_files
from wsss.plan.watched import stamp as stamp_of

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


def dataset_inputs(plan: "Plan", dataset: str) -> dict[str, str]:
    """Downloads that a dataset needs because the user gave no folder, and masks made beforehand."""
    params = plan.config.dataset(dataset)["params"]
    kind = plan.config.dataset(dataset)["kind"]
    if kind == "coco":
        check_coco(params)
        masks = {"masks": paths.coco_masks(dataset)}
        return masks if params.get("path") else {"path": _coco_download(params), **masks}
    if kind != "voc":
        return {}
    inputs = _voc_downloads(params)
    return {**inputs, "mask_train": paths.aug_masks(dataset)} if params.get("aug_masks") else inputs


def _voc_downloads(params: dict[str, Any]) -> dict[str, str]:
    if params.get("path"):
        return {}
    needs_sbd = not params.get("sbd") and not params.get("trainaug")
    return {"path": paths.download("voc12"), **({"sbd": paths.download("sbd")} if needs_sbd else {})}


def _coco_download(params: dict[str, Any]) -> str:
    return paths.download(f"coco{params['year'] % 100}")


def aug_masks_inputs(plan: "Plan", dataset: str) -> dict[str, str]:
    """The downloads that augmented masks are made of."""
    inputs = {name: path for name, path in dataset_inputs(plan, dataset).items() if name != "mask_train"}
    has_own = plan.config.dataset(dataset)["params"].get("sbd")
    return inputs if has_own else {**inputs, "sbd": paths.download("sbd")}


def spec(plan: "Plan", dataset: str) -> dict[str, Any]:
    """What the builder reads; what else stands in the dataset's file concerns other stages."""
    content = plan.config.dataset(dataset)
    return {"kind": content["kind"], "params": content["params"]}


def own_folders(plan: "Plan", dataset: str) -> dict[str, str]:
    """The user's folders and files that augmented masks are made of."""
    params = plan.config.dataset(dataset)["params"]
    return {key: value for key, value in params.items() if key in ("path", "sbd", "trainaug", "labels") and value}


def stamp(plan: "Plan", dataset: str) -> str | None:
    """Changes when a file of the user's does (names, sizes, times); generated and downloaded data need none."""
    return stamp_of(dataset_files(plan.config.dataset(dataset)))


def expected_counts(plan: "Plan", dataset: str) -> Any:
    """Number of images a split that the dataset file promises."""
    return plan.config.dataset(dataset)["params"].get("expected_counts")


@functools.cache  # asked for every row, and answered from the dataset's CSV
def has_ground_truth(plan: "Plan", dataset: str, split: str = "train") -> bool:
    """Whether a split of a dataset has masks to score with, as far as can be known before it is built."""
    return has_masks(plan.config.dataset(dataset), split)


def _coco_params(plan: "Plan", dataset: str) -> dict[str, Any]:
    content = plan.config.dataset(dataset)
    if content["kind"] != "coco":
        raise UserError(f"{dataset}: masks are made for datasets of kind coco only, this is of kind {content['kind']}")
    return content["params"]


def coco_masks_inputs(plan: "Plan", dataset: str) -> dict[str, Any]:
    """The user's annotation files, or the note of the downloaded folder they are in."""
    params = _coco_params(plan, dataset)
    return coco_annotations(params["path"], params["year"]) if params.get("path") else {"path": _coco_download(params)}


def coco_masks_settings(plan: "Plan", dataset: str) -> dict[str, Any]:
    """Year of the annotations, and what crowds become."""
    params = _coco_params(plan, dataset)
    return {"year": params["year"], "crowd": params.get("crowd", "class")}


def local_weights(plan: "Plan", backbone: str) -> dict[str, str]:
    """The user's own copy of a trunk's weights, watched like any input."""
    path = plan.main["weights"].get(backbone)
    if path and not os.path.isfile(path):
        raise UserError(f"{path}: no such file; mend `weights: {backbone}` in config/config.yaml (null downloads)")
    require_source(backbone, path)
    return {"local": path} if path else {}


def weights_code(plan: "Plan", backbone: str) -> str:
    """The MXNet reader makes resnet38d's weights only: an edit of it downloads no other again."""
    reader = ["wsss.nets.mxnet_params"] if backbone == "resnet38d" else []
    return code_version("wsss.nets.weights", *reader)
