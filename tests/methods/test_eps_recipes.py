"""EPS's recipes, the settings it brought (poly_steps, unary), and the seeds of eps_crf."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from cam_reference import seeds_pair
from helpers import REPOSITORY
from PIL import Image
from plain_crf import plain_crf, scene, unary_from_softmax
from wsss import methods
from wsss.data.manifest import Record
from wsss.errors import UserError
from wsss.io.cam_forms import Form
from wsss.io.cams import CamFolder, write_cam
from wsss.io.images import read_image
from wsss.io.masks import CONFIDENT, UNSURE, read_mask, write_mask
from wsss.recipes.config import Config
from wsss.refine.crf import DEEPLAB_TEST, IRN_LABEL, CrfParams, label_marginals, to_labels
from wsss.sections.background import Rule
from wsss.sections.section import typed
from wsss.sections.seeds import Seeds
from wsss.stages.seeds import make_seed

CONFIG = REPOSITORY / "config"
MAIN = yaml.safe_load((CONFIG / "config.yaml").read_text())
JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
README_CRF = {"iterations": 10, "sxy_gaussian": 1, "compat_gaussian": 3, "sxy_bilateral": 67, "srgb": 3, "compat_bilateral": 4}
pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def recipe(name, dataset="voc12", folder=CONFIG):
    return Config(folder, MAIN).recipe(name, dataset)


@pytest.fixture
def changed(tmp_path):
    """changed(method, change) -> the recipe of a copy of config/ in which change(content) was made."""
    shutil.copytree(CONFIG, tmp_path / "config")

    def resolve(method, change, dataset="voc12"):
        path = tmp_path / "config" / "methods" / f"{method}.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))
        return recipe(method, dataset, tmp_path / "config")

    return resolve


# --- values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eps_base", "eps", "eps_released", "eps_script"])
def test_published_values_are_the_defaults_on_voc(name):
    found = recipe(name)
    assert (found["backbone"], found["weights"], found["refine"]) == ("resnet38d", "imagenet", "none")
    published = {
        "optimiser": "sgd", "lr": 0.01, "momentum": 0, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9,
        "batch_size": 8, "steps": 20_000,
        "augmentation": {"resize": {"long_side": [256, 512]}, "flip": 0.5, "crop": 448, "jitter": JITTER},
    }  # fmt: skip
    assert published.items() <= found["classifier"].items() and not found["classifier"].get("poly_steps")
    assert found["classifier"].get("saliency", False) == (name != "eps_base")
    options = {"freeze": "stage1", "bn": "frozen", "output_stride": 8, "dilated": True, "head_lr_scale": 10}
    own = {"dropout": 0.5} if name == "eps_base" else {"tau": 0.4, "lambda": 0.5}
    assert found["net_options"] == {**options, **own}
    assert sorted(found["cam"]["scales"]) == [0.5, 1.0, 1.5, 2.0]
    assert found["evaluation"]["bg"] == {"kind": "const", "value": 0.2} and "pseudo_masks" not in found
    assert (found["segmentation"], found["predictions"]) == (recipe("cam")["segmentation"], recipe("cam")["predictions"])


@pytest.mark.parametrize(
    "name, steps, poly_steps", [("eps_base", 76_950, None), ("eps", 76_950, None), ("eps_released", 256_500, 76_950), ("eps_script", 256_500, None)]
)  # fmt: skip
def test_schedules_on_coco(name, steps, poly_steps):
    found = recipe(name, "coco14")
    training = found["classifier"]
    assert (training["steps"], training.get("poly_steps"), training["batch_size"]) == (steps, poly_steps, 16)
    assert training["augmentation"] == {"resize": {"long_side": [256, 448]}, "flip": 0.5, "crop": 321, "jitter": JITTER}
    assert (training["lr"], training["momentum"], training["weight_decay"]) == (0.01, 0, 5e-4)
    assert found["evaluation"]["bg"]["value"] == 0.2 and sorted(found["cam"]["scales"]) == [0.5, 1.0, 1.5, 2.0]
    if name != "eps_base":
        assert (found["net_options"]["tau"], found["net_options"]["lambda"]) == (0.4, 0.9)


def test_one_override_gives_all_recipes_another_backbone(changed, tmp_path):
    changed("eps", lambda c: None)
    path = tmp_path / "config/datasets/voc12.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "overrides": {"eps_base": {"backbone": "resnet50"}}}))
    for name in ("eps_base", "eps", "eps_crf", "eps_released", "eps_script"):
        assert recipe(name, "voc12", tmp_path / "config")["backbone"] == "resnet50"


def test_recipe_and_class_have_the_same_defaults():
    for name in ("eps", "eps_base"):
        assert recipe(name)["net_options"] == dict(methods.get(name).defaults)


def test_eps_crf_takes_network_and_cams_from_eps():
    found = recipe("eps_crf")
    assert found["refine"] == "crf" and found["classifier"] == found["cam"] == {"from": "eps"}
    background = {"kind": "const", "value": 0.2}
    assert found["seeds"] == {
        "unary": "scores", "confident": background, "unsure": background, "crf_params": README_CRF,
    }  # fmt: skip


@pytest.mark.parametrize("dataset", ["demo", "demo_tiny"])
@pytest.mark.parametrize("name", ["eps", "eps_base"])
def test_presets_give_the_network_and_the_care_of_cam(name, dataset):
    ours, cam = recipe(name, dataset), recipe("cam", dataset)
    nets = [methods.get(r["net"])(6, r["backbone"], r["net_options"]) for r in (ours, cam)]
    shapes = [[p.shape for p in net.backbone.parameters() if p.requires_grad] for net in nets]
    assert shapes[0] == shapes[1]
    layouts = [[(m.stride, m.dilation) for m in net.backbone.modules() if hasattr(m, "dilation")] for net in nets]
    assert layouts[0] == layouts[1]
    assert [g["lr_scale"] for g in nets[0].param_groups()] == [g["lr_scale"] for g in nets[1].param_groups()]
    same = ("optimiser", "lr", "weight_decay", "schedule", "power", "batch_size", "steps", "augmentation")
    assert ours["classifier"]["augmentation"].pop("jitter") is None
    assert {k: ours["classifier"][k] for k in same} == {k: cam["classifier"][k] for k in same}
    assert ours["cam"] == cam["cam"]


def test_real_photos_give_all_the_same_passes():
    ours, cam = recipe("eps", "voc_mini"), recipe("cam", "voc_mini")
    assert ours["classifier"]["steps"] is None and ours["classifier"]["epochs"] == cam["classifier"]["epochs"]
    assert ours["net_options"]["output_stride"] == cam["net_options"]["output_stride"]
    assert ours["backbone"] == "resnet18" and not ours["net_options"]["dilated"]


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, option, words",
    [
        ("eps", {"tau": 1.5}, "net_options.tau: 1.5 is greater than the maximum of 1"),
        ("eps", {"lambda": -0.1}, "net_options.lambda: -0.1 is less than the minimum"),
        ("eps", {"dropout": 0.5}, "unknown key dropout in net_options; allowed: bn, dilated"),
        ("eps_base", {"tau": 0.4}, "unknown key tau in net_options"),
        ("eps_base", {"dropout": 1}, "net_options.dropout: 1 is greater than or equal to the maximum"),
        ("eps", {"dilated": "yes"}, "net_options.dilated: 'yes' is not of type 'boolean'"),
        ("eps", {"output_stride": 12}, "net_options.output_stride: 12 is not allowed; allowed: 8, 16, 32"),
        ("eps", {"head_lr_scale": 0}, "net_options.head_lr_scale: 0 is less than or equal to the minimum"),
    ],
)
def test_bad_options_are_refused(changed, name, option, words):
    with pytest.raises(UserError, match=words):
        changed(name, lambda c: c["net_options"].update(option))


@pytest.mark.parametrize(
    "method, change, words",
    [
        ("amn", lambda c: c["classifier"].update(poly_steps=9), "classifier: poly_steps goes with schedule poly; set it to null"),
        ("eps", lambda c: c["classifier"].update(poly_steps=0), "classifier.poly_steps: 0 is less than the minimum of 1"),
        ("eps_crf", lambda c: c["seeds"]["crf_params"].update(gt_prob=0.7), "seeds: unary scores takes no crf_params.gt_prob"),
        ("ppc", lambda c: c["seeds"].update(unary="scores"), "seeds: unary scores takes no crf_params.gt_prob"),
        ("eps_crf", lambda c: c["seeds"].pop("unary") and c["seeds"]["crf_params"].update(gt_prob=None), "gt_prob: None is not of type"),
        ("cam", lambda c: c.setdefault("seeds", {}).update(unary="argmax"), "seeds.unary: 'argmax' is not allowed; allowed: labels, scores"),
        ("eps_crf", lambda c: c.update(seeds={"unary": "scores"}), "seeds: confident is missing"),
    ],
)
def test_settings_that_could_not_run_are_refused(changed, method, change, words):
    with pytest.raises(UserError, match=words):
        changed(method, change)


def test_poly_steps_may_be_null_with_any_schedule(changed):
    assert changed("amn", lambda c: c["classifier"].update(poly_steps=None))["classifier"]["poly_steps"] is None


def test_another_unary_replaces_the_section_and_the_same_one_is_merged(changed):
    below = changed("eps_released", lambda c: c.update(extends="eps_crf", seeds={"crf_params": {"srgb": 13}}))
    assert below["seeds"]["crf_params"] == {**README_CRF, "srgb": 13} and below["seeds"]["unary"] == "scores"
    named = changed("eps_script", lambda c: c.update(seeds={"unary": "labels", "confident": {"value": 0.4}}))
    assert named["seeds"]["crf_params"]["gt_prob"] == 0.7 and named["seeds"]["confident"]["value"] == 0.4


# --- the seeds of eps_crf ------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path):
    """A record with two classes, the folder of its CAM, and the CAM at image size."""
    image, labels = scene(44, 60)
    write_mask(tmp_path / "gt.png", labels.astype(np.uint8))
    Image.fromarray(image).save(tmp_path / "a.png")
    maps = np.random.default_rng(2).random((2, 11, 15)).astype(np.float32)
    write_cam(tmp_path / "a.npz", [1, 4], [maps])
    record = Record("a", ("trainaug",), (1, 4), str(tmp_path), ("a.png", "", "", ""))
    cams = CamFolder(tmp_path, Form("sum", "stretch", "max"), ("a", "b", "c", "d", "e"))
    return record, cams, cams.at(record, image.shape[:2])


def test_seeds_of_scores_are_plain_crfs_over_the_stack(photo, tmp_path):
    record, cams, cam = photo
    settings = recipe("eps_crf")["seeds"]
    rules = {"confident": Rule("const", 0.2), "unsure": Rule("power", 8)}
    assert make_seed(record, cams, typed(settings, Seeds), rules, DEEPLAB_TEST, tmp_path) == "a"
    backgrounds = {CONFIDENT: np.full(cam.shape[1:], 0.2, np.float32), UNSURE: (1 - cam.max(0)).clip(0) ** 8}
    for suffix, background in backgrounds.items():
        unary = unary_from_softmax(np.concatenate([background[None], cam]))
        expected = np.array([0, 2, 5], np.uint8)[plain_crf(read_image(record.image), unary, DEEPLAB_TEST)]
        found = read_mask(tmp_path / f"a{suffix}")
        assert (found == expected).mean() > 0.999 and len(np.unique(found)) > 1
    assert CrfParams(**settings["crf_params"]) == DEEPLAB_TEST


def test_labels_stay_the_default():
    image, _ = scene()
    cam = np.random.default_rng(0).random((2, *image.shape[:2])).astype(np.float32)
    rule = Rule("const", 0.6)
    rows = np.concatenate([np.full((1, *image.shape[:2]), 0.6, np.float32), cam]).argmax(0)
    expected = np.array([0, 1, 3], np.uint8)[to_labels(label_marginals(image, rows, rows, 3, IRN_LABEL)[0])]
    for options in ({}, {"unary": "labels"}):
        found = seeds_pair(image, cam, [0, 2], rule, rule, IRN_LABEL, **options)
        np.testing.assert_array_equal(found[0], expected)
    assert typed(recipe("cam")["seeds"], Seeds).unary == "labels"


def test_image_without_classes_is_background(photo, tmp_path):
    record, cams, _ = photo
    write_cam(tmp_path / "a.npz", [], [np.zeros((0, 11, 15), np.float32)])
    bare = replace(record, labels=())
    settings = recipe("eps_crf")["seeds"]
    make_seed(bare, cams, typed(settings, Seeds), dict.fromkeys(("confident", "unsure"), Rule("const", 0.2)), DEEPLAB_TEST, tmp_path)
    assert not read_mask(tmp_path / "a.png").any() and not read_mask(tmp_path / "a.unsure.png").any()
