"""Saliency maps: whether a dataset has its own, how else they are made, and which methods learn from them."""

import os
from typing import TYPE_CHECKING, Any

from wsss.data.user_files import voc_trees
from wsss.errors import UserError
from wsss.plan import paths
from wsss.plan.row import Row
from wsss.saliency.program import named_files, words
from wsss.sections.saliency import FEATURE_CUT_BACKBONE

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

NO_COMMAND = "{list} {out}"  # stands for the command where the user gives none


def how_made(plan: "Plan", dataset: str) -> dict[str, Any] | None:
    """How the maps of a dataset are made, None where its own are used; UserError without either."""
    return how_made_by_spec(plan.config.dataset(dataset), f"config/datasets/{dataset}.yaml")


def settings(plan: "Plan", dataset: str) -> dict[str, Any]:
    """How the stage `saliency` makes the maps."""
    found = how_made(plan, dataset)
    if found is None:
        raise UserError(
            f"{dataset} has saliency maps of its own, so none are made; "
            f"`saliency: {{make: ...}}` without `fallback` in config/datasets/{dataset}.yaml makes others"
        )
    return found


def inputs(plan: "Plan", dataset: str) -> dict[str, str]:
    """The dataset, ImageNet weights, and files that stand in the user's command: another script or other weights, other maps."""
    made = settings(plan, dataset)
    weights = {"weights": paths.weights(FEATURE_CUT_BACKBONE)} if made["make"] == "feature_cut" else {}
    files = named_files(made.get("command", NO_COMMAND))
    return {**paths.dataset_files(dataset), **weights, **{f"file{number}": path for number, path in enumerate(files)}}


def gpus(plan: "Plan", dataset: str) -> int:
    """A user's model gets a GPU."""
    return int(settings(plan, dataset)["make"] == "command")


def learned_from(plan: "Plan", row: Row) -> bool:
    """Whether any network behind a row's scores is trained with saliency maps."""
    owners = [owner for owner, stage in plan.behind(row, "predictions") if stage == "classifier"]
    return any(plan.recipe(owner)["classifier"].get("saliency") for owner in owners)


def maps(plan: "Plan", row: Row) -> dict[str, str]:
    """The maps that a row's classifier learns from, made or the dataset's own; nothing where it learns from none."""
    if not plan.recipe(row)["classifier"].get("saliency"):
        return {}
    made = how_made(plan, row.dataset)
    return {"saliency": paths.saliency(row.dataset)} if made else {"own_maps": paths.digest(row.dataset, "saliency")}


def how_made_by_spec(spec: dict[str, Any], where: str) -> dict[str, Any] | None:
    """How the saliency maps of a dataset are made, or None where its own are to be used.

    The file's key `saliency` decides; with `fallback: true` it speaks only for a dataset without maps.

    Args:
        spec: a checked dataset file.
        where: its path, for the message.

    Raises:
        UserError: neither made nor given, as far as can be known before the dataset is built.
    """
    given, made = has_saliency(spec), spec.get("saliency")
    if made and not (made.get("fallback") and given):
        words(made.get("command", NO_COMMAND))  # a command that cannot be run ends here
        return {key: value for key, value in made.items() if key != "fallback"}
    if given:
        return None
    raise UserError(
        f"{where}: the dataset has no saliency maps, and a method asked for learns from them (eps does); {_places(spec)}, "
        "or have them made from the images: `saliency: {make: feature_cut}` as a key of its own (docs/saliency.md)"
    )


def has_saliency(spec: dict[str, Any]) -> bool:
    """Whether a dataset brings maps of its own: the demo's generator makes them, `params.saliency`, VOC's SALImages."""
    params = spec["params"]
    if folder := params.get("saliency"):
        if not os.path.isdir(folder):
            raise UserError(f"{folder}: no such folder; mend `saliency` in the dataset's params")
        return True
    if spec["kind"] == "voc" and params.get("path"):
        trees = voc_trees(params["path"])
        return not trees or any((tree / "SALImages").is_dir() for tree in trees)  # no tree: the builder complains
    return spec["kind"] == "demo"


def _places(spec: dict[str, Any]) -> str:
    tree = " or put SALImages into the VOC tree" if spec["kind"] == "voc" and spec["params"].get("path") else ""
    return f"give a folder of maps (params: {{saliency: FOLDER}}){tree}"
