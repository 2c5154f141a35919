"""FSAE in the stage: what is saved, resumed, measured and refused."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from helpers import Chain, folder_dataset, sigterm_at_step
from small_methods import build
from wsss import methods, wrappers
from wsss.data.further import View
from wsss.data.transforms import Geometry, normalise
from wsss.engine import signals
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.io.models import read_model
from wsss.stages.classifier import wrapped
from wsss.wrappers.fsae import FSAE


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return folder_dataset(tmp_path_factory.mktemp("fsae"))


def test_the_model_is_the_bases_network_alone(results):
    chain = Chain(results, "fsae_cam", steps=2)
    made = chain.run("classifier", into="model")
    state, _ = read_model(made / "model.safetensors")
    assert state.keys() == methods.get("cam")(2, "resnet_small", {}).state_dict().keys()
    rows = list(csv.DictReader((made / "history.csv").open()))
    assert set(rows[0]) == {"step", "lr", "total", "base", "consistency", "confident", "confident_fg", "ring", "expanded"}
    assert "pseudo_labels" not in read_json(made / "check.json"), "no photo has a mask"
    chain.run("cam", {"model": "model/model.safetensors"}, into="model_cam")


def test_stopped_and_resumed_is_the_undisturbed_run(results, monkeypatch):
    """Bit for bit, teacher and all; what was saved holds the teacher."""
    chain = Chain(results, "fsae_cam", steps=4)
    monkeypatch.setattr(signals, "_stop", False)
    whole = chain.run("classifier", into="whole")
    with monkeypatch.context() as patch:
        sigterm_at_step(patch, 1)
        with pytest.raises(SystemExit):
            chain.run("classifier", into="cut")
    signals._stop = False
    state = torch.load(results / "cut/train_state.pt", weights_only=True)
    assert state["step"] == 2 and any(key.startswith("teacher.") for key in state["network"])
    cut = chain.run("classifier", into="cut")
    for name in ("model.safetensors", "history.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name


def test_the_stage_refuses_options_that_the_wrapper_has_not(results):
    task = Chain(results, "fsae_cam").task("classifier", wrapper={"name": "fsae", "options": {"tau": 1}})
    with pytest.raises(UserError, match="wrap_options: FSAE has no option tau; it knows bg, blur"):
        wrapped(task, build("cam"))


def test_accuracy_where_there_is_ground_truth(tmp_path):
    """It is told apart as using ground truth, and changes nothing that is trained."""
    made = {}
    for masks in (False, True):
        chain = Chain(folder_dataset(tmp_path / str(masks), masks=masks), "fsae_cam", steps=2)
        made[masks] = chain.run("classifier")
    facts = read_json(made[True] / "check.json")["pseudo_labels"]
    assert facts["photos"] == 6 and facts["uses"] == "ground truth"
    assert set(facts["accuracy"]) == {"confident", "confident_fg", "ring", "expanded"}
    assert all(value is None or 0 <= value <= 100 for value in facts["accuracy"].values())
    history = [(made[masks] / "history.csv").read_bytes() for masks in made]
    assert history[0] == history[1]


class NoMaps(methods.get("cam")):
    def forward(self, batch, want=frozenset({"logits"})):
        return super().forward(batch, want - {"maps"})


class Clash(methods.get("cam")):
    def further_arrays(self):
        return partial(one_array, name="strong")


def one_array(view, rng, name):
    return {name: np.zeros(1, np.float32)}


def test_what_a_base_lacks_is_named_before_training():
    with pytest.raises(UserError, match="wrap: fsae learns from maps of single cells, and net NoMaps gives none"):
        FSAE(NoMaps(4, "resnet_small"))
    clash = FSAE(Clash(4, "resnet_small")).further_arrays()
    photo = np.zeros((16, 16, 3), np.uint8)
    view = View(photo, Geometry((16, 16), False, 16, (0, 0)), normalise(photo))
    with pytest.raises(UserError, match="both name an array strong"):
        clash(view, np.random.default_rng(0))


def test_wrappers_by_name():
    assert wrappers.get("fsae") is FSAE and wrappers.options_of("fsae").DEFAULTS is FSAE.defaults
    with pytest.raises(UserError, match="wrap: 'nosuch' is not a known wrapper; choose one of fsae, or none"):
        wrappers.get("nosuch")
