"""A recipe from its layers.

They are laid in this order, each over those before:

1. the recipes that it extends, from the root down, and its own file in config/methods; before each file the parts that
   it names (`parts`, files in config/parts);
2. of the preset that the dataset's file names: `common`, the options of the recipe's `net`, of its `wrap`, what goes
   with its `refine`, and what is for single recipes (`methods`), along the chain of `extends`;
3. `overrides` in the dataset's file, along the same chain.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wsss import methods, wrappers
from wsss.errors import UserError
from wsss.found import seed_rule
from wsss.recipes.checks import TRAININGS, check_kinds, check_recipe, own
from wsss.recipes.merge import merge, without_cuts
from wsss.recipes.net_options import has_bg_map, option_names
from wsss.recipes.options import check_net_options, check_together, check_wrap_options, known
from wsss.recipes.refinement import ELSEWHERE, WALKS, without_former_walk
from wsss.recipes.schema import check, read_yaml, without_required
from wsss.sections.background import Background
from wsss.sections.json_schema import json_schema
from wsss.sections.preset import Preset
from wsss.sections.recipe import Recipe
from wsss.sections.section import plain, typed

if TYPE_CHECKING:
    from wsss.recipes.config import Config

PART = without_required(json_schema(Recipe))  # what one layer may hold
SECTIONS = (
    "classifier", "cam", "seeds", "ir_labels", "affinity", "pseudo_masks", "segmentation", "predictions", "evaluation",
)  # fmt: skip


class Layer(NamedTuple):
    """One file's values for a recipe.

    Attributes:
        source: path of the file.
        recipe: for which recipe alone, along the chain of `extends`; empty where it is laid on all.
        values: keys as in a recipe.
    """

    source: str
    recipe: str
    values: dict[str, Any]


class Resolved(NamedTuple):
    """A recipe, and the layers it is made of, in order."""

    recipe: dict[str, Any]
    layers: list[Layer]


def resolve(config: "Config", name: str, dataset: str) -> Resolved:
    """The recipe `name` on a dataset.

    Raises:
        UserError: a file of it is wrong; names file, key and what is allowed.
    """
    chain = extended(config, name)
    recipe, laid, path = merged(chain), list(chain), f"config/methods/{name}.yaml"
    _check_options(recipe, path)
    own_layers = [(chain[-1].source, chain[-1].values, _unread(recipe, chain[-1].values))]
    maps = _cam_has_bg_map(config, recipe, path)
    states = [(path, recipe)]
    for layer in _preset_layers(config, chain, recipe, dataset) + _override_layers(config, chain, dataset):
        where = f"{layer.source} (laid on method {name})"
        if layer.recipe == name:
            _refuse_borrowed(recipe, layer.values, where)
        if taken := sorted({"extends", "parts", "net", "wrap"} & set(layer.values)):  # which layers are laid goes by them
            raise UserError(f"{where}: {taken[0]} is for files in config/methods; write a recipe that has it, and ask for it")
        values = layer.values if layer.recipe == name else _of_others(config, layer, chain, recipe, maps)
        recipe = _laid_on(recipe, values, where)
        laid.append(layer._replace(values=values))
        check(recipe, PART, where)
        _check_options(recipe, where)
        if layer.recipe == name:
            own_layers.append((where, values, _unread(recipe, values)))
        states.append((where, recipe))
    for where, values, unread in own_layers:
        for stage in set(unread) & set(_unread(recipe, values)):  # a later layer may turn to what reads it
            raise UserError(f"{where}: {stage}: {unread[stage]}")
    try:
        return Resolved(_finished(recipe, name, maps, path), laid)
    except UserError:
        path = _culprit(states, name, maps)
    return Resolved(_finished(recipe, name, maps, path), laid)  # the same error, which names the file that brought it


def _culprit(states: list[tuple[str, dict]], name: str, maps: bool | None) -> str:
    """The file from which on the recipe is wrong. states: a file, and the recipe with all up to it laid on."""
    found = states[-1][0]
    for where, recipe in reversed(states):
        try:
            _finished(recipe, name, maps, where)
        except UserError:
            found = where
        else:
            break
    return found


def _finished(recipe: dict[str, Any], name: str, maps: bool | None, path: str) -> dict[str, Any]:
    """The recipe with its name, checked as a whole; `path` is the file that errors name."""
    recipe = _with_whole_cut(recipe)
    for key in ("extends", "parts"):
        recipe.pop(key, None)
    if recipe.get("wrap") == wrappers.NONE:
        del recipe["wrap"]
    check(recipe, json_schema(Recipe), path)
    recipe["name"] = name
    check_recipe(recipe, path)
    check_together(recipe, path)
    check_kinds(recipe, maps, path)
    return recipe


def extended(config: "Config", name: str, asked_by: str = "") -> list[Layer]:
    """The files of a recipe, from the root of its `extends` chain down."""
    chain: list[Layer] = []
    current: str | None = name
    while current is not None:
        if current in [layer.recipe for layer in chain]:
            raise UserError(f"config/methods/{name}.yaml: extends goes round in a circle at {current}")
        path = config.existing("methods", current, asked_by)
        content = read_yaml(path)
        check(content, PART, path)
        chain += [Layer(str(path), current, content), *reversed(_parts(config, content, path))]
        current = content.get("extends")
    return chain[::-1]


def _parts(config: "Config", recipe: dict[str, Any], path: Path) -> list[Layer]:
    """The parts that a recipe names, in the order in which they are laid; of no single recipe."""
    parts = []
    for name in recipe.get("parts", ()):
        part = config.existing("parts", name, f"{path}: parts: ")
        content = read_yaml(part)
        check(content, PART, part)
        if taken := sorted({"extends", "parts", "net"} & set(content)):
            raise UserError(f"{part}: {taken[0]} is for files in config/methods; a part holds sections that recipes share")
        parts.append(Layer(str(part), "", content))
    return parts


def merged(chain: list[Layer]) -> dict[str, Any]:
    """The recipe of an `extends` chain, before any preset."""
    recipe: dict[str, Any] = {}
    for layer in chain:
        content = layer.values
        if content.get("net", recipe.get("net")) != recipe.get("net"):
            recipe["net_options"] = {}  # those there are another net's
        if content.get("wrap", recipe.get("wrap")) != recipe.get("wrap"):
            recipe.pop("wrap_options", None)
        recipe = _laid_on(recipe, content, layer.source)
    return recipe


def _preset_layers(config: "Config", chain: list[Layer], recipe: dict, dataset: str) -> list[Layer]:
    """What the dataset's preset lays on the recipe."""
    preset = config.dataset(dataset).get("preset")
    if not preset:
        return []
    path = config.existing("presets", preset)
    content = config.preset(preset)
    net, wrap = recipe.get("net", ""), recipe.get("wrap", wrappers.NONE)
    common = dict(content.get("common", {}))
    options = common.pop("net_options", {})
    shared = {key: value for key, value in options.items() if net and key in option_names(net)}
    of_all = [
        {**common, "net_options": shared},
        {"net_options": content.get("net_options", {}).get(net, {})},
        *({"wrap_options": values} for name, values in content.get("wrap_options", {}).items() if name == wrap),
        content.get("refine", {}).get(recipe.get("refine", ""), {}),
    ]
    single = content.get("methods", {})
    names = [layer.recipe for layer in chain if layer.recipe in single]
    return [Layer(str(path), "", values) for values in of_all] + [Layer(str(path), name, single[name]) for name in names]


def check_preset(content: dict[str, Any], recipes: list[str], path: str) -> None:
    """A preset's own keys, and whether what it names is there: recipes, nets, wrappers, and options that are some net's.

    Raises:
        UserError: with `path` and the key to mend.
    """
    check(content, json_schema(Preset), path)
    _check_each(content.get("methods", {}), recipes, f"{path}: methods")
    known(content.get("net_options", {}), sorted(methods.METHODS), f"{path}: net_options")
    known(content.get("wrap_options", {}), sorted(wrappers.WRAPPERS), f"{path}: wrap_options")
    options = sorted(set().union(*map(option_names, methods.METHODS)))
    known(content.get("common", {}).get("net_options", {}), options, f"{path}: common.net_options")


def _check_each(of_recipes: dict[str, dict[str, Any]], recipes: list[str], where: str) -> None:
    """What is laid on single recipes, those that nobody asks for too: their names, keys and values."""
    known(of_recipes, recipes, where)
    for name, values in of_recipes.items():
        check(values, PART, f"{where}.{name}")


def _override_layers(config: "Config", chain: list[Layer], dataset: str) -> list[Layer]:
    """What the dataset's own file lays on the recipe."""
    path, overrides = str(config.existing("datasets", dataset)), config.dataset(dataset).get("overrides", {})
    _check_each(overrides, config.names("methods"), f"{path}: overrides")
    return [Layer(path, layer.recipe, overrides[layer.recipe]) for layer in chain if layer.recipe in overrides]


def _cam_has_bg_map(config: "Config", recipe: dict, path: str) -> bool | None:
    """Whether the CAMs that a recipe reads have a background map; None where they are imported, or there are none."""
    seen: list[str] = []
    while (source := recipe.get("cam", {}).get("from")) and source not in seen:
        seen.append(source)
        recipe = merged(extended(config, source, f"{path}: cam.from: "))
    if "cam" not in recipe or "import" in recipe["cam"] or recipe.get("net") not in methods.METHODS:
        return None
    return has_bg_map(recipe["net"])


def _laid_on(recipe: dict, values: dict, where: str) -> dict:
    """A new recipe: `recipe` with a layer's values over it. UserError, with `where`: see `_without_idle_epochs`."""
    return _without_idle_epochs(merge(without_former_walk(recipe, values), values), values, where)


def _without_idle_epochs(recipe: dict, values: dict, where: str) -> dict:
    """The recipe without the epochs that its `steps` overrule, so that `steps: null` alone does not bring back another recipe's.

    They stay where a warm-up or the rate counts in them. So does `min_steps`, a floor of whatever epochs come.

    Raises:
        UserError: the layer `values` itself sets one that has no effect.
    """
    recipe = dict(recipe)
    for stage in TRAININGS:
        settings = recipe.get(stage, {})
        if settings.get("steps") is None:
            continue
        in_epochs = settings.get("warmup_epochs") is not None or settings.get("rate_per") == "epoch"
        idle = ["min_steps"] if in_epochs else ["epochs", "min_steps"]
        if set_here := [key for key in idle if values.get(stage, {}).get(key) is not None]:
            raise UserError(f"{where}: {stage}.{set_here[0]} has no effect beside steps: {settings['steps']}; set steps: null there too, or take {set_here[0]} out")
        if not in_epochs:
            recipe[stage] = {key: value for key, value in settings.items() if key != "epochs"}
    return recipe


def _refuse_borrowed(recipe: dict, values: dict, where: str) -> None:
    for stage in (s for s in SECTIONS if s in values and ELSEWHERE & set(recipe.get(s, {}))):
        if "import" in recipe[stage]:
            raise UserError(f"{where}: {stage} is imported ({recipe[stage]['import']}); it has no settings here")
        owner = recipe[stage]["from"]
        raise UserError(f"{where}: {stage} is taken from recipe {owner}; change it there: {owner}: {{{stage}: ...}}")


def _unread(recipe: dict, values: dict) -> dict[str, str]:
    """The sections of `values`, a layer of the recipe's own, that nothing reads, each with why."""
    refine, unread = recipe.get("refine"), {}
    settings = set(values.get("pseudo_masks", {})) - ELSEWHERE  # masks that come from elsewhere need no refinement
    if refine not in WALKS:
        unread["affinity"] = f"refine {refine} has no affinity network; take the section out, or set refine: {' | '.join(WALKS)}"
    if refine == "crf" and settings:
        unread["pseudo_masks"] = "masks of refine crf are the confident seeds; set seeds.confident in its place"
    if refine == "none" and (further := sorted(settings - {"bg"})):
        unread["pseudo_masks"] = f"refine none has no use for {', '.join(further)}; take it out"
    if _learns_from_truth(recipe):
        unread |= dict.fromkeys(("seeds", "ir_labels", "affinity", "pseudo_masks"), "the recipe learns from ground truth; take the section out")
    return {stage: why for stage, why in unread.items() if stage in values}


def _learns_from_truth(recipe: dict) -> bool:
    return recipe.get("segmentation", {}).get("labels") == "ground_truth"


def _with_whole_cut(recipe: dict) -> dict:
    """A copy of the recipe, in which a cut of masks without a walk says what it changes of the cut of the scores."""
    cut, scores = recipe.get("pseudo_masks", {}).get("bg"), recipe.get("evaluation", {})
    if recipe.get("refine") in WALKS or not isinstance(cut, dict) or "policy" not in scores or "kind" not in scores.get("bg", {}):
        return dict(recipe)
    whole = plain(seed_rule(typed(scores["bg"], Background), scores["policy"]))
    return {**recipe, "pseudo_masks": {**recipe["pseudo_masks"], **merge({"bg": whole}, {"bg": cut})}}


def _of_others(config: "Config", layer: Layer, chain: list[Layer], recipe: dict, maps: bool | None) -> dict[str, Any]:
    """What a layer that is not the recipe's alone lays on it.

    Of its sections those that the recipe has itself; `pseudo_masks` where both have the same refinement; and thresholds where its CAMs
    have one.
    """
    its = merged(chain[: [one.recipe for one in chain].index(layer.recipe) + 1]) if layer.recipe else recipe
    is_alike = its.get("refine") == recipe.get("refine")  # the cut of walked maps is none of plain ones
    makes_plain_masks = recipe.get("refine") == "none" and not _learns_from_truth(recipe) and not ELSEWHERE & set(recipe.get("pseudo_masks", {}))
    cuts_plain_maps = bool(layer.recipe) and makes_plain_masks and set(layer.values.get("pseudo_masks", {})) == {"bg"}
    has_section = {stage: own(recipe, stage) for stage in SECTIONS} | {"pseudo_masks": is_alike and (own(recipe, "pseudo_masks") or cuts_plain_maps)}
    values = {key: value for key, value in layer.values.items() if has_section.get(key, True)}
    is_for_maps = bool(layer.recipe) and _cam_has_bg_map(config, its, layer.source)
    if maps and not is_for_maps:
        return {key: value for key, value in without_cuts(values).items() if value != {}}
    return values


def _check_options(recipe: dict, where: str) -> None:
    check_net_options(recipe, where)
    check_wrap_options(recipe, where)
