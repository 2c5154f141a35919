"""Config files: read, check against the model, and resolve recipes.

A recipe (`config/methods/NAME.yaml`) may `extends:` another one and name `parts:` (`config/parts/NAME.yaml`), sections that
recipes share; a preset (`config/presets/NAME.yaml`,
chosen by the dataset) lays values over every recipe (`common`) and over single ones (`methods`, matched
along the `extends` chain). A stage that says `from: OTHER` is not run: OTHER's results are used; one that says
`import: NAME` neither: what an import command put there is used.
"""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss.data.user_files import with_variables
from wsss.errors import UserError
from wsss.recipes.checks import own
from wsss.recipes.net_options import at_test, aux, defaults, options_class
from wsss.recipes.resolve import SECTIONS, Resolved, check_preset, resolve
from wsss.recipes.schema import check, did_you_mean, read_yaml, with_numbers
from wsss.rownames import RESERVED
from wsss.sections.dataset import dataset_schema
from wsss.sections.json_schema import json_schema
from wsss.sections.main import Main

NAME = re.compile(r"[a-z0-9_]+")
MISNAMED = "is passed over: a name has small letters, digits and _ only; rename the file"
RESTS = (  # a stage, and one that is made with it
    ("classifier", "cam"), ("cam", "seeds"), ("cam", "ir_labels"), ("seeds", "ir_labels"), ("pseudo_masks", "segmentation"), ("segmentation", "predictions"),
)  # fmt: skip
BORROWED = ("from", "labels_from", "aux_from", "fill_from")  # keys of a stage that name another recipe


class Config:
    """All config files of one project folder, checked."""

    def __init__(self, folder: str | Path, main: dict[str, Any]) -> None:
        """Check `main` (the content of config.yaml, command-line overrides included)."""
        self.folder = Path(folder)
        schema, path = json_schema(Main), self.folder / "config.yaml"
        main = with_numbers(main, schema)
        try:
            check(main, schema, path)
        except UserError as error:
            raise UserError(f"{error}{_of_command_line(main, path, schema)}") from None
        self.main = expand_env(main, path)
        self._datasets: dict[str, dict] = {}
        self._resolved: dict[tuple[str, str], Resolved] = {}
        self._presets: dict[str, dict] = {}

    def names(self, kind: str) -> list[str]:
        """Names of the files in `config/{kind}`, of those that have one which is allowed. UserError where the folder cannot be read."""
        return [path.stem for path in self._files(kind) if NAME.fullmatch(path.stem)]

    def misnamed(self, kind: str) -> list[Path]:
        """Files in `config/{kind}` whose names are not allowed, so that nothing can ask for them. UserError as in `names`."""
        return [path for path in self._files(kind) if not NAME.fullmatch(path.stem)]

    def _files(self, kind: str) -> list[Path]:
        """Sorted. Not by `glob`: it takes a folder that may not be read for an empty one."""
        folder = self.folder / kind
        try:
            return sorted(path for path in folder.iterdir() if path.name.endswith(".yaml"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _closed(folder, error) from error

    def dataset(self, name: str) -> dict[str, Any]:
        """The checked dataset file, environment variables in its strings expanded."""
        if name not in self._datasets:
            path = self.existing("datasets", name)
            content = read_yaml(path)
            check(content, dataset_schema(), path)
            if content.get("test") and content["kind"] != "voc":
                raise UserError(f"{path}: test: only datasets of kind voc have a test server; take it out, and name your folder under `predict` in config/config.yaml")
            self._datasets[name] = with_variables(expand_env(content, path))
        return self._datasets[name]

    def preset(self, name: str) -> dict[str, Any]:
        """The checked preset file."""
        if name not in self._presets:
            path = self.existing("presets", name)
            content = read_yaml(path)
            check_preset(content, self.names("methods"), str(path))
            self._presets[name] = content
        return self._presets[name]

    def recipe(self, name: str, dataset: str) -> dict[str, Any]:
        """The resolved recipe of method `name` on `dataset` (extends, preset and overrides laid on)."""
        return self._resolve(name, dataset).recipe

    def origins(self, name: str, dataset: str) -> dict[tuple[str, ...], str]:
        """Keys of the resolved recipe, ("cam", "scales"), each with the file that set its value."""
        recipe, layers = self._resolve(name, dataset)
        found = {path: layer.source for layer in layers for path in key_paths(layer.values)}
        return {path: found[path] for path in key_paths(recipe) if path in found}

    def _resolve(self, name: str, dataset: str) -> Resolved:
        if (name, dataset) not in self._resolved:
            self._resolved[name, dataset] = resolved = resolve(self, name, dataset)
            try:
                for stage, key in _borrowed(resolved.recipe):
                    self.existing("methods", resolved.recipe[stage][key], f"recipe {name} on {dataset}: {stage}.{key}: ")
                self._refuse_idle(name, dataset)
            except UserError:
                del self._resolved[name, dataset]  # refused when asked again, too
                raise
        return self._resolved[name, dataset]

    def owner(self, name: str, dataset: str, stage: str) -> str:
        """The recipe whose results hold `stage` of `name`, following `from:`."""
        seen = [name]
        while "from" in (entry := self.recipe(seen[-1], dataset).get(stage, {})):
            if entry["from"] in seen:
                raise UserError(f"config/methods: {stage} goes round in a circle: {' -> '.join([*seen, entry['from']])}")
            seen.append(entry["from"])
        return seen[-1]

    def sources(self, name: str, dataset: str) -> set[str]:
        """The recipes whose results those of `name` rest on, itself included."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            if (current := waiting.pop()) not in found:
                found.add(current)
                recipe = self.recipe(current, dataset)
                waiting += [recipe[stage][key] for stage, key in _borrowed(recipe)]
        return found

    def net_options(self, name: str, dataset: str) -> dict[str, Any]:
        """Options of a recipe's net: those that its classifier was trained with, whose weights do not tell them all, and its own of what is done at test."""
        said, trained = self.recipe(name, dataset), self.recipe(self.owner(name, dataset, "classifier"), dataset)["net_options"]
        return trained | {key: value for key, value in said["net_options"].items() if key in at_test(said["net"])}

    def _refuse_idle(self, name: str, dataset: str) -> None:
        """What a recipe says of its network, trains, makes or imports must be used."""
        recipe = self._resolved[name, dataset].recipe
        if "from" in recipe.get("classifier", {}):
            self._refuse_idle_network(name, dataset, recipe)
        if own(recipe, "cam"):
            self._refuse_absent_layers(name, dataset, recipe["net"])
        self._refuse_other_labels(name, dataset, recipe)
        no_seeds = recipe["refine"] == "none" or "import" in recipe.get("pseudo_masks", {})
        for made, taken in RESTS:
            other = recipe.get(taken, {}).get("from")
            has_own = made in recipe and "from" not in recipe[made]
            is_used = not (no_seeds and taken in ("seeds", "ir_labels"))
            if has_own and other and is_used and self.owner(other, dataset, made) != name:
                how = "imported" if "import" in recipe[made] else "its own"
                raise UserError(
                    f"config/methods/{name}.yaml: {made} is {how}, but {taken} of recipe {other} is taken, which rests on another {made}; "
                    f"give the recipe a section {taken} of its own, or take {made} from: {other} too"
                )

    def _refuse_idle_network(self, name: str, dataset: str, recipe: dict[str, Any]) -> None:
        """A network works where the classifier is trained; said of a recipe that takes it from another, it must be that one's."""
        owner = self.owner(name, dataset, "classifier")
        other = self.recipe(owner, dataset)
        found = [(f"config/methods/{name}.yaml", key, other.get(key), recipe.get(key)) for key in ("net", "backbone", *(("wrap", "wrap_options") if "wrap" in recipe else ()))]
        theirs = defaults(recipe["net"]) | other["net_options"]
        said_in: dict[str, str] = {}
        for layer in (layer for layer in self._resolved[name, dataset].layers if layer.recipe == name):  # what it inherits is for those who train
            said_in |= dict.fromkeys(layer.values.get("net_options", {}), f"{layer.source} (of method {name})")
        for key in (key for key in said_in if key not in at_test(recipe["net"])):
            found.append((said_in[key], f"net_options.{key}", theirs.get(key), recipe["net_options"][key]))
        for path, key, trained, said in found:
            if trained != said:
                raise UserError(
                    f"{path}: {key}: its classifier is that of recipe {owner}, which has {'none' if trained is None else trained} where this one has "
                    f"{said}; set {key} there, or give this recipe sections classifier, cam, seeds and ir_labels of its own"
                )

    def _refuse_absent_layers(self, name: str, dataset: str, net: str) -> None:
        options = defaults(net) | self.net_options(name, dataset)
        if options_class(net) and {"map_layers", "depth"} <= set(options) and options["map_layers"] > options["depth"]:
            path = self.origins(name, dataset).get(("net_options", "map_layers"), f"config/methods/{name}.yaml")
            raise UserError(f"{path} (of method {name}): net_options: map_layers ({options['map_layers']}) is more than depth ({options['depth']})")

    def _refuse_other_labels(self, name: str, dataset: str, recipe: dict[str, Any]) -> None:
        """Inference must read the IR labels that the network learned from, in whichever recipe it is trained."""
        read = recipe.get("cam", {}).get("aux_from")
        if read is None or "classifier" not in recipe or aux(recipe["net"], self.net_options(name, dataset)) == frozenset():
            return
        owner = self.owner(name, dataset, "classifier")
        learned = (recipe if owner == name else self.recipe(owner, dataset))["classifier"].get("labels_from")
        if learned not in (None, owner, read):
            raise UserError(
                f"config/methods/{name}.yaml: cam.aux_from is {read}, but the classifier{'' if owner == name else f' of recipe {owner}'} learns from labels of {learned} "
                "(classifier.labels_from); inference reads what the network learned from; give both the same recipe"
            )

    def existing(self, kind: str, name: str, asked_by: str = "") -> Path:
        """Path of a config file; UserError where there is none of that name, it is not allowed, or the folder cannot be read."""
        path = self.folder / kind / f"{name}.yaml"
        if name in RESERVED and kind in ("datasets", "methods"):
            raise UserError(f"{path}: the workflow has folders or pages of its own called {name}; give the file another name")
        if not NAME.fullmatch(name) or not _is_there(path):
            other = path.with_suffix(".yml")
            if _is_there(other):
                raise UserError(f"{asked_by}{other}: config files end in .yaml; rename it to {path.name}")
            passed_over = "".join(f"; {file.name} {MISNAMED}" for file in self.misnamed(kind))
            known = f"known {kind}: {', '.join(self.names(kind))} (names match [a-z0-9_]+)"
            raise UserError(f"{asked_by}{path}: no such file; {known}{passed_over or did_you_mean([name], self.names(kind))}")
        return path


def _borrowed(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """The keys of a recipe that name other ones, each with its stage."""
    return [(stage, key) for stage in SECTIONS for key in BORROWED if key in recipe.get(stage, {})]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise _closed(path.parent, error) from error


def _closed(folder: Path, error: OSError) -> UserError:
    mend = f"change its mode or owner: chmod u+rx {folder}" if isinstance(error, PermissionError) else "put a folder there"
    return UserError(f"{folder}: cannot be read ({error.strerror}); {mend}")


def _of_command_line(main: dict[str, Any], path: Path, schema: dict[str, Any]) -> str:
    """What to add to a message about `main` where the file itself is right: `--config` has laid something over it."""
    try:
        own = read_yaml(path)
        check(with_numbers(own, schema), schema, path)
    except UserError:
        return ""
    changed = [key for key, value in main.items() if value != own.get(key)]
    return f"\n(the file itself is right; look at what --config or --configfile gives: {', '.join(changed)})" if changed else ""


def key_paths(content: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value that is no mapping, and of every empty one."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from key_paths(value, (*above, key))
        else:
            yield (*above, key)


def expand_env(value: Any, path: str | Path) -> Any:
    """Expand ${NAME}, and a ~ that a string begins with, in all strings.

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
        if not os.environ.get(name):
            raise UserError(f"{path}: environment variable {name} is not set, or empty; export it, or write the path into the file")
        value = value.replace("${" + name + "}", os.environ[name])
    return os.path.expanduser(value)
