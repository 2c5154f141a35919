"""YAML files and JSON schemas: every mistake in a file is one line that names file, key and what is allowed."""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from wsss.errors import UserError
from wsss.recipes.allowed import allowed_range, in_type, part_of_schema, plain_pattern


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # either has the same methods
    """SafeLoader, the fast one where there is one, that refuses duplicate keys and reads 1e-4 as a number."""


NO_BREAK = "\u00a0"
MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`, which lays another mapping below this one


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    """YAML 1.1 reads 010 as 8, and 1:30 as 90, which nobody means."""
    if re.match(r"[-+]?0[0-9_]|.*:", node.value):
        raise _misread(node)
    return loader.construct_yaml_int(node)


def _real(loader: _Loader, node: yaml.ScalarNode) -> float:
    """YAML 1.1 reads 1:30.5 as 90.5."""
    if ":" in node.value:
        raise _misread(node)
    return loader.construct_yaml_float(node)


def _misread(node: yaml.ScalarNode) -> yaml.constructor.ConstructorError:
    words = f"{node.value} would not be read as it looks; write a plain number, or put it in quotes if it is a name"
    return yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = ["<<" if key.tag == MERGE else loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"key given twice: {sorted(twice)}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)\Z"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: missing or unreadable file, bad YAML, a key given twice, or no mapping.
    """
    text = ""
    try:
        text = Path(path).read_text("utf-8")
        content = yaml.load(text, Loader=_Loader)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such config file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its mode or owner, or put a file there") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, no date, too many digits
        raise UserError(f"{path}: not valid YAML: {_yaml_words(error)}{_of_web_pages(text)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of keys to values")
    return content


def _yaml_words(error: Exception) -> str:
    """What a YAML reader says, on one line, and the mend of the mistake that its words do not tell."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start}); save it as UTF-8"
    words = re.sub(r'in "<[a-z ]+>", line', "in line", " ".join(str(error).split()))
    mark = getattr(error, "problem_mark", None)
    tab = isinstance(error, yaml.scanner.ScannerError) and mark is not None and "cannot start any token" in words
    if "mapping values are not allowed" in words:
        return f"{words}; a space is missing after a colon, there or in the line above, or a value with ': ' in it needs quotes"
    if "unknown escape character" in words:
        return f"{words}; between double quotes a backslash is a sign of YAML's: write single quotes, or / in paths"
    return f"{words}; indent with spaces, not with tabs" if tab else words


def _of_web_pages(text: str) -> str:
    """What to add where a line that was copied from a page has spaces that YAML takes for letters."""
    lines = [str(number) for number, line in enumerate(text.splitlines(), 1) if NO_BREAK in line]
    return f"; line {', '.join(lines[:5])} has no-break spaces, as web pages do: type plain ones" if lines else ""


def check(content: Any, schema: dict, path: str | Path) -> None:
    """Check `content` against a JSON schema.

    Raises:
        UserError: one line a problem, naming file, key, value, and what is allowed.
    """
    strange = sorted(_strange(content))
    if strange:
        raise UserError("\n".join(f"{path}: {words}" for words in strange))
    errors = [e for error in _Validator(schema).iter_errors(content) for e in _leaves(error) if not _is_told_twice(e)]
    if errors:
        raise UserError("\n".join(sorted({f"{path}: {_explain(error)}" for error in errors})))


def _is_told_twice(error: jsonschema.ValidationError) -> bool:
    """Too many keys, some of which are not allowed anyway: the other error names those."""
    instance, schema = error.instance, part_of_schema(error)
    return error.validator == "maxProperties" and isinstance(instance, dict) and bool(set(instance) - set(schema.get("properties", {})))


def _is_whole(_: Any, value: Any) -> bool:
    """JSON schema takes 3.0 for an integer, which Python's ranges and file names do not."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)


def _strange(content: Any, place: tuple[str, ...] = ()) -> Iterator[str]:
    """What no schema can allow, wherever it stands: numbers that are none (.nan, .inf), and keys that are no text."""
    where = ".".join(place) or "top level"
    if isinstance(content, dict):
        is_list = all(type(key) is int for key in content)  # {1: cat, 2: dog}
        mend = "put it in quotes" + ", or write a list, [A, B], where one is wanted" * is_list
        yield from (f"{where}: key {key!r:.40} must be text; {mend}" for key in content if not isinstance(key, str))
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _strange(value, (*place, f"{key!s:.40}"))
    if isinstance(content, float) and not math.isfinite(content):
        yield f"{where}: {content} is no number to work with; give a finite one"
    if isinstance(content, int) and content.bit_length() > 128:  # Python may refuse to write it
        yield f"{where}: a number of {content.bit_length()} bits; give one that can be meant"


def with_numbers(content: Any, schema: dict) -> Any:
    """`content` with strings turned to numbers where the schema wants those.

    `snakemake --config 'runtime={shards: 8}'` gives strings only.
    """
    if isinstance(content, dict):
        others = schema.get("additionalProperties")  # of a mapping by names
        others = others if isinstance(others, dict) else next(iter(schema.get("patternProperties", {}).values()), {})
        return {key: with_numbers(value, schema.get("properties", {}).get(key, others)) for key, value in content.items()}
    if isinstance(content, list):
        return [with_numbers(value, schema.get("items", {})) for value in content]
    if isinstance(content, str) and schema.get("type") in ("integer", "number"):
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            number = yaml.load(content, Loader=_Loader)
            return number if isinstance(number, int | float) else content
    return content


def without_required(schema: Any) -> Any:
    """The schema for a part of a recipe, in which anything may be missing."""
    if isinstance(schema, dict):
        return {k: without_required(v) for k, v in schema.items() if k != "required" or not isinstance(v, list)}
    return [without_required(v) for v in schema] if isinstance(schema, list) else schema


def _leaves(error: jsonschema.ValidationError) -> list[jsonschema.ValidationError]:
    """Keep the errors of the anyOf branch that the user wrote: `from:` or `import:`, or settings."""
    if error.validator != "anyOf":
        return [error]
    meant = 0 if isinstance(error.instance, dict) and {"from", "import"} & set(error.instance) else 1
    return [e for child in error.context if child.schema_path[0] == meant for e in _leaves(child)]


def likeness(word: str, name: str) -> float:
    """How much a mistyped word looks like a name, 0 to 1: difflib's ratio, and a little more for the same letters in another order."""
    return 0.95 * SequenceMatcher(None, word, name).ratio() + 0.05 * (sorted(word) == sorted(name) or word == name)


def did_you_mean(words: Iterable[str], known: Iterable[str]) -> str:
    """The known names that look most like mistyped ones, as the end of a message; empty where none is near."""
    names = sorted(known)
    found = [max(matches, key=lambda name: likeness(word, name)) for word in words if (matches := get_close_matches(word, names))]
    return f"; did you mean {' and '.join(found)}?" if found else ""


def _explain(error: jsonschema.ValidationError) -> str:
    key, schema = ".".join(map(str, error.absolute_path)) or "top level", part_of_schema(error)
    allows: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        allowed = ", ".join(sorted(schema.get("properties", {}))) or "names of " + ", ".join(map(plain_pattern, schema.get("patternProperties", {})))
        unknown = sorted(set(instance) - set(schema.get("properties", {})))
        meant = did_you_mean(unknown, schema.get("properties", {}))
        if set(schema.get("properties", {})) == {"from", "import"}:
            taken = " and ".join(sorted({"from", "import"} & set(instance)))
            return f"unknown key {', '.join(unknown)} in {key}; allowed: from or import alone; take {', '.join(unknown)} out, or {taken} where it is to have settings"
        return f"unknown key {', '.join(unknown)} in {key}; allowed: {allowed}{meant or _sections_of(unknown, schema)}" + _renamed(schema, instance)
    if error.validator == "required":
        missing = next(name for name in allows if error.message.startswith(repr(name)))
        values = schema.get("properties", {}).get(missing, {}).get("enum")
        return f"{key}: {missing} is missing; add {missing}: {' | '.join(map(str, values)) if values else 'VALUE'}"
    if error.validator == "enum":
        names = ["null" if value is None else str(value) for value in allows]
        allowed, meant = ", ".join(names), _renamed(schema, [instance])
        meant = meant or (f"; write null for {instance}" if str(instance).lower() in ("none", "~") and None in allows else did_you_mean([str(instance)], names))
        return f"{key}: {instance!r} is not allowed; allowed: {allowed}{meant}"
    if error.validator == "maxProperties" and allows == 1:
        return f"{key}: {' and '.join(instance)} cannot stand together; give one of them alone"
    if error.validator == "pattern":
        is_number = isinstance(schema.get("type"), list) and "number" in schema["type"]
        near = str(instance).lower().replace("-", "_").replace(" ", "_")
        meant = f"; write {near}" if re.search(allows, near) else ""
        meant += ", or a comma between two names" * (isinstance(instance, str) and " " in instance.strip())
        return f"{key}: {instance!r} is not allowed; allowed: {'a number without quotes, or ' * is_number}{plain_pattern(allows)}{meant}"
    return f"{key}: {error.message}{allowed_range(error)}{in_type(error)}" + _renamed(schema, [instance])


def _sections_of(unknown: Iterable[str], schema: Mapping[str, Any]) -> str:
    """Where keys belong that stand a level too high, as the end of a message."""
    schemas = [schema, *(case.get("then", {}) for case in schema.get("allOf", []))]  # a dataset's params are those of its kind
    parts = [(section, part.get("properties", {})) for one in schemas for section, part in one.get("properties", {}).items()]
    places = {key: dict.fromkeys(section for section, keys in parts if key in keys) for key in unknown}
    return "".join(f"; {key} belongs below {' or '.join(sections)}" for key, sections in places.items() if sections)


def _renamed(schema: dict, given: Iterable) -> str:
    """What former names are called now, where the schema says so (`renamed`, no keyword of JSON schema)."""
    now = [f"{'null' if old is None else old} is now {new}" for old, new in schema.get("renamed", {}).items() if old in given]
    return f" ({'; '.join(now)})" if now else ""
