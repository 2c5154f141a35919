"""A method is one module, one line in METHODS and one recipe, those of docs/add_a_method.md: it resolves under every preset, and trains."""

import csv
import re

import numpy as np
import pytest
import torch
import wsss.methods
import yaml
from helpers import REPOSITORY, Chain, add_method, copy_project, edit, snakemake
from wsss.data import demo
from wsss.errors import UserError
from wsss.io.models import load_model
from wsss.recipes.config import Config
from wsss.recipes.net_options import option_names

PAGE = (REPOSITORY / "docs/add_a_method.md").read_text("utf-8")
MODULE, RECIPE = (re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1] for language in ("python", "yaml"))
MODULE = MODULE.replace('"strength": 0.5}', '"dilated": True, "strength": 0.5}')  # an option that presets lay on every net that has it
SCRATCH = {"freeze": "none", "bn": "train", "dilated": False, "strength": 0.5}
EXPECTED = {
    "demo_tiny": {**SCRATCH, "output_stride": 16},
    "demo": {**SCRATCH, "output_stride": 8, "head_lr_scale": 1},
    "voc_mini": {"freeze": "stage2", "bn": "frozen", "dilated": False, "output_stride": 16, "strength": 0.5},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """config/ and wsss.methods with the method in them; returns config/."""
    add_method(monkeypatch, tmp_path, MODULE)
    monkeypatch.setenv("WSSS_TEST_DATA", "/data")
    project = copy_project(tmp_path / "project")
    (project / "config/methods/mine.yaml").write_text(RECIPE)
    return project / "config"


def recipe(folder, dataset):
    return Config(folder, yaml.safe_load((folder / "config.yaml").read_text())).recipe("mine", dataset)


@pytest.mark.parametrize("dataset", EXPECTED)
def test_presets_give_it_what_every_net_gets(folder, dataset):
    assert option_names("mine") == {"freeze", "bn", "output_stride", "head_lr_scale", "dilated", "strength"}
    found = recipe(folder, dataset)
    assert (found["net"], found["net_options"]) == ("mine", EXPECTED[dataset])


def test_its_own_options_count_and_no_others(folder):
    edit(folder / "methods/mine.yaml", lambda c: c.update(net_options={"strength": 0.25}))
    assert recipe(folder, "demo_tiny")["net_options"]["strength"] == 0.25
    edit(folder / "methods/mine.yaml", lambda c: c.update(net_options={"tau": 0.25}))
    with pytest.raises(UserError, match="mine.yaml: net_options of mine: unknown name tau; known: bn, dilated"):
        recipe(folder, "demo_tiny")


def test_a_random_frozen_trunk_is_refused(folder):
    edit(folder / "presets/tiny.yaml", lambda c: c["common"].pop("net_options"))
    with pytest.raises(UserError, match=r"tiny.yaml \(laid on method mine\): net_options: weights none .* set freeze: none and bn: train"):
        recipe(folder, "demo_tiny")


def test_it_trains_two_steps_on_demo_tiny(folder, tmp_path):
    params = {**yaml.safe_load((folder / "datasets/demo_tiny.yaml").read_text())["params"], "train": 6, "val": 2}
    demo.build({**params, "name": "demo_tiny"}, tmp_path / "results")
    chain = Chain(tmp_path / "results", "mine", steps=2, config=folder)
    made = chain.run("classifier")
    rows = list(csv.DictReader((made / "history.csv").open()))
    assert rows and all(np.isfinite(float(row[key])) for row in rows for key in ("total", "cls", "grey"))
    torch.manual_seed(0)
    net = wsss.methods.get("mine")(6, "resnet_small", chain.recipe["net_options"])
    before = {name: value.clone() for name, value in net.named_parameters()}
    load_model(made / "model.safetensors", net)
    assert not [name for name, value in net.named_parameters() if torch.equal(value, before[name])], "some of it is frozen"


def test_the_workflow_plans_it_without_its_libraries(tmp_path):
    """What plans is a plain Python with Snakemake: `torch` is not there, and no module of a net is imported."""
    project = copy_project(tmp_path / "project")
    (project / "workflow/scripts/wsss/methods/mine.py").write_text(MODULE)
    registry = project / "workflow/scripts/wsss/methods/__init__.py"
    registry.write_text(registry.read_text().replace("METHODS = {\n", 'METHODS = {\n    "mine": "wsss.methods.mine:Mine",\n'))
    (project / "config/methods/mine.yaml").write_text(RECIPE)
    (project / "workflow/scripts/torch.py").write_text("raise ImportError('planning has no torch')\n")
    done = snakemake(project, "-n", "results/demo_tiny/mine/miou.txt")
    assert done.returncode == 0 and "results/demo_tiny/mine/classifier/model.safetensors" in done.stdout, done.stdout
