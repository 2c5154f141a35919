"""Copies of config/ that tests change."""

import functools

import yaml
from helpers import REPOSITORY
from wsss.recipes.config import Config
from wsss.recipes.merge import merge

CONFIG = REPOSITORY / "config"
MAIN = yaml.safe_load((CONFIG / "config.yaml").read_text())


def config(folder=CONFIG, **changes):
    return Config(folder, {**MAIN, **changes})


def rewrite(path, change):
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def change_method(project, change, name="cam"):
    """`change` of the recipe as one file, with the parts that it names written into it."""
    path = project / f"methods/{name}.yaml"
    content = yaml.safe_load(path.read_text())
    parts = [yaml.safe_load((project / f"parts/{part}.yaml").read_text()) for part in content.pop("parts", [])]
    content = functools.reduce(merge, [*parts, content])
    for section in (value for value in content.values() if isinstance(value, dict) and value.get("steps")):
        section.pop("epochs", None)  # a part's, which the steps of the recipe overrule
    change(content)
    path.write_text(yaml.safe_dump(content))
    return config(project)
