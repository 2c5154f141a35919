"""What many stages read and are given alike: the dataset, weights, settings, seed, arithmetic."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wsss.plan import paths
from wsss.plan.row import Row
from wsss.rownames import LARGEST

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

def dataset_files(plan: "Plan", row: Row) -> dict[str, str]:
    """See `paths.dataset_files`."""
    return paths.dataset_files(row.dataset)


def digests(*names: str) -> Callable[["Plan", Row], dict[str, str]]:
    """Input function: digests over kinds of the dataset's files, such as masks_train."""
    return lambda plan, row: {name: paths.digest(row.dataset, name) for name in names}


def trunk_weights(plan: "Plan", row: Row, backbone: str) -> dict[str, str]:
    """ImageNet weights of a trunk, unless the recipe wants a random start."""
    return {} if plan.recipe(row)["weights"] == "none" else {"weights": paths.weights(backbone)}


def settings(stage: str) -> Callable[["Plan", Row], dict[str, Any]]:
    """Params function: the stage's section of the recipe."""
    return lambda plan, row: plan.own_section(row, stage)


def crf_settings(stage: str) -> Callable[["Plan", Row], dict[str, Any]]:
    """Params function: the stage's section, which says by which backend its CRF is computed."""
    return lambda plan, row: with_crf_backend(plan, plan.own_section(row, stage))


def with_crf_backend(plan: "Plan", section: dict[str, Any]) -> dict[str, Any]:
    """A section with `crf_params.backend`, where it has a CRF; `auto` is our own lattice."""
    if "crf_params" not in section or not section.get("crf", True):
        return section
    params = section["crf_params"]
    chosen = params.get("backend") or plan.main.get("crf", {}).get("backend", "auto")
    return {**section, "crf_params": {**params, "backend": "lattice" if chosen == "auto" else chosen}}


def crf_gpus(stage: str) -> Callable[["Plan", Row], int]:
    """GPUs of a stage that is a CRF and no more: one where that is computed by `torch`."""

    def gpus(plan: "Plan", row: Row) -> int:
        settings = with_crf_backend(plan, plan.own_section(row, stage))
        return int(settings["crf_params"]["backend"] == "torch")

    return gpus


def recipe_facts(plan: "Plan", row: Row) -> dict[str, str]:
    """Facts that records and models say of their recipe."""
    facts = {key: plan.recipe(row)[key] for key in ("net", "backbone", "weights")}
    return {**facts, "method": row.method, "dataset": row.dataset}


def seed(plan: "Plan", row: Row) -> int:
    """The seed of all random draws. Those of a row's further networks are above all seeds that rows may have."""
    return row.seed + (row.net - 1) * (LARGEST + 1)


def net_options(plan: "Plan", row: Row) -> dict[str, Any]:
    """Options of the recipe's net; see `Config.net_options`."""
    return plan.config.net_options(row.recipe, row.dataset)


def wrapper(plan: "Plan", row: Row) -> dict[str, Any]:
    """What is put around the training of the net, by name and options; nothing where there is none."""
    found = plan.recipe(row)
    return {"name": found["wrap"], "options": found.get("wrap_options", {})} if "wrap" in found else {}


def refine(plan: "Plan", row: Row) -> str:
    """The recipe's refinement."""
    return plan.recipe(row)["refine"]


def compute(plan: "Plan", row: Row) -> dict[str, Any]:
    """What shapes the arithmetic of a stage with a network."""
    return {key: value for key, value in plan.main["compute"].items() if key != "gpus"}


def threads(plan: "Plan", row: Row) -> dict[str, Any]:
    """The same of a stage that computes in float32, whatever `compute.precision` says."""
    return {"cpu_threads": plan.main["compute"]["cpu_threads"]}


def training_compute(plan: "Plan", row: Row) -> dict[str, Any]:
    """`compute` with the number of GPUs, where it is not one: a training's files say what they were made with."""
    gpus = training_gpus(plan, row)
    return {**compute(plan, row), "gpus": gpus} if gpus > 1 else compute(plan, row)


def training_gpus(plan: "Plan", row: Row) -> int:
    """GPUs that a training is spread over."""
    return plan.main["compute"].get("gpus", 1)
