"""How one layer of a recipe is laid on another: mapping by mapping, but a choice is replaced whole."""

import copy
from typing import Any

from wsss.found import FOUND, MAP
from wsss.nets import segmenters
from wsss.recipes.refinement import ELSEWHERE

BACKGROUNDS = ("bg", "confident", "unsure")  # keys of rules
CUTS = {"seeds": ("confident", "unsure"), "pseudo_masks": ("bg",), "evaluation": ("bg", "policy")}


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, mapping by mapping; lists and scalars are replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict) and not _is_choice(key, value, result[key]):
            result[key] = merge(_without_shift(value, _without_options(value, result[key])), value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _is_choice(key: str, value: dict, old: dict) -> bool:
    """`resize` is one choice out of {long_side}, {scale} and {}; `from:` or `import:` replaces a stage, and is replaced.

    Another `unary` replaces seeds: its CRF has other parameters. So does another `kind` of background its rule.
    """
    other_unary = "unary" in value and value["unary"] != old.get("unary", "labels")
    other_kind = key in BACKGROUNDS and value.get("kind", old.get("kind")) != old.get("kind")
    return key == "resize" or bool(ELSEWHERE & {*value, *old}) or other_unary or other_kind


def _without_options(value: dict, old: dict) -> dict:
    """`old` without its options where `value` turns to another segmentation `net`, which has others."""
    if value.get("net", old.get("net", segmenters.DEFAULT)) == old.get("net", segmenters.DEFAULT):
        return old
    return {k: v for k, v in old.items() if k != "options"}


def _without_shift(value: dict, old: dict) -> dict:
    """`old` without the shift of a found threshold where a number takes its place."""
    return old if value.get("value", FOUND) == FOUND else {k: v for k, v in old.items() if k != "shift"}


def without_cuts(layer: dict) -> dict:
    """What is laid on other recipes too, for one whose CAMs have a background map: nothing is cut there. A map's own rules stay."""
    return {stage: {k: v for k, v in values.items() if not _cuts(stage, k, v)} if stage in CUTS else values for stage, values in layer.items()}


def _cuts(stage: str, key: str, value: Any) -> bool:
    """Whether a key of a section says where a threshold cuts."""
    is_of_map = value == MAP or (isinstance(value, dict) and (value.get("kind") == MAP or "scale" in value))
    return key in CUTS[stage] and not is_of_map
