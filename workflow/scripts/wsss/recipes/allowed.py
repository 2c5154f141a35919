"""What a value that breaks a schema should be, as the end of a message: its type, its range, its pattern."""

from collections.abc import Mapping
from typing import Any

import jsonschema


def part_of_schema(error: jsonschema.ValidationError) -> dict[str, Any]:
    """The part of the schema that is not met: a mapping in all schemas of ours."""
    return dict(error.schema) if isinstance(error.schema, Mapping) else {}


def plain_pattern(pattern: str) -> str:
    """A pattern without the marks of start and end."""
    return pattern.removeprefix("^").removesuffix(r"\Z")


def in_type(error: jsonschema.ValidationError) -> str:
    """How a value of another type is written."""
    if error.validator != "type":
        return ""
    allows: Any = error.validator_value
    types = [allows] if isinstance(allows, str) else list(allows)
    kinds = [name for name in types if name != "null"]
    if len(kinds) != 1:
        return ""
    given = error.instance
    written = {
        "array": f"a list, {_list_of(given)}",
        "object": "KEY: VALUE below it, indented, or {KEY: VALUE}",
        "string": _text_of(given),
        "boolean": "true or false, without quotes",
        "integer": "a whole number, without quotes",
        "number": "a number, without quotes",
    }
    return f"; write {written[kinds[0]]}{', or null' * ('null' in types)}" if kinds[0] in written else ""


def _text_of(given: Any) -> str:
    """How a value is written as text. YAML reads some words as something else: yes, no, null, 2024-01-01."""
    if isinstance(given, bool):
        return "it in quotes, as it stands in the file (without them YAML reads yes, no, on and off as true and false)"
    if isinstance(given, list | dict):
        return "one text, without brackets"
    if isinstance(given, float):
        return "it in quotes, as it stands in the file"
    return f"'{given}', in quotes" if isinstance(given, int) else "a text, in quotes"


def _list_of(given: Any) -> str:
    """How a value is written as a list; of a list whose brackets do not match, up to where it seems to end."""
    if isinstance(given, str) and set(given) & set("[]{}"):
        names = (name.strip(" '\"") for name in given.strip().lstrip("[{").partition("]")[0].strip("}").split(","))
        return f"[{','.join(filter(None, names))}] (the brackets do not match, or something stands beside them)"  # no space: shells part words there
    return f"[{'...' if given is None or isinstance(given, dict) else given}]"


def allowed_range(error: jsonschema.ValidationError) -> str:
    """The range that a number is out of."""
    if error.validator not in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        return ""
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    schema = part_of_schema(error)
    return f"; allowed: {' and '.join(f'{words} {schema[key]}' for key, words in bounds.items() if key in schema)}"
