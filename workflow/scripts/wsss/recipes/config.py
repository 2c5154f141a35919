"""Config files: read, check against their schemas, and resolve recipes.

A recipe (`config/methods/NAME.yaml`) may `extends:` another one; a preset (`config/presets/NAME.yaml`,
chosen by the dataset) lays values over every recipe (`common`) and over single ones (`methods`, matched
along the `extends` chain). A stage that says `from: OTHER` is not run: OTHER's results are used; one that says
`import: NAME` neither: what an import command put there is used.
"""

import copy
import os
import re
from pathlib import Path
from typing import Any

from wsss import methods, wrappers
from wsss.data.user_files import with_variables
from wsss.errors import UserError
from wsss.found import FOUND
from wsss.nets import segmenters
from wsss.recipes.checks import check_kinds, check_recipe, own
from wsss.recipes.net_options import has_bg_map, option_names
from wsss.recipes.refinement import ELSEWHERE, replace_walk
from wsss.recipes.schema import check, read_yaml, with_numbers, without_required
from wsss.rownames import RESERVED

NAME = re.compile(r"[a-z0-9_]+")
SECTIONS = (
    "classifier", "cam", "seeds", "ir_labels", "affinity", "pseudo_masks", "segmentation", "predictions", "evaluation",
)  # fmt: skip
BACKGROUNDS = ("bg", "confident", "unsure")  # keys of rules
BORROWED = ("from", "labels_from", "aux_from")  # keys of a stage that name another recipe


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


class Config:
    """All config files of one project folder, checked."""

    def __init__(self, folder: str | Path, main: dict[str, Any]) -> None:
        """Read schemas and check `main` (the content of config.yaml, command-line overrides included)."""
        self.folder = Path(folder)
        self.schemas = {p.stem: read_yaml(p) for p in sorted((self.folder / "schemas").glob("*.yaml"))}
        main = with_numbers(main, self.schemas["config"])
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
            self._datasets[name] = with_variables(expand_env(content, path))
        return self._datasets[name]

    def recipe(self, name: str, dataset: str) -> dict[str, Any]:
        """The resolved recipe of method `name` on `dataset` (extends, preset and overrides laid on)."""
        if (name, dataset) not in self._recipes:
            self._recipes[name, dataset] = self._resolve(name, dataset)
            self._refuse_unwrapped(name, dataset)
        return self._recipes[name, dataset]

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
                sections = [recipe.get(stage, {}) for stage in SECTIONS]
                waiting += [section[key] for section in sections for key in BORROWED if key in section]
        return found

    def _refuse_unwrapped(self, name: str, dataset: str) -> None:
        """A wrapper works where the classifier is trained; said of a recipe that takes it from another, it must be there."""
        recipe = self._recipes[name, dataset]
        if "wrap" not in recipe or "from" not in recipe.get("classifier", {}):
            return
        owner = self.owner(name, dataset, "classifier")
        if any(self.recipe(owner, dataset).get(key) != recipe.get(key) for key in ("wrap", "wrap_options")):
            raise UserError(
                f"config/methods/{name}.yaml: wrap: its classifier is that of recipe {owner}, which is not wrapped like this; "
                f"set wrap and wrap_options there, or give this recipe a section classifier of its own"
            )

    def _existing(self, kind: str, name: str) -> Path:
        path = self.folder / kind / f"{name}.yaml"
        if name in RESERVED and kind != "presets":
            raise UserError(f"{path}: {name} is a folder of the workflow's own in results/ or logs/; give the file another name")
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
        recipe = self._merged(chain)
        self._check_options(recipe, f"config/methods/{name}.yaml")
        maps = self._cam_has_bg_map(recipe)
        for source, target, layer in self._layers(chain, recipe, dataset):
            if target == name:
                self._refuse_borrowed(recipe, layer, f"{source} (laid on method {name})")
            if "extends" in layer:
                raise UserError(f"{source} (laid on method {name}): extends is for files in config/methods; write a recipe that extends, and ask for it")
            layer = without_cuts(layer) if maps and not target else layer
            recipe = merge(recipe, {k: v for k, v in layer.items() if k not in SECTIONS or own(recipe, k)})
            check(recipe, without_required(self.schemas["method"]), f"{source} (laid on method {name})")
            self._check_options(recipe, f"{source} (laid on method {name})")
        recipe.pop("extends", None)
        if recipe.get("wrap") == wrappers.NONE:
            del recipe["wrap"]
        check(recipe, self.schemas["method"], f"config/methods/{name}.yaml")
        recipe["name"] = name
        check_recipe(recipe, f"config/methods/{name}.yaml")
        check_kinds(recipe, maps, f"config/methods/{name}.yaml")
        return recipe

    def _merged(self, chain: list[tuple[str, dict]]) -> dict[str, Any]:
        """The recipe of an `extends` chain, before any preset."""
        recipe: dict[str, Any] = {}
        for _, content in chain:
            if content.get("net", recipe.get("net")) != recipe.get("net"):
                recipe["net_options"] = {}  # those there are another net's
            if content.get("wrap", recipe.get("wrap")) != recipe.get("wrap"):
                recipe.pop("wrap_options", None)
            replace_walk(recipe, content)
            recipe = merge(recipe, content)
        return recipe

    def _cam_has_bg_map(self, recipe: dict) -> bool | None:
        """Whether the CAMs that a recipe reads have a background map; None where they are imported, or there are none."""
        seen = []
        while (source := recipe.get("cam", {}).get("from")) and source not in seen:
            seen.append(source)
            recipe = self._merged(self._chain(source))
        if "cam" not in recipe or "import" in recipe["cam"] or recipe.get("net") not in methods.METHODS:
            return None
        return has_bg_map(recipe["net"])

    @staticmethod
    def _refuse_borrowed(recipe: dict, layer: dict, where: str) -> None:
        for stage in (s for s in SECTIONS if s in layer and ELSEWHERE & set(recipe.get(s, {}))):
            if "import" in recipe[stage]:
                raise UserError(f"{where}: {stage} is imported ({recipe[stage]['import']}); it has no settings here")
            owner = recipe[stage]["from"]
            raise UserError(f"{where}: {stage} is taken from recipe {owner}; change it there: {owner}: {{{stage}: ...}}")

    def _check_options(self, recipe: dict, where: str) -> None:
        self._check_net_options(recipe, where)
        self._check_wrap_options(recipe, where)

    def _check_wrap_options(self, recipe: dict, where: str) -> None:
        """Names, types and ranges, and what of them goes together."""
        wrap, options = recipe.get("wrap", wrappers.NONE), recipe.get("wrap_options", {})
        if wrap == wrappers.NONE:
            if options:
                raise UserError(f"{where}: wrap_options are a wrapper's, and there is none; set wrap: fsae, or take wrap_options out")
            return
        _known({wrap: None}, [*sorted(wrappers.WRAPPERS), wrappers.NONE], f"{where}: wrap")
        if wrap in self.schemas["wrap_options"]:
            check(recipe, {"properties": {"wrap_options": self.schemas["wrap_options"][wrap]}}, where)
        else:
            _known(options, sorted(wrappers.options_of(wrap).DEFAULTS), f"{where}: wrap_options of {wrap}")
        wrappers.options_of(wrap).check(options, f"{where}: wrap_options")

    def _check_net_options(self, recipe: dict, where: str) -> None:
        """Names, types and ranges; of a net without a schema of its own the names only."""
        if "net" not in recipe:
            return  # check_recipe says so
        net, schemas = recipe["net"], self.schemas["net_options"]
        _known({net: None}, sorted(methods.METHODS), f"{where}: net")
        if net in schemas:
            check(recipe, {"properties": {"net_options": schemas[net]}}, where)
        else:
            _known(recipe.get("net_options", {}), sorted(option_names(net)), f"{where}: net_options of {net}")

    def _layers(self, chain: list[tuple[str, dict]], recipe: dict, dataset: str) -> list[tuple[str, str, dict]]:
        """(file, recipe or "", values) that the dataset's preset and overrides lay on the recipe, in order."""
        net, refine, wrap = recipe.get("net", ""), recipe.get("refine", ""), recipe.get("wrap", wrappers.NONE)
        preset, overrides = self.dataset(dataset).get("preset"), self.dataset(dataset).get("overrides", {})
        layers = []
        if preset:
            path = self._existing("presets", preset)
            content = read_yaml(path)
            check(content, self.schemas["preset"], path)
            single, options = content.get("methods", {}), content.get("net_options", {})
            _known(single, self.names("methods"), f"{path}: methods")
            _known(options, sorted(methods.METHODS), f"{path}: net_options")
            common = dict(content.get("common", {}))
            shared = _shared_options(common.pop("net_options", {}), net, f"{path}: common.net_options")
            layers.append((str(path), "", {**common, "net_options": shared}))
            layers.append((str(path), "", {"net_options": options.get(net, {})}))
            wrapped = content.get("wrap_options", {})
            _known(wrapped, sorted(wrappers.WRAPPERS), f"{path}: wrap_options")
            layers += [(str(path), "", {"wrap_options": wrapped[wrap]})] if wrap in wrapped else []
            layers.append((str(path), "", content.get("refine", {}).get(refine, {})))
            layers += [(str(path), n, single[n]) for n, _ in chain if n in single]
        where = f"config/datasets/{dataset}.yaml"
        _known(overrides, self.names("methods"), f"{where}: overrides")
        return layers + [(where, n, overrides[n]) for n, _ in chain if n in overrides]


def without_cuts(layer: dict) -> dict:
    """What a preset lays on every recipe, for one whose CAMs have a background map: nothing is cut there."""
    kept = {"seeds": ("confident", "unsure"), "pseudo_masks": ("bg",), "evaluation": ("bg", "policy")}
    return {stage: {k: v for k, v in value.items() if k not in kept.get(stage, ())} if stage in kept else value for stage, value in layer.items()}


def _shared_options(given: dict, net: str, where: str) -> dict:
    """Of the options that a preset lays on every net those that this one has; each is some net's."""
    _known(given, sorted(set().union(*map(option_names, methods.METHODS))), where)
    return {key: value for key, value in given.items() if net and key in option_names(net)}


def _known(given: dict, known: list[str], where: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(f"{where}: unknown name {', '.join(unknown)}; known: {', '.join(known)}")


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
