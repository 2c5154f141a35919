"""The options of a recipe's net and wrapper: known names, types and ranges."""

from collections.abc import Iterable
from typing import Any

from wsss import methods, wrappers
from wsss.errors import UserError
from wsss.recipes.net_options import option_names, options_class
from wsss.recipes.schema import check, did_you_mean
from wsss.sections.json_schema import json_schema
from wsss.sections.section import typed


def check_net_options(recipe: dict[str, Any], where: str) -> None:
    """Of a net with typed options all, of another the names only.

    Raises:
        UserError: names the option and what is allowed.
    """
    if "net" not in recipe:
        return  # check_recipe says so
    net = recipe["net"]
    known([net], sorted(methods.METHODS), f"{where}: net")
    if (kind := options_class(net)) is not None:
        check(recipe, {"properties": {"net_options": json_schema(kind)}}, where)
    else:
        known(recipe.get("net_options", {}), sorted(option_names(net)), f"{where}: net_options of {net}")


def check_wrap_options(recipe: dict[str, Any], where: str) -> None:
    """The same of a wrapper.

    Raises:
        UserError: names the option and what is allowed.
    """
    wrap, options = recipe.get("wrap", wrappers.NONE), recipe.get("wrap_options", {})
    if wrap == wrappers.NONE:
        if options:
            raise UserError(f"{where}: wrap_options are a wrapper's, and there is none; set wrap: fsae, or take wrap_options out")
        return
    known([wrap], [*sorted(wrappers.WRAPPERS), wrappers.NONE], f"{where}: wrap")
    check(recipe, {"properties": {"wrap_options": json_schema(wrappers.options_of(wrap).OPTIONS)}}, where)


def check_together(recipe: dict[str, Any], where: str) -> None:
    """What of the options of a net, and of a wrapper, goes together; of a whole recipe, since a later layer may mend an earlier one.

    Raises:
        UserError: names the options.
    """
    kind = options_class(recipe["net"])
    if kind is not None and (fault := typed(recipe.get("net_options", {}), kind).fault()):
        raise UserError(f"{where}: net_options: {fault}")
    if "wrap" in recipe:
        wrappers.options_of(recipe["wrap"]).check(recipe.get("wrap_options", {}), f"{where}: wrap_options")


def known(given: Iterable[str], names: list[str], where: str) -> None:
    """UserError where one of `given` is none of `names`."""
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise UserError(f"{where}: unknown name {', '.join(unknown)}; known: {', '.join(names)}{did_you_mean(unknown, names)}")
