"""SEAM's and CPN's recipes, and their stages on images that have nothing to show."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from helpers import REPOSITORY, Chain, folder_dataset
from sections import settings_of
from wsss.data.manifest import load_manifest
from wsss.errors import UserError
from wsss.io.cams import CamFolder, read_cam
from wsss.methods.build import build_method
from wsss.nets.deeplab import DEFAULTS
from wsss.recipes.config import Config
from wsss.refine.background import argmax_labels, background
from wsss.stages.cam import CamMaker
from wsss.train.loop import total_steps

MAIN = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def recipe(name, dataset="voc12"):
    return Config(REPOSITORY / "config", MAIN).recipe(name, dataset)


@pytest.mark.parametrize("name, batch_size, steps", [("seam", 8, 10_576), ("cpn", 4, 21_160)])
def test_published_values_are_the_defaults_on_voc(name, batch_size, steps):
    found = recipe(name)
    assert (found["net"], found["backbone"], found["weights"]) == (name, "resnet38d", "imagenet")
    published = {
        "optimiser": "sgd", "lr": 0.01, "momentum": 0, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "batch_size": batch_size,
        "augmentation": {"resize": {"long_side": [448, 768]}, "flip": 0.5, "crop": 448, "jitter": JITTER},
    }  # fmt: skip
    assert published.items() <= found["classifier"].items() and total_steps(10_582, settings_of(found["classifier"])) == steps
    shared = {"freeze": "stage1", "bn": "frozen", "output_stride": 8, "dilated": True, "dropout": 0.5, "hard_share": 0.2, "head_lr_scale": 10}
    own = {"second_scale": 0.3} if name == "seam" else {
        "pair": "superpixels", "segments": 300, "compactness": 10, "grid_sizes": [224, 448], "prcm_key": "transpose", "prcm_similarity": "dot", "skip_hidden_cls": False,
    }  # fmt: skip
    assert found["net_options"] == {**shared, **own}
    assert sorted(found["cam"]["scales"]) == [0.5, 1.0, 1.5, 2.0]
    network = found["segmentation"]
    assert (network["net"], network["backbone"], network["lr"], network["augmentation"]["crop"]) == ("deeplab_v1", "resnet38d", 1e-3, 448)


@pytest.mark.parametrize("dataset", ["voc12", "demo", "demo_tiny", "coco14", "voc_mini"])
@pytest.mark.parametrize("name, refine, as_in", [("seam", "affinitynet", "cam_affinitynet"), ("cpn_affinitynet", "affinitynet", "cam_affinitynet"), ("cpn", "irn", "irn"), ("seam_irn", "irn", "irn")])  # fmt: skip
def test_refinements_are_those_of_other_recipes(name, refine, as_in, dataset):
    """Rows that differ by network only: seeds, boundaries and walk have the same values."""
    found, other = recipe(name, dataset), recipe(as_in, dataset)
    seeds = recipe("cam", dataset)["seeds"] if refine == "irn" else other["seeds"]
    assert found["refine"] == refine and found["seeds"] == seeds
    if dataset == "coco14" and refine == "affinitynet":
        return  # AffinityNet's batch and crop there are set for seam
    assert (found["affinity"], found["pseudo_masks"]) == (other["affinity"], other["pseudo_masks"])


@pytest.mark.parametrize("name, net", [("seam_irn", "seam"), ("cpn_affinitynet", "cpn")])
def test_other_refinements_take_the_cams_as_they_are(name, net):
    found, config = recipe(name), Config(REPOSITORY / "config", MAIN)
    assert found["net"] == net and found["evaluation"] == recipe(net)["evaluation"]
    assert [config.owner(name, "voc12", stage) for stage in ("classifier", "cam", "seeds")] == [net, net, name]


@pytest.mark.parametrize("dataset", ["demo", "demo_tiny", "voc_mini"])
@pytest.mark.parametrize("name", ["seam", "cpn"])
def test_presets_give_all_methods_the_same_network_and_effort(name, dataset):
    found, cam = recipe(name, dataset), recipe("cam", dataset)
    colours = found["classifier"]["augmentation"].pop("jitter")
    same = ("optimiser", "lr", "weight_decay", "schedule", "power", "augmentation")
    assert colours is None and [found["classifier"][k] for k in same] == [cam["classifier"][k] for k in same]
    seen = [total_steps(960, settings_of(one["classifier"])) * one["classifier"]["batch_size"] for one in (found, cam)]
    assert seen[0] == seen[1] and found["classifier"]["batch_size"] == cam["classifier"]["batch_size"] and found["backbone"] == cam["backbone"]
    assert found["cam"]["scales"] == cam["cam"]["scales"]
    keys = ("freeze", "bn", "output_stride", "head_lr_scale")
    assert [found["net_options"][k] for k in keys] == [cam["net_options"][k] for k in keys]
    assert found["segmentation"]["augmentation"].pop("hsv") == 0 and found["segmentation"]["net"] == "deeplab_v2"
    same = ("backbone", "lr", "batch_size", "augmentation", "steps")
    assert [found["segmentation"][k] for k in same] == [cam["segmentation"][k] for k in same]
    options = [{**DEFAULTS, **one["segmentation"]["options"]} for one in (found, cam)]
    assert options[0] == options[1]


@pytest.mark.parametrize(
    "name, option, value", [("seam", "second_scale", 0), ("seam", "hard_share", 1.5), ("seam", "pair", "grid"), ("cpn", "prcm_key", "view"), ("cpn", "grid_sizes", []), ("cpn", "segments", 0)]
)  # fmt: skip
def test_wrong_options_are_refused(name, option, value, tmp_path):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    path = tmp_path / f"config/methods/{name}.yaml"
    content = yaml.safe_load(path.read_text())
    content["net_options"][option] = value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=option):
        Config(tmp_path / "config", MAIN).recipe(name, "voc12")


# --- stages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, losses", [("seam", {}, ["cls", "rvmin", "er", "ecr"]), ("cpn", {}, ["cls", "rvmin", "tcp", "cpcr"]), ("cpn", {"pair": "grid", "prcm_key": "reference", "skip_hidden_cls": True}, ["cls", "rvmin", "tcp", "cpcr"])]
)  # fmt: skip
def test_training_and_cams(name, options, losses, tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", ((40, 52), (52, 40), (9, 7), (33, 64))), name)
    net_options = {**chain.recipe["net_options"], **options}
    trained = chain.run("classifier", net_options=net_options)
    with open(trained / "history.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 and all(float(row["total"]) > 0 and np.isfinite(float(row["total"])) for row in rows)
    for row in rows:
        assert float(row["total"]) == pytest.approx(sum(float(row[loss]) for loss in losses), rel=1e-4)
    made = chain.run("cam", {"model": "classifier/model.safetensors"}, net_options=net_options)
    index = json.loads((made / "index.json").read_text())
    assert (index["form"], index["geometry"], index["norm"]) == ("sum", "view", "cut_min_max")
    records = {r.id: r for r in load_manifest(chain.results / "manifest.csv").records}
    assert len(read_cam(made / "p 2 ü.npz").maps) == len(index["scales"])
    cam = CamFolder.of(made / "index.json", index).at(records["p 2 ü"], (9, 7))
    assert cam.shape == (1, 9, 7) and 0 <= cam.min() and cam.max() <= 1


def test_a_map_that_is_zero_everywhere_makes_background(tmp_path):
    """No response anywhere: the CAM is 0, its seed background, and nothing fails on the way."""
    chain = Chain(folder_dataset(tmp_path / "own", ((32, 40),) * 2), "seam")
    task = chain.task("cam", {"model": "classifier/model.safetensors"})
    dataset = load_manifest(chain.results / "manifest.csv")
    method = build_method(task, dataset.num_classes)
    torch.nn.init.zeros_(method.fc8.weight)
    maker = CamMaker(task, dataset, [method.eval()], torch.device("cpu"))
    y = torch.tensor([[1.0, 0.0]])
    scales, record = task.settings["scales"], dataset.split("trainaug")[0]
    maps = maker.maps({"y": y, "scales": [torch.randn(1, 3, 32, 40)] * len(scales)})
    maker.write(record, [one[0] for one in maps], y[0], (32, 40))
    facts = {"form": "sum", "geometry": "view", "norm": "cut_min_max", "scales": scales, "classes": []}
    full = CamFolder.of(task.output, facts).at(record, (32, 40))
    assert full.shape == (1, 32, 40) and (full == 0).all()
    for kind, value in (("const", 0.26), ("power", 4.0)):
        assert (argmax_labels(full, background(full, kind, value), [0]) == 0).all()
