"""Which modules the results of a stage depend on: its own, and those that the recipe names."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsss import methods, wrappers
from wsss.nets import segmenters
from wsss.plan import saliency, segmentation, shared
from wsss.plan.code_digest import code_version
from wsss.plan.row import Row
from wsss.refine import walks

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

Part = Callable[["Plan", Row], list[str]]


def code(stage: str, *parts: Part) -> Callable[["Plan", Row], str]:
    """Params function: the digest over a stage's module and those of `parts`."""
    return lambda plan, row: code_version(f"wsss.stages.{stage}", *[name for part in parts for name in part(plan, row)])


def net(plan: "Plan", row: Row) -> list[str]:
    """The module of the recipe's net."""
    return [methods.module_path(plan.recipe(row)["net"])]


def wrapper(plan: "Plan", row: Row) -> list[str]:
    """The module of what is put around its training."""
    recipe = plan.recipe(row)
    return [wrappers.module_path(recipe["wrap"])] if "wrap" in recipe else []


def segmenter(plan: "Plan", row: Row) -> list[str]:
    """The module of the segmentation network."""
    return [segmenters.module_path(segmentation.net(plan, row))]


def learner(plan: "Plan", row: Row) -> list[str]:
    """The module that trains for the recipe's refinement."""
    return _of_refinement(walks.LEARNERS, plan, row)


def walker(plan: "Plan", row: Row) -> list[str]:
    """The module that makes the masks of the recipe's refinement."""
    return _of_refinement(walks.WALKERS, plan, row)


def _of_refinement(table: dict[str, str], plan: "Plan", row: Row) -> list[str]:
    refine = shared.refine(plan, row)
    return [table[refine]] if refine in table else []


def chain_code(plan: "Plan", row: Row) -> str:
    """One digest for the code of the whole chain, for the record."""
    rows = [row.other(name) for name in plan.config.sources(row.recipe, row.dataset)]
    parts = {module for source in rows for part in (net, wrapper, learner, walker) for module in part(plan, source)}
    made = ["wsss.stages.saliency"] if saliency.learned_from(plan, row) and saliency.how_made(plan, row.dataset) else []
    return code_version(*(f"wsss.stages.{stage}" for stage in (*plan.chain_stages, "evaluation")), *made, *parts, *segmenter(plan, row))
