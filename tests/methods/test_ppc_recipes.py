"""PPC's recipes: published values, presets, and options that are refused."""

import pytest
import yaml
from helpers import REPOSITORY
from sections import settings_of
from wsss.errors import UserError
from wsss.methods.ppc import PPC, PPCEPS
from wsss.recipes.config import Config
from wsss.train.loop import total_steps
from wsss.train.optim import learning_rate

MAIN = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
FAMILIES = {"ppc": PPC, "ppc_eps": PPCEPS}
BASES = {"ppc": "seam", "ppc_eps": "eps"}
COLOURS = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def recipe(name, dataset="voc12"):
    return Config(REPOSITORY / "config", MAIN).recipe(name, dataset)


@pytest.mark.parametrize("name, steps", [("ppc", 10_576), ("ppc_eps", 20_000)])
def test_published_values_are_the_defaults_on_voc(name, steps):
    found = recipe(name)
    assert (found["net"], found["backbone"], found["weights"]) == (name, "resnet38d", "imagenet")
    published = {
        "optimiser": "sgd", "lr": 0.01, "momentum": 0, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "batch_size": 8,
        "augmentation": {"resize": {"long_side": [448, 768]}, "flip": 0.5, "crop": 448, "jitter": COLOURS},
    }  # fmt: skip
    assert published.items() <= found["classifier"].items() and total_steps(10_582, settings_of(found["classifier"])) == steps
    assert found["net_options"] == FAMILIES[name].defaults
    assert found["cam"]["scales"] == [0.5, 1.0, 1.5, 2.0]


def test_the_last_steps_on_eps_run_at_the_final_rate():
    classifier = recipe("ppc_eps")["classifier"]
    rates = [learning_rate(step, 20_000, settings_of(classifier)) for step in (19_828, 19_829, 19_830, 19_999)]
    assert rates[0] > rates[1] == rates[2] == rates[3] == pytest.approx(1.356468e-6, rel=1e-6)


def test_refinements_are_the_published_ones():
    on_seam, on_eps = recipe("ppc"), recipe("ppc_eps")
    assert (on_seam["refine"], on_eps["refine"]) == ("affinitynet", "crf")
    assert on_seam["pseudo_masks"] == {"bg": {"kind": "const", "value": 0.27}, "beta": 8, "exp_times": 6, "radius": 5, "pairs": "all"}
    assert on_seam["affinity"] == recipe("seam")["affinity"]
    assert on_seam["seeds"]["unary"] == "labels" and on_seam["seeds"]["probabilities"] and on_seam["seeds"]["crf_params"]["gt_prob"] == 0.7
    assert on_eps["seeds"]["confident"] == {"kind": "power", "value": 8} and on_eps["seeds"]["crf_params"]["iterations"] == 5
    assert on_eps["evaluation"]["bg"] == {"kind": "const", "value": 0.22}


def test_coco_values():
    on_eps, on_seam = recipe("ppc_eps", "coco14"), recipe("ppc", "coco14")
    classifier = on_eps["classifier"]
    assert (classifier["batch_size"], classifier["steps"], classifier["poly_steps"], classifier["augmentation"]["crop"]) == (16, 256_500, None, 321)
    assert (on_eps["net_options"]["lambda"], on_eps["net_options"]["tau"]) == (0.9, 0.4)
    assert on_seam["classifier"] == recipe("seam", "coco14")["classifier"]


@pytest.mark.parametrize("dataset", ["demo", "demo_tiny", "voc_mini"])
@pytest.mark.parametrize("name", FAMILIES)
def test_presets_give_the_effort_of_the_base(name, dataset):
    found, base = recipe(name, dataset), recipe(BASES[name], dataset)
    assert found["classifier"].pop("poly_steps", None) is None  # 19,830 would be no schedule at all
    assert found["classifier"] == base["classifier"] and found["backbone"] == base["backbone"]
    shared = {key: value for key, value in base["net_options"].items() if key in found["net_options"]}
    assert shared.items() <= found["net_options"].items()
    assert found["net_options"]["second_size"] < found["classifier"]["augmentation"]["crop"]
    assert found["segmentation"] == base["segmentation"]


@pytest.mark.parametrize("family", FAMILIES.values())
def test_reversed_ranks_are_refused(family):
    with pytest.raises(UserError, match=r"negatives: \[13, 4\] must be \[first, last\]"):
        family(3, "resnet_small", {"negatives": [13, 4]})
