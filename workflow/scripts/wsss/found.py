"""Backgrounds whose threshold is found on the CAMs themselves: `value: found` in place of a number. No torch here.

The stage `threshold` finds one cut of a recipe's CAMs, in [0, 1], the domain of their winning scores. A rule takes it
as it is, or moved by its `shift`, as the threshold of a `const` background or as the exponent of a `power` one.
"""

import math
from collections.abc import Mapping
from typing import Any

from wsss.engine.atomic import read_json
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError

FOUND = "found"
CUT_AFTER = ("irn",)  # refinements that cut what their walk makes of the CAMs: a cut is found on that, by themselves
RULES = (("seeds", "confident"), ("seeds", "unsure"), ("pseudo_masks", "bg"))  # section and key of each
FOUND_RULE = {"seeds": "confident", "pseudo_masks": "bg"}  # stage -> what its index says of a background that was found
NO_CUT = for_people("the CAMs have a background map of their own, so there is no threshold to find; set {kind: map} in place of a found value")
MAP = "map"  # the kind of a background that is a map of the method's own: there is no threshold
Rule = Mapping[str, Any]


def is_found(rule: Rule) -> bool:
    """Whether a background rule takes the found cut."""
    return rule.get("value") == FOUND


def kind_fault(rule: Rule, has_map: bool) -> str | None:
    """What is wrong with a rule for CAMs that have a background map, or none, in words that say the mend; None: nothing."""
    if has_map and rule["kind"] != MAP:
        return for_people("the CAMs have a background map of their own, and no threshold; set {kind: map}")
    if not has_map and rule["kind"] == MAP:
        return for_people("the CAMs have no background map; set kind: const or power, and a value")
    return None


def seed_rule(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The background of a seed that is cut without ground truth: the section's own `bg`, or under its policy the found cut."""
    bg = dict(evaluation["bg"])
    return {**bg, "value": FOUND} if evaluation["policy"] == FOUND else bg


def shifted(cut: float, shift: float = 0.0) -> float:
    """`cut` moved by the share |shift| of its way to 1 (shift > 0) or to 0 (shift < 0)."""
    return cut + shift * ((1.0 - cut) if shift > 0 else cut)


def value_of(kind: str, cut: float) -> float:
    """The value of a background of `kind` that cuts winning scores at `cut`, in (0, 1).

    For ``power`` the alpha at which (1 - m)^alpha = m holds at m = cut; `wsss.score.sweep.power_root` turns it back.
    """
    return math.log(cut) / math.log1p(-cut) if kind == "power" else cut


def cuts_higher(first: Rule, second: Rule) -> bool | None:
    """Whether `first` leaves less foreground than `second`; None where that is not known before a cut is found."""
    if is_found(first) and is_found(second):
        return first.get("shift", 0.0) > second.get("shift", 0.0)
    if is_found(first) or is_found(second):
        return None
    if MAP in (first["kind"], second["kind"]):
        return first["kind"] == second["kind"] and settle(first, {})["value"] > settle(second, {})["value"]
    kinds, one, other = (first["kind"], second["kind"]), first["value"], second["value"]
    if kinds == ("const", "const"):
        return one > other
    if kinds == ("power", "power"):
        return one < other
    # (1 - m)^alpha, which falls with m, meets m at the cut of a power background.
    return (1 - one) ** other < one if kinds == ("const", "power") else (1 - other) ** one > other


def refuse_reversed(confident: Rule, unsure: Rule, where: str) -> None:
    """UserError where the unsure pass would take less for foreground than the confident one."""
    if cuts_higher(unsure, confident):
        said = [" ".join(f"{word}" for word in rule.values()) for rule in (unsure, confident)]
        raise UserError(
            f"{where}: unsure ({said[0]}) leaves less foreground than confident ({said[1]}); exchange them: of const the lower "
            "value, of power the higher one, of found the lower shift, of map the lower scale is the unsure one"
        )


def read_cut(path: str) -> float:
    """The cut that the stage `threshold` found.

    Raises:
        UserError: the file is damaged; says how to make it again.
    """
    content = read_json(path)
    cut = content.get("cut") if isinstance(content, dict) else None
    if isinstance(cut, bool) or not isinstance(cut, int | float) or not 0 < cut < 1:
        raise UserError(f"{path}: holds no cut between 0 and 1; {remedy(path)}")
    return float(cut)


def settle(rule: Rule, inputs: Mapping[str, str], cut: float | None = None) -> dict[str, Any]:
    """{"kind", "value"} with a number, for `wsss.refine.background`; a found one from `cut`, or else the input `threshold`."""
    kind, value = rule["kind"], rule.get("scale", rule.get("value", 1.0)) if rule["kind"] == MAP else rule["value"]
    if is_found(rule):
        cut = read_cut(inputs["threshold"]) if cut is None else cut
        value = round(value_of(kind, shifted(cut, rule.get("shift", 0.0))), 4)
    return {"kind": kind, "value": value}


def settled(
    settings: Mapping[str, Any], inputs: Mapping[str, str], *names: str, cut: float | None = None
) -> tuple[dict, dict]:
    """A stage's settings with numbers in the rules `names`, and what its index says of those that were found."""
    rules = {name: settle(settings[name], inputs, cut) for name in names}
    facts = {
        name: {**rules[name], "shift": settings[name].get("shift", 0.0)} for name in names if is_found(settings[name])
    }
    return {**settings, **rules}, facts
