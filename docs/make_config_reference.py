"""Write docs/config.md from the model (wsss.sections), what it says of each key, and the values the shipped files have.

    python docs/make_config_reference.py            write it
    python docs/make_config_reference.py --check    status 1 where it is out of date
"""

import argparse
import re
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from wsss import wrappers  # noqa: E402
from wsss.recipes.config import SECTIONS, Config, read_yaml  # noqa: E402
from wsss.recipes.net_options import options_class  # noqa: E402
from wsss.sections.dataset import dataset_schema  # noqa: E402
from wsss.sections.json_schema import json_schema  # noqa: E402
from wsss.sections.main import Main  # noqa: E402
from wsss.sections.recipe import Recipe  # noqa: E402

TARGET = ROOT / "docs" / "config.md"
RECIPES = ("cam", "irn", "amn", "eps_base", "eps", "seam", "cpn", "cam_affinitynet", "mctformer")
WRAPPED = {"fsae": "fsae_cam"}  # wrapper -> a recipe that has it
DATASET = "voc12"  # has no preset, so its recipes are the files as they stand
HEAD = """# Config reference

Made by `docs/make_config_reference.py` from the classes in `wsss.sections` and the shipped files; do not edit by hand.
Every file is checked when Snakemake starts: an unknown key, a wrong type or a value out of range ends the run
with one line that names file, key and what is allowed.
"""
MAIN = """## config/config.yaml

What a user edits. Single values can be changed for one run: `snakemake TARGET --config 'methods=[cam]'`.
`compute` shapes results, so a change reruns what it concerns; `runtime` shapes speed only and reruns nothing (`shards`: see
[snakemake.md](snakemake.md#shards)).
"""
DATASETS = """## config/datasets/NAME.yaml

Where data comes from. `${NAME}` in a string is an environment variable, `~` at its beginning your home. [datasets.md](datasets.md) tells more.
"""
METHODS = """## config/methods/NAME.yaml

Recipes. `extends:` starts from another recipe; a stage that says `from: OTHER` is not run, OTHER's results are
used; nor is one that says `import: NAME` ([import.md](import.md)): what a command put there is used. Values below are those of the shipped recipes ({recipes}) without any preset; where they differ each is
named, and a recipe that is not named has no such stage of its own or leaves the key out. `full` is `cam` with
`segmentation: {{labels: ground_truth}}`. The sources of the values are in the comments of the files and on the
pages of the methods ([cam](methods/cam.md), [irn](methods/irn.md), [amn](methods/amn.md), [eps](methods/eps.md),
[seam](methods/seam.md), [cpn](methods/cpn.md), [mctformer](methods/mctformer.md), [affinitynet](methods/affinitynet.md), [fsae](methods/fsae.md)).

A background (`bg`, `confident`, `unsure`) is `{{kind: const, value: t}}`, the threshold t in (0, 1), or
`{{kind: power, value: a}}`, the score (1 - max over classes)^a; or, of CAMs that have a background map (sipe), `{{kind: map}}`,
with `scale: s` s times the map. With `value: found` the threshold is found
without ground truth; `shift`, from -0.95 to 0.95, moves it by that share of its way to 1 (above 0) or to 0 (below)
([evaluation.md](evaluation.md#thresholds)). `bg` of `evaluation` is never found: it is the published value (sipe: its map).
"""
PRESETS = """## config/presets/NAME.yaml

What a dataset's `preset:` lays on every recipe (`common`; of its `net_options.OPTION` every net gets those it has), on the
options of one net (`net_options.NET`) or wrapper (`wrap_options.WRAPPER`), on recipes of one refinement (`refine`), or on single recipes (`methods`). A value reaches only those recipes that run the stage themselves; a dataset's `overrides:` come last.
`methods` may not change a stage that the recipe takes `from:` another. Change it in the recipe that runs it.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write or check; 0 where all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, complain where the page is out of date")
    options = parser.parse_args(arguments)
    text = page()
    if not options.check:
        TARGET.write_text(text, "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != text:
        print("docs/config.md is out of date; run: python docs/make_config_reference.py", file=sys.stderr)
        return 1
    return 0


def page() -> str:
    """The whole reference as Markdown."""
    config = Config(ROOT / "config", read_yaml(ROOT / "config" / "config.yaml"))
    main_table = table(rows(json_schema(Main), {"": config.main}))
    sections = [HEAD, MAIN, main_table, DATASETS, dataset_tables(dataset_schema(), config), methods_tables(config)]
    return "\n".join([*sections, PRESETS, preset_table(config)])


def rows(schema: dict, values: dict[str, Any], prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(key, type, shipped value, meaning) of all keys below a schema; `values` by the name of who has them."""
    found = []
    for key, child in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        held = {who: value[key] for who, value in values.items() if isinstance(value, dict) and key in value}
        if child.get("type") == "object" and "properties" in child and name.split(".")[-1] not in WHOLE | RULES:
            found += rows(child, held, f"{name}.")
        else:
            found.append((f"`{name}`", kind(child), shipped(held), child.get("description", "")))
    return found


WHOLE = {"augmentation", "crf_params", "resize", "jitter"}  # shown in one cell
RULES = {"bg", "confident", "unsure"}  # and of a schema, where METHODS explains their keys


def kind(schema: dict) -> str:
    """Type or allowed values, with bounds."""
    if "enum" in schema:
        return " \\| ".join(f"`{'null' if value is None else value}`" for value in schema["enum"])
    types = schema.get("type", "object")
    names = [types] if isinstance(types, str) else types
    text = " or ".join("null" if name == "null" else ELEMENTS.get(name, name) for name in names)
    if types == "array" and "items" in schema:
        text = f"list of {kind(schema['items'])}"
    limits = [f"{sign} {schema[key]}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([text, ", ".join(limits)]).strip()


ELEMENTS = {"integer": "whole number", "string": "text", "object": "mapping", "boolean": "true or false"}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def shipped(held: dict[str, Any]) -> str:
    """One value where all agree, else each with its owners."""
    owners: dict[str, list[str]] = {}
    for who, value in held.items():
        owners.setdefault(plain(value), []).append(who)
    if len(owners) == 1:
        value, who = next(iter(owners.items()))
        return f"`{value}`" if len(who) == 1 or len(who) == len(RECIPES) else f"`{value}` ({', '.join(who)})"
    return "<br>".join(f"{', '.join(who)}: `{value}`" for value, who in owners.items())


def plain(value: Any) -> str:
    """A value as YAML's flow style has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(plain, value)) + "]"
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def table(lines: list[tuple[str, ...]], head: tuple[str, ...] = ("key", "type", "shipped", "meaning")) -> str:
    """A Markdown table."""
    marked = [head, tuple("---" for _ in head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in marked) + "\n"


def dataset_tables(schema: dict, config: Config) -> str:
    """Keys of all kinds, then the params of each kind, the keys of each way to make saliency maps, and the shipped files."""
    common = {**schema, "properties": {k: v for k, v in schema["properties"].items() if k != "params"}}
    parts = [table([line[:2] + line[3:] for line in rows(common, {})], ("key", "type", "meaning"))]
    for branch in schema["allOf"]:
        name = branch["if"]["properties"]["kind"]["const"]
        params = branch["then"]["properties"]["params"]
        required = set(params.get("required", []))
        lines = [
            (key, kind_, "yes" if key.strip("`") in required else "", meaning)
            for key, kind_, _, meaning in rows(params, {})
        ]
        parts.append(f"### kind: {name}\n\n" + table(lines, ("params", "type", "required", "meaning")))
    for branch in schema["properties"]["saliency"]["allOf"]:
        name = branch["if"]["properties"]["make"]["const"]
        own = {key: child for key, child in branch["then"]["properties"].items() if key not in schema["properties"]["saliency"]["properties"]}
        lines = [line[:2] + line[3:] for line in rows({"properties": own}, {}, "saliency.")]
        parts.append(f"### saliency.make: {name}\n\n" + table(lines, ("key", "type", "meaning")))
    parts.append("### Shipped\n\n" + table(shipped_datasets(config), ("name", "kind", "preset", "params")))
    return "\n".join(parts)


def shipped_datasets(config: Config) -> list[tuple[str, ...]]:
    """A row per file in config/datasets (not expanded: environment variables need not be set)."""
    lines = []
    for name in config.names("datasets"):
        content = read_yaml(config.folder / "datasets" / f"{name}.yaml")
        lines.append((f"`{name}`", content["kind"], content.get("preset", ""), f"`{plain(content['params'])}`"))
    return lines


def methods_tables(config: Config) -> str:
    """Top-level keys, net options, then a table per stage."""
    keys = json_schema(Recipe)["properties"]
    recipes = {name: config.recipe(name, DATASET) for name in RECIPES}
    top = {key: child for key, child in keys.items() if key not in SECTIONS}
    parts = [METHODS.format(recipes=", ".join(RECIPES)), table(rows({"properties": top}, without_nets(recipes)))]
    head = ("net", "option", "type", "shipped", "meaning")
    parts.append("### net_options\n\n" + table(net_options(recipes), head))
    parts.append("### wrap_options\n\n" + table(wrap_options(config), ("wrapper", *head[1:])))
    parts += [stage_table(stage, section, recipes) for stage, section in keys.items() if stage in SECTIONS]
    parts.insert(1, "### Shipped recipes\n\n" + table(shipped_recipes(), ("recipe", "extends", "what it is")) + "\n### Keys\n")
    return "\n".join(parts)


def shipped_recipes() -> list[tuple[str, ...]]:
    """Each recipe, what it extends, and the first sentence of its file."""
    found = []
    for path in sorted((ROOT / "config/methods").glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        comment = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines))
        parent = read_yaml(path).get("extends", "")
        found.append((f"`{path.stem}`", f"`{parent}`" if parent else "", re.split(r"(?<=[a-zA-Z)])\. ", comment)[0].rstrip(".")))
    return found


def without_nets(recipes: dict) -> dict:
    """Recipes without net_options, which have a table of their own."""
    return {name: {k: v for k, v in recipe.items() if k != "net_options"} for name, recipe in recipes.items()}


def net_options(recipes: dict) -> list[tuple[str, ...]]:
    """A row per option of each net."""
    by_net = {recipe["net"]: recipe["net_options"] for recipe in recipes.values()}
    return [(net, *row) for net, options in by_net.items() for row in rows(json_schema(options_class(net)), {net: options})]


def wrap_options(config: Config) -> list[tuple[str, ...]]:
    """A row per option of each wrapper; those that a recipe leaves out have the wrapper's default."""
    found = []
    for name, recipe in WRAPPED.items():
        values = {**wrappers.options_of(name).DEFAULTS, **config.recipe(recipe, DATASET)["wrap_options"]}
        found += [(name, *row) for row in rows(json_schema(wrappers.options_of(name).OPTIONS), {name: values})]
    return found


def stage_table(stage: str, section: dict, recipes: dict) -> str:
    """Heading, meaning, who takes the stage from whom, and the keys."""
    settings = section["anyOf"][1] if "anyOf" in section else section
    held = {name: recipe[stage] for name, recipe in recipes.items() if stage in recipe}
    taken = [f"{name} takes it from {v['from']}" for name, v in held.items() if "from" in v]
    text = f"### {stage}\n\n{section['description'][:1].upper()}{section['description'][1:]}."
    text += f" Shipped: {', '.join(taken)}.\n" if taken else "\n"
    own = {name: values for name, values in held.items() if "from" not in values}
    lines = rows(settings, own)
    return text + ("\n" + table(lines) if lines else "")


def preset_table(config: Config) -> str:
    """A row per key, a column per preset."""
    names = config.names("presets")
    flat = {name: dict(flatten(read_yaml(config.folder / "presets" / f"{name}.yaml"))) for name in names}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))
    lines = [(f"`{k}`", *(f"`{flat[n][k]}`" if k in flat[n] else "" for n in names)) for k in keys]
    return table(lines, ("key", *names))


def flatten(value: dict, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, value) pairs, `common.` left out."""
    found = []
    for key, child in value.items():
        name = f"{prefix}{key}".removeprefix("common.")
        deeper = isinstance(child, dict) and child and key not in WHOLE
        found += flatten(child, f"{name}." if name != "common" else "") if deeper else [(name, plain(child))]
    return found


if __name__ == "__main__":
    sys.exit(main())
