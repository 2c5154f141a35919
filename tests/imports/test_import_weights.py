"""The authors' weights in our modules: names, shapes, doubled tensors, what is refused, and the stage that reads them."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from helpers import Chain, folder_dataset, recipe_of
from wsss import methods
from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.imports.layouts import LAYOUTS, target_of
from wsss.imports.weights import built, fill, import_weights, main, renamed, unwrapped
from wsss.io.models import load_model
from wsss.nets.resnet38d import ResNet38d
from wsss.plan.imported_stages import require_settings
from wsss.plan.paths import MODEL
from wsss.recipes.refinement import NETWORK
from wsss.refine.boundary_net import IrnNet

OPTIONS = {"output_stride": 16, "freeze": "none", "bn": "train"}
STAGES_OF_CAM = {"conv1": "stage1.0", "bn1": "stage1.1", "layer1": "stage1.4", "layer2": "stage2.0", "layer3": "stage3.0", "layer4": "stage4.0"}
STAGES_OF_IRN = {"conv1": "stage1.0", "bn1": "stage1.1", "layer1": "stage2.0", "layer2": "stage3.0", "layer3": "stage4.0", "layer4": "stage5.0"}


def trunk_thrice(network, stages):
    """Our trunk under the three names the released networks register it by."""
    state = {}
    for key, value in network.backbone.state_dict().items():
        part, rest = key.split(".", 1)
        stage, position = stages[part].split(".")
        state[f"resnet50.{key}"] = value
        state[f"{stage}.{position}.{rest}"] = value
        state[f"backbone.{int(stage[-1]) - 1}.{position}.{rest}"] = value
    return state


def of_cam(network):
    """As IRN's classifier is saved."""
    head = network.classifier.weight
    return {**trunk_thrice(network, STAGES_OF_CAM), "classifier.weight": head, "newly_added.0.weight": head}


def of_irn(network):
    """As IRN's boundary network is saved, tables of paths included."""
    ours = network.state_dict()
    state = {**trunk_thrice(network, STAGES_OF_IRN), "path_indices_0": torch.zeros(2, 3), "disp_target": torch.zeros(1)}
    for n in range(1, 6):
        for part in ("0.weight", "1.weight", "1.bias"):
            state[f"fc_edge{n}.{part}"] = state[f"edge_layers.{n - 1}.{part}"] = ours[f"edge.taps.{n - 1}.{part}"]
            state[f"fc_dp{n}.{part}"] = ours[f"displacement.taps.{n - 1}.{part}"]
    for part in ("0.weight", "1.weight", "1.bias"):
        state[f"fc_dp6.{part}"] = ours[f"displacement.deep.{part}"]
        state[f"fc_dp7.{part}"] = ours[f"displacement.all.{part}"]
    state["fc_dp7.3.weight"] = ours["displacement.score.weight"]
    state["mean_shift.running_mean"] = state["fc_dp7.4.running_mean"] = ours["displacement.mean_shift"]
    return {**state, "fc_edge6.weight": ours["edge.score.weight"], "fc_edge6.bias": ours["edge.score.bias"]}


def of_amn(network):
    """The head under names nobody knows here."""
    state = trunk_thrice(network, STAGES_OF_IRN)
    state |= {f"some.encoder.{k}": v for k, v in network.label_encoder.state_dict().items()}
    for n, conv in enumerate(network.classifier.convs):
        state |= {f"head.1.list.{n}.{k}": v for k, v in conv.state_dict().items()}
        state |= {f"newly_added.1.list.{n}.{k}": v for k, v in conv.state_dict().items()}
    return state


def network_of(net, seed):
    torch.manual_seed(seed)
    if net == "irn":
        made = IrnNet("resnet_small", displacement=True)
        torch.nn.init.normal_(made.displacement.mean_shift)
    else:
        made = methods.get(net)(3, "resnet_small", OPTIONS)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    return made


THEIRS = {"cam": of_cam, "irn": of_irn, "amn": of_amn}


@pytest.mark.parametrize("net", THEIRS)
def test_every_tensor_finds_its_place(net, tmp_path):
    theirs, ours = network_of(net, 1), network_of(net, 2)
    layout = fill(ours, net, THEIRS[net](theirs), tmp_path / "x.pth")
    assert layout == f"{net}'s released layout"
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def test_four_stages_serve_amn_too(tmp_path):
    theirs, ours = network_of("amn", 1), network_of("amn", 2)
    state = {k: v for k, v in of_amn(theirs).items() if not k.startswith(("stage", "backbone", "resnet"))}
    state |= trunk_thrice(theirs, STAGES_OF_CAM)
    fill(ours, "amn", state, tmp_path / "x.pth")
    assert torch.equal(ours.backbone.layer3[0].conv1.weight, theirs.backbone.layer3[0].conv1.weight)


def test_irn_without_its_displacement_branch(tmp_path):
    theirs, ours = network_of("irn", 1), IrnNet("resnet_small")
    fill(ours, "irn", of_irn(theirs), tmp_path / "x.pth")
    assert torch.equal(ours.edge.score.weight, theirs.edge.score.weight)


# The blocks of ResNet38d by their released names, from the architecture's table, not from our module.
UNITS = ["b2", "b2_1", "b2_2", "b3", "b3_1", "b3_2", "b4", *(f"b4_{n}" for n in range(1, 6)), "b5", "b5_1", "b5_2"]
BASIC = ["bn_branch2a", "conv_branch2a", "bn_branch2b1", "conv_branch2b1"]
BOTTLENECK = [*BASIC, "bn_branch2b2", "conv_branch2b2", "conv_branch1"]


def released_resnet38d():
    layers = ["conv1a", "bn7"] + [f"{unit}.{part}" for unit in UNITS for part in BASIC]
    layers += [f"{unit}.conv_branch1" for unit in ("b2", "b3", "b4", "b5")]
    layers += [f"{unit}.{part}" for unit in ("b6", "b7") for part in BOTTLENECK]
    parts = ("weight", "bias", "running_mean", "running_var")
    return [f"{layer}.{part}" for layer in layers for part in (parts if "bn" in layer else ("weight",))]


HEADS = {
    "eps": {"fc8.weight": "classifier.weight"},
    "eps_base": {"fc8.weight": "classifier.weight"},
    "seam": {"fc8.weight": "fc8.weight", "f8_3.weight": "pcm.f8_3.weight", "f8_4.weight": "pcm.f8_4.weight", "f9.weight": "pcm.f9.weight"},
    "affinitynet": {"f8_3.weight": "side.0.weight", "f8_4.weight": "side.1.weight", "f8_5.weight": "side.2.weight", "f9.weight": "all.weight"},
}
HEADS["ppc"] = {**HEADS["seam"], "fc_proj.weight": "projector.weight"}
HEADS["ppc_eps"] = {**HEADS["seam"], "proj_fc.weight": "projector.weight"}
HEADS["cpn"] = {**HEADS["seam"], "f10.weight": "prcm.f10.weight"}


@pytest.mark.parametrize("net", HEADS)
def test_released_names_on_resnet38d(net):
    names = released_resnet38d()
    assert len(names) == 191  # as published
    with torch.device("meta"):
        trunk = [f"backbone.{key}" for key in ResNet38d().state_dict() if not key.endswith("num_batches_tracked")]
    found = {target_of(name, LAYOUTS[net])[1] for name in [*names, *HEADS[net]]}
    assert found == {*trunk, *HEADS[net].values()}


def test_the_background_of_eps_moves_to_the_front():
    theirs = torch.arange(4.0).reshape(4, 1, 1, 1)  # three classes, then the background
    found, problems = renamed("eps", {"fc8.weight": theirs}, {}, "x.pth")
    assert found["classifier.weight"].flatten().tolist() == [3, 0, 1, 2] and not problems
    found, _ = renamed("ppc_eps", {"fc8.weight": theirs}, {}, "x.pth")
    assert found["fc8.weight"].flatten().tolist() == [3, 0, 1, 2]
    found, _ = renamed("eps_base", {"fc8.weight": theirs}, {}, "x.pth")
    assert found["classifier.weight"].flatten().tolist() == [0, 1, 2, 3]


def test_sipe_names_its_tensors_again_in_lists():
    theirs, ours = (methods.get("sipe")(3, "resnet_small") for _ in range(2))
    state = {key.replace("backbone.", "resnet18."): value for key, value in theirs.state_dict().items() if "side." not in key}
    state |= {f"side{n}.weight": layer.weight.detach() for n, layer in enumerate(theirs.side, 1)}
    again = {"stage1.0.0.conv1.weight": "layer1.0.conv1", "backbone.4.0.0.conv1.weight": "layer4.0.conv1"}
    state |= {name: theirs.backbone.get_submodule(layer).weight.detach() for name, layer in again.items()}
    state["newly_added.0.weight"] = state["classifier.weight"]
    assert fill(ours, "sipe", state, "x.pth") == "sipe's released layout"
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    with pytest.raises(UserError, match=r"side5.weight .1,.: unknown"):
        fill(ours, "sipe", {**state, "side5.weight": torch.zeros(1)}, "x.pth")


def refused(change):
    state = of_cam(network_of("cam", 1))
    change(state)
    with pytest.raises(UserError) as error:
        fill(network_of("cam", 2), "cam", state, "x.pth")
    return str(error.value)


def test_what_is_not_the_network_is_refused():
    def doubled(state):
        state["stage2.0.0.conv1.weight"] = state["stage2.0.0.conv1.weight"] + 1

    def renamed_away(state):
        for name in ("resnet50.conv1.weight", "stage1.0.weight", "backbone.0.0.weight"):
            del state[name]

    def other_classes(state):
        state["classifier.weight"] = state["newly_added.0.weight"] = torch.zeros(5, *state["classifier.weight"].shape[1:])

    def not_finite(state):
        state["classifier.weight"] = state["newly_added.0.weight"] = state["classifier.weight"] * float("nan")

    assert "extra.weight (1,): unknown" in refused(lambda s: s.update({"extra.weight": torch.zeros(1)}))
    assert "another value than a tensor that stands for the same backbone.layer2.0.conv1.weight" in refused(doubled)
    assert "backbone.conv1.weight (32, 3, 7, 7): missing" in refused(renamed_away)
    assert "classifier.weight: (5, 256, 1, 1) instead of (3, 256, 1, 1)" in refused(other_classes)
    assert "classifier.weight: not finite" in refused(not_finite)
    both = ("classifier.weight", "newly_added.0.weight")  # two names of one tensor
    for change, words in (
        (lambda v: v.double() * 1e300, "not finite"),
        (lambda v: v.to(torch.complex64), "holds complex numbers"),
        (lambda v: v.long(), "holds integers"),
        (torch.zeros_like, "holds nothing but zeros"),
    ):
        assert f"classifier.weight: {words}" in refused(lambda s, change=change: s.update({k: change(s[k]) for k in both}))


def test_wrappers_and_prefixes():
    state = {"module.a": torch.zeros(1)}
    assert set(unwrapped({"state_dict": state, "epoch": 3}, "x")) == set(unwrapped(state, "x")) == {"a"}
    for other in ({}, {"a": 1}, [1]):
        with pytest.raises(UserError, match="not a state dict"):
            unwrapped(other, "x")


# --- the command, and the stage after it


@pytest.fixture
def site(tmp_path, monkeypatch):
    built_at = folder_dataset(tmp_path / "data", masks=True)
    shutil.copytree(built_at, tmp_path / "site/results/demo_tiny")
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"


def test_an_imported_classifier_makes_cams(site):
    recipe = recipe_of("irn", 2)
    kind, theirs, _ = built("classifier", recipe, 2)
    torch.save({"state_dict": of_cam(theirs)}, site / "res50_cam.pth")
    words = import_weights(site / "res50_cam.pth", "demo_tiny", "authors", "classifier", "cam")
    target = site / "imports/demo_tiny/authors/classifier/model.safetensors"
    facts = read_facts(target)
    assert facts["imported"]["source"] == "res50_cam.pth" and facts["imported"]["sha256"] in words
    assert facts["initial_weights"] == "imported res50_cam.pth"
    network = methods.get(kind)(2, recipe["backbone"], recipe["net_options"])
    load_model(target, network)
    assert torch.equal(network.classifier.weight, theirs.classifier.weight)
    chain = Chain(site / "results/demo_tiny", "irn")
    folder = chain.run("cam", {"model": str(target)})
    assert (folder / "index.json").is_file() and len(list(folder.glob("*.npz"))) == 6


def test_a_classifier_of_ours_with_other_classes_is_refused(site):
    chain = Chain(site / "results/demo_tiny", "cam")
    model = chain.run("classifier") / MODEL
    assert "ready" in import_weights(model, "demo_tiny", "same", "classifier", "cam")
    facts = Path("results/demo_tiny/dataset.json")
    content = json.loads(facts.read_text())
    facts.write_text(json.dumps({**content, "classes": content["classes"][::-1]}))
    with pytest.raises(UserError, match=f"{MODEL}: made of the classes .*; own has .*; train one on own"):
        import_weights(model, "demo_tiny", "other", "classifier", "cam")


def test_an_imported_boundary_network_knows_its_shape(site):
    theirs = IrnNet("resnet_small", displacement=True)
    torch.save(of_irn(theirs), site / "irn.pth")
    import_weights(site / "irn.pth", "demo_tiny", "authors", "affinity", "irn")
    facts = read_facts("imports/demo_tiny/authors/affinity/model.safetensors")
    assert facts["refine"] == "irn" and facts["settings"] == {"backbone": "resnet_small", "radius": 10, "displacement": False}


def test_a_network_that_a_former_version_imported_is_refused():
    """It named freeze_stem; our networks of today would not take the word."""
    settings, known = dict.fromkeys(NETWORK["affinitynet"], 1), NETWORK["affinitynet"]
    require_settings("voc12", "authors", "affinity", settings, known)
    former = {("freeze_stem" if key == "freeze" else key): value for key, value in settings.items()}
    with pytest.raises(UserError, match="imports/voc12/authors/affinity/.*freeze_stem.*import_weights.py.*--dataset voc12 --name authors"):
        require_settings("voc12", "authors", "affinity", former, known)


def test_a_model_of_our_own_is_taken_as_it_is(site):
    _, theirs, _ = built("classifier", recipe_of("irn", 2), 2)
    torch.save(theirs.state_dict(), site / "own.pth")
    assert "this workflow's layout" in import_weights(site / "own.pth", "demo_tiny", "own", "classifier", "cam")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


def test_hostile_checkpoints_do_nothing(site, capsys):
    torch.save({"state_dict": Evil()}, site / "evil.pth")
    (site / "raw.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pth", "raw.pth", "none.pth"):
        arguments = [name, "--dataset", "demo_tiny", "--name", "x", "--stage", "classifier", "--method", "cam"]
        assert main(arguments) == 1 and name in capsys.readouterr().err
    assert not (site / "it_ran").exists() and not (site / "imports").exists()


def test_a_recipe_without_that_network(site):
    torch.save({"a": torch.zeros(1)}, site / "a.pth")
    with pytest.raises(UserError, match="trains no affinity network of its own"):
        import_weights(site / "a.pth", "demo_tiny", "x", "affinity", "cam")
