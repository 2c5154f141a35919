"""JSON schemas for editors: completion, the meaning of a key under the cursor, and a mark on what is wrong.

An editor sees one file, where the checks see the whole recipe. So nothing is required in a recipe, and only options of a
`net` that the file itself names are known.
"""

from typing import Any

from wsss import methods, wrappers
from wsss.recipes.net_options import options_class
from wsss.recipes.schema import without_required
from wsss.sections.dataset import dataset_schema
from wsss.sections.json_schema import json_schema
from wsss.sections.main import Main
from wsss.sections.preset import Preset
from wsss.sections.recipe import Recipe

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def editor_schemas() -> dict[str, dict[str, Any]]:
    """A schema for each kind of config file, by the name of its folder; `config` is config.yaml's."""
    recipe, preset = _recipe(), json_schema(Preset)
    common = {**recipe, "description": preset["properties"]["common"]["description"]}
    found = {
        "config": json_schema(Main),
        "datasets": dataset_schema(),
        "methods": recipe,
        "parts": recipe,
        "presets": {**preset, "properties": {**preset["properties"], "common": common}},
    }
    return {kind: {"$schema": DRAFT, **_for_javascript(schema)} for kind, schema in found.items()}


def _recipe() -> dict[str, Any]:
    schema = without_required(json_schema(Recipe))
    nets = {net: kind for net in methods.METHODS if (kind := options_class(net)) is not None}
    wraps = {name: wrappers.options_of(name).OPTIONS for name in wrappers.WRAPPERS}
    tables = (("net", "net_options", nets), ("wrap", "wrap_options", wraps))
    schema["allOf"] = [
        {
            "if": {"required": [key], "properties": {key: {"const": name}}},
            "then": {"properties": {options: without_required(json_schema(kind))}},
        }
        for key, options, kinds in tables
        for name, kind in kinds.items()
    ]
    return schema


def _for_javascript(schema: Any) -> Any:
    """The schema with patterns as JavaScript writes them, whose `$` is the very end."""
    if isinstance(schema, dict):
        return {key.replace(r"\Z", "$"): _for_javascript(value) for key, value in schema.items() if key != "renamed"}
    if isinstance(schema, list | tuple):
        return [_for_javascript(value) for value in schema]
    return schema.replace(r"\Z", "$") if isinstance(schema, str) else schema
