"""Config files: read, check against their schemas, and resolve recipes.

A recipe (`config/methods/NAME.yaml`) may `extends:` another one; a preset (`config/presets/NAME.yaml`,
chosen by the dataset) lays values over every recipe (`common`) and over single ones (`methods`, matched
along the `extends` chain). A stage that says `from: OTHER` is not run: OTHER's results are used.
"""

import copy
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from wsss.errors import UserError
from wsss.io.digest import fingerprint

NAME = re.compile(r"[a-z0-9_]+")
STAGES = (
    "classifier", "cam", "seeds", "ir_labels", "affinity", "pseudo_masks", "segmentation", "predictions", "evaluation",
)  # fmt: skip
REFINEMENTS = ("irn", "crf", "none")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads 1e-4 as a number."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"key given twice: {sorted(twice)}", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: missing file, bad YAML, a key given twice, or no mapping.
    """
    try:
        content = yaml.load(Path(path).read_text("utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such config file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of keys to values")
    return content


def check(content: Any, schema: dict, path: str | Path) -> None:
    """Check `content` against a JSON schema.

    Raises:
        UserError: one line a problem, naming file, key, value, and what is allowed.
    """
    errors = [e for error in jsonschema.Draft202012Validator(schema).iter_errors(content) for e in _leaves(error)]
    if errors:
        raise UserError("\n".join(sorted(f"{path}: {_explain(error)}" for error in errors)))


def without_required(schema: Any) -> Any:
    """The schema for a part of a recipe, in which anything may be missing."""
    if isinstance(schema, dict):
        return {k: without_required(v) for k, v in schema.items() if k != "required" or not isinstance(v, list)}
    return [without_required(v) for v in schema] if isinstance(schema, list) else schema


def _leaves(error: jsonschema.ValidationError) -> list[jsonschema.ValidationError]:
    """Of the two forms of a stage, `from:` or settings, the errors of the one that is meant."""
    if error.validator != "anyOf":
        return [error]
    meant = 0 if isinstance(error.instance, dict) and "from" in error.instance else 1
    return [e for child in error.context if child.schema_path[0] == meant for e in _leaves(child)]


def _explain(error: jsonschema.ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        allowed = ", ".join(sorted(error.schema.get("properties", {})))
        unknown = ", ".join(sorted(set(error.instance) - set(error.schema.get("properties", {}))))
        return f"unknown key {unknown} in {key}; allowed: {allowed}"
    if error.validator == "enum":
        return f"{key}: {error.instance!r} is not allowed; allowed: {', '.join(map(str, error.validator_value))}"
    return f"{key}: {error.message}"


def merge(base: dict, over: dict) -> dict:
    """`over` laid on `base`, mapping by mapping; lists and scalars are replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict) and not _is_choice(key, value, result[key]):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _is_choice(key: str, value: dict, old: dict) -> bool:
    """`resize` is one choice out of {long_side}, {scale} and {}; `from:` replaces a stage, and is replaced by one."""
    return key == "resize" or "from" in value or "from" in old


class Config:
    """All config files of one project folder, checked."""

    def __init__(self, folder: str | Path, main: dict[str, Any]) -> None:
        """Read schemas and check `main` (the content of config.yaml, command-line overrides included)."""
        self.folder = Path(folder)
        self.schemas = {p.stem: read_yaml(p) for p in sorted((self.folder / "schemas").glob("*.yaml"))}
        check(main, self.schemas["config"], self.folder / "config.yaml")
        self.main = expand_env(main, self.folder / "config.yaml")
        self._datasets: dict[str, dict] = {}
        self._recipes: dict[tuple[str, str], dict] = {}

    def names(self, kind: str) -> list[str]:
        """Names of the files in `config/{kind}`."""
        return sorted(p.stem for p in (self.folder / kind).glob("*.yaml"))

    def dataset(self, name: str) -> dict[str, Any]:
        """The checked dataset file, environment variables in its strings expanded."""
        if name not in self._datasets:
            path = self._existing("datasets", name)
            content = read_yaml(path)
            check(content, self.schemas["dataset"], path)
            self._datasets[name] = expand_env(content, path)
        return self._datasets[name]

    def recipe(self, name: str, dataset: str) -> dict[str, Any]:
        """The resolved recipe of method `name` on `dataset` (extends, preset and overrides laid on)."""
        if (name, dataset) not in self._recipes:
            self._recipes[name, dataset] = self._resolve(name, dataset)
        return self._recipes[name, dataset]

    def owner(self, name: str, dataset: str, stage: str) -> str:
        """The recipe whose results hold `stage` of `name`, following `from:`."""
        seen = [name]
        while "from" in (entry := self.recipe(seen[-1], dataset).get(stage, {})):
            if entry["from"] in seen:
                raise UserError(f"config/methods: {stage} goes round in a circle: {' -> '.join([*seen, entry['from']])}")
            seen.append(entry["from"])
        return seen[-1]

    def _existing(self, kind: str, name: str) -> Path:
        path = self.folder / kind / f"{name}.yaml"
        if not NAME.fullmatch(name) or not path.exists():
            raise UserError(f"{path}: no such file; known {kind}: {', '.join(self.names(kind))} (names match [a-z0-9_]+)")
        return path

    def _chain(self, name: str) -> list[tuple[str, dict]]:
        """(name, content) from the root of the `extends` chain down to `name`."""
        chain: list[tuple[str, dict]] = []
        current: str | None = name
        while current:
            if current in [link for link, _ in chain]:
                raise UserError(f"config/methods/{name}.yaml: extends goes round in a circle at {current}")
            path = self._existing("methods", current)
            content = read_yaml(path)
            check(content, without_required(self.schemas["method"]), path)
            chain.append((current, content))
            current = content.get("extends")
        return chain[::-1]

    def _resolve(self, name: str, dataset: str) -> dict[str, Any]:
        chain = self._chain(name)
        recipe: dict[str, Any] = {}
        for _, content in chain:
            if content.get("net", recipe.get("net")) != recipe.get("net"):
                recipe.pop("net_options", None)  # another net's options
            recipe = merge(recipe, content)
        for source, layer in self._layers(chain, recipe.get("net", ""), dataset):
            recipe = merge(recipe, {k: v for k, v in layer.items() if k not in STAGES or self._own(recipe, k)})
            check(recipe, without_required(self.schemas["method"]), f"{source} (laid on method {name})")
        recipe.pop("extends", None)
        check(recipe, self.schemas["method"], f"config/methods/{name}.yaml")
        recipe["name"] = name
        self._complete(recipe, f"config/methods/{name}.yaml")
        return recipe

    @staticmethod
    def _own(recipe: dict, stage: str) -> bool:
        return stage in recipe and "from" not in recipe[stage]

    def _layers(self, chain: list[tuple[str, dict]], net: str, dataset: str) -> list[tuple[str, dict]]:
        """(file, values) that the dataset's preset and overrides lay on the recipe, in order."""
        preset = self.dataset(dataset).get("preset")
        layers = []
        if preset:
            path = self._existing("presets", preset)
            content = read_yaml(path)
            check(content, self.schemas["preset"], path)
            layers.append((str(path), content.get("common", {})))
            layers.append((str(path), {"net_options": content.get("net_options", {}).get(net, {})}))
            layers += [(str(path), content["methods"][n]) for n, _ in chain if n in content.get("methods", {})]
        overrides = self.dataset(dataset).get("overrides", {})
        layers += [(f"config/datasets/{dataset}.yaml", overrides[n]) for n, _ in chain if n in overrides]
        return layers

    def _complete(self, recipe: dict, path: str) -> None:
        for key in ("net", "backbone", "weights", "refine"):
            if key not in recipe:
                raise UserError(f"{path}: {key} is missing (and no recipe it extends gives it)")
        for stage in ("classifier", "affinity", "segmentation"):
            if self._own(recipe, stage):
                self._complete_training(recipe[stage], f"{path}: {stage}")

    def _complete_training(self, settings: dict, where: str) -> None:
        """Keys that only some choices need, which a layer may have brought without them."""
        if settings["optimiser"] == "sgd" and "momentum" not in settings:
            raise UserError(f"{where}: optimiser sgd needs momentum (0 to 1)")
        if settings["schedule"] == "poly" and "power" not in settings:
            raise UserError(f"{where}: schedule poly needs power (0.9 as published)")
        if not settings.get("steps") and not settings.get("epochs"):
            raise UserError(f"{where}: give steps or epochs")


def expand_env(value: Any, path: str | Path) -> Any:
    """Expand ${NAME} in all strings.

    Raises:
        UserError: the variable is not set.
    """
    if isinstance(value, dict):
        return {k: expand_env(v, path) for k, v in value.items()}
    if isinstance(value, list):
        return [expand_env(v, path) for v in value]
    if not isinstance(value, str):
        return value
    for name in re.findall(r"\$\{(\w+)\}", value):
        if name not in os.environ:
            raise UserError(f"{path}: environment variable {name} is not set; export it, or write the path into the file")
        value = value.replace("${" + name + "}", os.environ[name])
    return value


def folder_stamp(paths: list[str]) -> str:
    """A digest over names, sizes and times of files: cheap, and different whenever a user's data is."""
    entries = []
    for path in map(Path, paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        entries += [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]
    return fingerprint(entries)
