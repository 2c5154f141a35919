"""Copies of config/ that tests change."""


import yaml
from helpers import REPOSITORY
from wsss.recipes.config import Config

CONFIG = REPOSITORY / "config"
MAIN = yaml.safe_load((CONFIG / "config.yaml").read_text())


def config(folder=CONFIG, **changes):
    return Config(folder, {**MAIN, **changes})


def rewrite(path, change):
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def change_method(project, change, name="cam"):
    rewrite(project / f"methods/{name}.yaml", change)
    return config(project)
