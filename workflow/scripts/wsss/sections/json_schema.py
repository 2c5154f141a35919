"""JSON schemas of the model's classes.

pydantic makes such schemas too, from validators that it has to build first, with `T | None` as two schemas and with `$ref`.
Messages and docs want `type: [integer, null]`, keys that may be left out and still are never null (`LeftOut`), and one
schema of the forms that a section has (by `refine`, by `net`).
"""

import functools
import operator
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from wsss.sections.section import LEFT_OUT, Section, keys_of

PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", types.NoneType: "null"}
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "pattern": "pattern"}


@functools.cache
def json_schema(kind: type[Section]) -> dict[str, Any]:
    """The schema of a section: an object with its keys and no other."""
    hints, properties, required = get_type_hints(kind, include_extras=True), {}, []
    for key, (name, field) in zip(keys_of(kind), kind.model_fields.items(), strict=True):
        schema = of_type(hints[name])
        if field.is_required():
            required.append(key)
        elif not _is_left_out(hints[name]):
            schema["default"] = _plain(field.default)
        properties[key] = schema
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        found["required"] = required
    if kind.renamed:
        found["renamed"] = kind.renamed
    return {**found, **kind.together}


def of_type(hint: Any) -> dict[str, Any]:
    """The schema of the values that a type hint allows."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(args[0], args[1:])
    if origin in (Union, types.UnionType):
        return _union([of_type(arg) for arg in args])
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return _array(args)
    if origin is dict:
        return _mapping(*args)
    if hint is Any:
        return {}
    if hint is dict:
        return {"type": "object"}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    return dict(json_schema(hint))


def _is_left_out(hint: Any) -> bool:
    return get_origin(hint) is Annotated and LEFT_OUT in get_args(hint)


def _plain(default: Any) -> Any:
    return default.model_dump(mode="json", by_alias=True) if isinstance(default, Section) else list(default) if isinstance(default, tuple) else default


def _annotated(hint: Any, notes: tuple[Any, ...]) -> dict[str, Any]:
    if LEFT_OUT in notes:
        return _union([of_type(arg) for arg in get_args(hint) if arg is not types.NoneType])
    schema = of_type(hint)
    for note in notes:
        schema |= {"description": note} if isinstance(note, str) else _constraints(note, schema)
    return schema


def _constraints(field: FieldInfo, schema: dict[str, Any]) -> dict[str, Any]:
    """What `Field(...)` says, as JSON schema."""
    found = {name: getattr(rule, key) for rule in field.metadata for key, name in BOUNDS.items() if hasattr(rule, key)}
    for rule in field.metadata:
        if hasattr(rule, "min_length"):
            found["minItems" if "array" in schema["type"] else "minLength"] = rule.min_length
    return found | (field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {})


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema where the parts are told apart by their type; `anyOf` of {from: ...} and settings for a stage."""
    objects = [part for part in parts if part.get("type") == "object"]
    if len(objects) > 1:
        elsewhere = [part for part in objects if "from" in part["properties"]]
        settings = functools.reduce(_either, [part for part in objects if part not in elsewhere])
        return {"anyOf": [*elsewhere, settings]} if elsewhere else settings
    if len(parts) == 1:
        return dict(parts[0])
    if enums := [part for part in parts if "enum" in part]:  # a choice, or null
        return {"enum": [*enums[0]["enum"], None]}
    kinds = list(dict.fromkeys(kind for part in parts for kind in ([part["type"]] if isinstance(part["type"], str) else part["type"])))
    if "number" in kinds:  # which integers are too
        kinds = [kind for kind in kinds if kind != "integer"]
    return functools.reduce(operator.or_, parts) | {"type": kinds[0] if len(kinds) == 1 else kinds}


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two forms of a section, told apart by `refine` or `net`: any of their keys; which go together, `wsss.recipes.checks` says."""
    if one == other:
        return one
    if "enum" in one:
        return {**one, "enum": [*one["enum"], *(choice for choice in other["enum"] if choice not in one["enum"])]}
    mine, theirs = one["properties"], other["properties"]
    both = {key: _either(mine[key], theirs[key]) for key in mine if key in theirs}
    return {
        **one,
        "properties": {**mine, **theirs, **both},
        "required": [key for key in one.get("required", []) if key in other.get("required", [])],
        "renamed": {**one.get("renamed", {}), **other.get("renamed", {})},
    }


def _array(args: tuple[Any, ...]) -> dict[str, Any]:
    fixed = {} if args[-1] is Ellipsis else {"minItems": len(args), "maxItems": len(args)}
    return {"type": "array", "items": of_type(args[0]), **fixed}


def _mapping(key: Any, value: Any) -> dict[str, Any]:
    names, values = of_type(key), of_type(value)
    if "pattern" in names:
        return {"type": "object", "additionalProperties": False, "patternProperties": {names["pattern"]: values}}
    return {"type": "object", "additionalProperties": values}
