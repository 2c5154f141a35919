"""Maps by the cut of an ImageNet network's features: the arithmetic, the stage, the plan, and real photos."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import yaml
from helpers import REPOSITORY, RUNTIME, folder_dataset
from wsss.data.manifest import load_manifest
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.nets.backbones import build_backbone
from wsss.nets.fetch import fetch
from wsss.plan.plan import Plan
from wsss.saliency import feature_cut as fc
from wsss.stages import saliency

DATA = os.environ.get("WSSS_TEST_DATA")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as the stage `weights` writes it, of random values: random features part colours too."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save({**build_backbone("resnet18").state_dict(), "fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}, folder / "a.pth")
    return fetch("resnet18", folder / "resnet18.safetensors", local=folder / "a.pth")


# --- the arithmetic


def test_the_cut_solves_the_generalised_eigenproblem():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (9, 4)) + (3, 0, 0, 0), rng.normal(0, 1, (6, 4)) - (3, 0, 0, 0)])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    alike = points @ points.T
    weights = np.array([[1.0 if value > 0.4 else 1e-5 for value in row] for row in alike])
    degree = np.diag(weights.sum(1))
    slow = scipy.linalg.eigh(degree - weights, degree)[1][:, 1]
    found = fc.parted(torch.from_numpy(alike), 0.4).numpy()
    np.testing.assert_allclose(found / np.linalg.norm(found), slow * np.sign(slow @ found) / np.linalg.norm(slow), atol=1e-9)
    assert len(set(np.sign(found[:9]))) == 1 and np.sign(found[0]) != np.sign(found[-1])


@pytest.mark.parametrize("alike", [np.ones((6, 6)), np.full((5, 5), 0.9), np.ones((1, 1))])
def test_cells_that_are_all_alike_are_not_parted(alike):
    assert not fc.parted(torch.from_numpy(alike), 0.5).any()


def test_the_object_is_what_lies_less_along_the_border():
    inside = torch.zeros(5, 6)
    inside[1:4, 2:4] = 1
    for values in (inside, -inside):
        np.testing.assert_array_equal(fc.stretched(fc.object_side(values)), inside)


def test_the_cut_finds_the_patch_whose_features_differ():
    inside = torch.zeros(8, 9, dtype=torch.bool)
    inside[2:6, 3:6] = True
    torch.manual_seed(0)
    ground, thing = torch.randn(2, 16, 1, 1)
    taps = torch.where(inside, thing, ground) + 0.1 * torch.randn(16, 8, 9)
    found = fc.cut(taps, taps)
    assert found[inside].min() > 0.9 and found[~inside].max() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (57, 40)])
def test_a_map_of_any_size(weights, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = fc.feature_cut(image, weights, 128)
    assert found.shape == size and found.dtype == np.uint8
    np.testing.assert_array_equal(found, fc.feature_cut(image, weights, 128))


# --- stage and plan


@pytest.fixture
def results(tmp_path):
    return folder_dataset(tmp_path / "own", ((40, 56), (64, 48)))


def task_of(results, weights, threads=1):
    inputs = {"manifest": str(results / "manifest.csv"), "dataset": str(results / "dataset.json"), "weights": str(weights)}
    params = {"settings": {"make": "feature_cut", "long_side": 128}, "code": "x"}
    return Task("saliency", inputs, {"index": str(results / "saliency/index.json")}, params, RUNTIME, threads)


def test_the_stage_writes_the_same_maps_with_any_number_of_processes(results, weights):
    records = load_manifest(results / "manifest.csv").split("trainaug")
    for threads in (1, 2):
        saliency.run(task_of(results, weights, threads))
        for record in records:
            found = read_saliency(results / f"saliency/{record.id}.png")
            np.testing.assert_array_equal(found, fc.feature_cut(read_image(record.image), weights, 128))
            (results / f"saliency/{record.id}.png").unlink()


def test_weights_of_another_network_are_refused(results, tmp_path):
    torch.save(build_backbone("resnet50").state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match="resnet18"):
        saliency.run(task_of(results, fetch("resnet50", tmp_path / "resnet50.safetensors", local=tmp_path / "a.pth")))


def test_only_this_way_asks_for_weights():
    main = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    asked = {}
    for make in ("feature_cut", "robust_background"):
        plan = Plan(REPOSITORY / "config", main)
        plan.config.dataset("demo_tiny")["saliency"] = {"make": make}
        asked[make] = plan.inputs("saliency", "demo_tiny").get("weights")
    assert asked == {"feature_cut": "resources/weights/resnet18.safetensors", "robust_background": None}


@pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real photos and ImageNet weights)")
def test_on_real_photos_it_finds_more_than_the_middle_of_the_photo(tmp_path):
    weights = fetch("resnet18", tmp_path / "resnet18.safetensors", local=Path(DATA, "weights/resnet18_imagenet_fp16.pth"))
    tree = Path(DATA, "voc_mini/VOCdevkit/VOC2012")
    areas = {"cut": np.zeros(2), "middle": np.zeros(2)}
    for name in (tree / "ImageSets/Segmentation/val.txt").read_text().split()[::30]:
        truth = read_mask(tree / f"SegmentationClassAug/{name}.png")
        image = read_image(tree / f"JPEGImages/{name}.jpg")
        (h, w), middle = truth.shape, np.zeros(truth.shape, bool)
        middle[h // 5 : h - h // 5, w // 5 : w - w // 5] = True
        for kind, found in {"cut": fc.feature_cut(image, weights) > 127, "middle": middle}.items():
            seen = truth != 255
            areas[kind] += (found & (truth > 0) & seen).sum(), ((found | (truth > 0)) & seen).sum()
    iou = {kind: both / either for kind, (both, either) in areas.items()}
    assert iou["cut"] > iou["middle"] + 0.05
