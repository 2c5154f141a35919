"""A recipe in words: each value with the file that set it, and the chain of stages with what each takes from where."""

import json
import os
from collections.abc import Iterator
from typing import Any

from wsss.errors import UserError
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.shared import dataset_files, net_options
from wsss.plan.stages import CHAIN
from wsss.recipes.config import SECTIONS, key_paths
from wsss.recipes.net_options import at_test, options_class
from wsss.sections.section import defaults_of

HEAD = ("net", "backbone", "weights", "net_options", "wrap", "wrap_options", "refine")  # keys that are no stage's


def shown(plan: Plan, row: Row) -> str:
    """The resolved recipe of a row, then its stages in the order in which they can run. UserError for a further network, which has no stages."""
    if row.net > 1:
        raise UserError(f"{row.method}: is one of the networks of {row.recipe}, not a row of its own; show {row.recipe}")
    return "\n".join([f"recipe {row.recipe} on {row.dataset}", "", *_values(plan, row), "", "stages", "", *_stages(plan, row)])


def _values(plan: Plan, row: Row) -> Iterator[str]:
    recipe, origins = plan.recipe(row), plan.config.origins(row.recipe, row.dataset)
    if "classifier" in recipe:
        trained = plan.config.origins(plan.owner(row, "classifier").recipe, row.dataset)
        recipe = {**recipe, "net_options": net_options(plan, row)}
        origins = {path: source for path, source in trained.items() if path[0] == "net_options"} | {
            path: source for path, source in origins.items() if path[0] != "net_options" or set(path[1:2]) <= at_test(recipe["net"])
        }
    order = (*HEAD, *SECTIONS)
    paths = sorted((path for path in key_paths(recipe) if path in origins), key=lambda path: order.index(path[0]))
    lines = [(".".join(path), _at(recipe, path), os.path.relpath(origins[path], plan.config.folder.parent)) for path in paths]
    lines += [(f"net_options.{name}", value, f"default of net {recipe['net']}") for name, value in _defaults(recipe).items()]
    width = max(len(key) for key, _, _ in lines)
    for key, value, source in lines:
        yield f"{key:<{width}}  {json.dumps(value):<24}  {source}"


def _at(content: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def _defaults(recipe: dict[str, Any]) -> dict[str, Any]:
    """The options of the net that no file sets; none of a net whose defaults are a plain dict, which only running it would tell."""
    kind = options_class(recipe["net"]) if "classifier" in recipe else None
    defaults = defaults_of(kind) if kind else {}
    return {name: value for name, value in defaults.items() if name not in recipe.get("net_options", {})}


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
