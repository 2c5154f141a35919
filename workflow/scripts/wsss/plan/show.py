"""A recipe in words: each value with the file that set it, and the chain of stages with what each takes from where."""

import json
import os
from collections.abc import Iterator

from wsss.plan.given import dataset_files
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.stages import CHAIN
from wsss.recipes.config import SECTIONS, key_paths

HEAD = ("net", "backbone", "weights", "net_options", "wrap", "wrap_options", "refine")  # keys that are no stage's


def shown(plan: Plan, row: Row) -> str:
    """The resolved recipe of a row, then its stages in the order in which they can run."""
    return "\n".join([f"recipe {row.recipe} on {row.dataset}", "", *_values(plan, row), "", "stages", "", *_stages(plan, row)])


def _values(plan: Plan, row: Row) -> Iterator[str]:
    recipe, origins = plan.recipe(row), plan.config.origins(row.recipe, row.dataset)
    order = (*HEAD, *SECTIONS)
    paths = sorted((path for path in key_paths(recipe) if path in origins), key=lambda path: order.index(path[0]))
    keys = {path: ".".join(path) for path in paths}
    width = max(map(len, keys.values()))
    for path in paths:
        value = recipe
        for key in path:
            value = value[key]
        yield f"{keys[path]:<{width}}  {json.dumps(value):<24}  {os.path.relpath(origins[path], plan.config.folder.parent)}"


def _stages(plan: Plan, row: Row) -> Iterator[str]:
    for owner, stage in plan.behind(row, "predictions"):
        if plan.is_imported(owner, stage):
            yield f"{owner.method}/{stage}: imported as {plan.recipe(owner)[stage]['import']}"
            continue
        given = ", ".join(plan.params(stage, owner))
        yield f"{owner.method}/{stage}: {owner.folder}/{stage}/ ({', '.join(CHAIN[stage].makes.values())}); given {given}"
        for name, path in plan.inputs(stage, owner).items():
            if name not in dataset_files(plan, owner):  # which every stage reads
                yield f"    {name:<12} {path}"
