"""Backgrounds whose threshold is found without ground truth: `value: found` in place of a number. No torch here.

A cut lies in (0, 1), the domain of winning scores. A rule takes it as it is, or moved by its `shift`, as the threshold of a `const`
background or as the exponent of a `power` one. Four places look for one:

- the stage `threshold`, for seeds, pseudo-masks without a walk and scores: on up to 500 training images, by what the network learned,
  else by scores (`wsss.score.agreement_cut`, `wsss.score.cuts`);
- the stage `pseudo_masks`, for IRN's walk: on 40 walked images, by scores (`wsss.refine.walked_masks`);
- the stage `seeds`, to see which classes stand out nowhere (`fill_from`): by scores, of both recipes (`wsss.refine.fill`);
- the stage `evaluation`, under a policy that takes none, for comparison: on the scored images, by scores.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from wsss.engine.atomic import read_json
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.sections.background import Background, Rule
from wsss.sections.section import plain, required

FOUND = "found"
BY_SCORES = "minimum cross-entropy of the winning scores, drawn half way to the share that objects usually cover"
BY_LABELS = "best agreement with the IR labels that the network learned from"
BY_SALIENCY = "best agreement with the saliency maps that the network learned from"
CUT_AFTER = ("irn",)  # refinements that cut what their walk makes of the CAMs: a cut is found on that, by themselves
RULES = (("seeds", "confident"), ("seeds", "unsure"), ("pseudo_masks", "bg"))  # section and key of each
CUT_OF = {"seeds": "confident", "pseudo_masks": "bg"}  # stage -> key of its index that says where its masks were cut
NO_CUT = for_people("the CAMs have a background map of their own, so there is no threshold to find; set {kind: map} in place of a found value")
NOT_FILLED = for_people("have a background map of their own, so no cut says how large their classes are; take fill_from out")
MAP = "map"  # the kind of a background that is a map of the method's own: there is no threshold


def is_found(rule: Background | Rule) -> bool:
    """Whether a background takes the found cut."""
    return rule.value == FOUND


def kind_fault(kind: str, has_map: bool) -> str | None:
    """What is wrong with a background of `kind` for CAMs that have a map of it, or none, in words that say the mend; None: nothing."""
    if has_map and kind != MAP:
        return for_people("the CAMs have a background map of their own, and no threshold; set {kind: map}")
    if not has_map and kind == MAP:
        return for_people("the CAMs have no background map; set kind: const or power, and a value")
    return None


def seed_rule(bg: Background, policy: str) -> Background:
    """The background of a seed that is cut without ground truth: the evaluation's own `bg`, or under its policy the found cut."""
    return bg.model_copy(update={"value": FOUND}) if policy == FOUND else bg


def shifted(cut: float, shift: float = 0.0) -> float:
    """`cut` moved by the share |shift| of its way to 1 (shift > 0) or to 0 (shift < 0)."""
    return cut + shift * ((1.0 - cut) if shift > 0 else cut)


def value_of(kind: str, cut: float) -> float:
    """The value of a background of `kind` that cuts winning scores at `cut`, in (0, 1).

    For ``power`` the alpha at which (1 - m)^alpha = m holds at m = cut; `wsss.score.sweep.power_root` turns it back.
    """
    return math.log(cut) / math.log1p(-cut) if kind == "power" else cut


def cuts_higher(first: Background | Rule, second: Background | Rule) -> bool | None:
    """Whether `first` leaves less foreground than `second`; None where that is not known before a cut is found."""
    if isinstance(first, Background) and isinstance(second, Background) and is_found(first) and is_found(second):
        return _shift(first) > _shift(second)
    if is_found(first) or is_found(second):
        return None
    one, other = (rule if isinstance(rule, Rule) else settle(rule) for rule in (first, second))
    if MAP in (one.kind, other.kind):
        return one.kind == other.kind and one.value > other.value
    kinds = one.kind, other.kind
    if kinds == ("const", "const"):
        return one.value > other.value
    if kinds == ("power", "power"):
        return one.value < other.value
    # (1 - m)^alpha, which falls with m, meets m at the cut of a power background.
    return (1 - one.value) ** other.value < one.value if kinds == ("const", "power") else (1 - other.value) ** one.value > other.value


def refuse_reversed(confident: Background | Rule, unsure: Background | Rule, where: str) -> None:
    """UserError where the unsure pass would take less for foreground than the confident one."""
    if cuts_higher(unsure, confident):
        said = [" ".join(map(str, rule if isinstance(rule, Rule) else plain(rule).values())) for rule in (unsure, confident)]
        raise UserError(
            f"{where}: unsure ({said[0]}) leaves less foreground than confident ({said[1]}); of const the lower "
            "value, of power the higher one, of found the lower shift, of map the lower scale is the unsure one; let unsure take more, or exchange them"
        )


class Cut(NamedTuple):
    """A cut of winning scores, in (0, 1), and what it was found by."""

    value: float
    by: str


def read_cut(path: str) -> Cut:
    """What the stage `threshold` found.

    Raises:
        UserError: the file is damaged; says how to make it again.
    """
    content = read_json(path)
    cut, by = (content.get("cut"), content.get("by")) if isinstance(content, dict) else (None, None)
    if isinstance(cut, bool) or not isinstance(cut, int | float) or not 0 < cut < 1 or not isinstance(by, str):
        raise UserError(f"{path}: holds no cut between 0 and 1, or not what it was found by; {remedy(path)}")
    return Cut(float(cut), by)


def found_cut(inputs: Mapping[str, str]) -> Cut | None:
    """What the stage `threshold` found, of a stage's inputs; None where it is none of them."""
    return read_cut(inputs["threshold"]) if "threshold" in inputs else None


def settle(rule: Background, cut: Cut | None = None) -> Rule:
    """The background with its number, which a found one takes from `cut`: never None for one, since planning gives such a stage its cut."""
    if rule.kind == MAP:
        return Rule(rule.kind, 1.0 if rule.scale is None else rule.scale)
    if is_found(rule):
        return Rule(rule.kind, round(value_of(rule.kind, shifted(required(cut).value, _shift(rule))), 4))
    assert not isinstance(rule.value, str)
    return Rule(rule.kind, required(rule.value))


def settle_all(backgrounds: Mapping[str, Background], cut: Cut | None) -> tuple[dict[str, Rule], dict[str, dict[str, Any]]]:
    """Backgrounds by name with their numbers; and what a stage's index says of each: `kind`, `value`, and of a found one `shift` and `by`."""
    rules = {name: settle(background, cut) for name, background in backgrounds.items()}
    facts = {name: {**rules[name]._asdict(), **_origin(background, cut)} for name, background in backgrounds.items()}
    return rules, facts


def _origin(rule: Background, cut: Cut | None) -> dict[str, Any]:
    """How a found background came from the cut."""
    return {"shift": _shift(rule), "by": required(cut).by} if is_found(rule) else {}


def cut_key(stage: str, refine: str) -> str:
    """Where a recipe says at what the masks of a stage are cut; those of refine crf are the confident seeds."""
    return "seeds.confident" if stage == "seeds" or refine == "crf" else "pseudo_masks.bg"


def _shift(rule: Background) -> float:
    return 0.0 if rule.shift is None else rule.shift
