"""COCO in the config: its values laid on the recipes, what a dataset file may say, and what a plan holds."""

import shutil

import pytest
import yaml
from coco_tree import coco_folder
from helpers import REPOSITORY, copy_project, planned, snakemake
from wsss.data.user_files import check_coco
from wsss.errors import UserError
from wsss.recipes.config import Config

CONFIG = REPOSITORY / "config"
MAIN = yaml.safe_load((CONFIG / "config.yaml").read_text())
pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def recipe(method, dataset="coco14"):
    return Config(CONFIG, MAIN).recipe(method, dataset)


# --- values


@pytest.mark.parametrize("dataset", ["coco14", "coco17"])
def test_values_of_the_published_coco_runs(dataset):
    amn, eps = recipe("amn", dataset), recipe("eps", dataset)
    assert amn["pseudo_masks"]["bg"]["value"] == 0.22 and amn["pseudo_masks"]["power"] == 1.3
    assert (amn["classifier"]["epochs"], amn["classifier"]["batch_size"]) == (5, 16)
    assert amn["classifier"]["augmentation"]["crop"] == 512 and amn["net_options"]["label_smoothing"] == 0.4
    assert (amn["seeds"]["confident"]["value"], amn["seeds"]["unsure"]["value"]) == (0.45, 0.15)
    assert (eps["net_options"]["tau"], eps["net_options"]["lambda"]) == (0.4, 0.9)
    assert (eps["classifier"]["steps"], eps["classifier"]["batch_size"]) == (76950, 16)
    assert eps["classifier"]["augmentation"] == {
        "resize": {"long_side": [256, 448]},
        "flip": 0.5,
        "crop": 321,
        "jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    }
    assert eps["evaluation"]["bg"] == {"kind": "const", "value": 0.2}


@pytest.mark.parametrize("method", ["cam", "irn", "amn", "full", "eps"])
def test_segmentation_on_coco(method):
    config = Config(CONFIG, MAIN)
    owner = config.owner(method, "coco14", "segmentation")
    settings = config.recipe(owner, "coco14")["segmentation"]
    found = [settings[key] for key in ("steps", "batch_size", "lr")]
    assert found == [100_000, 10, 2e-4] and settings["augmentation"]["crop"] == 481
    assert settings["augmentation"]["resize"] == {"scale": [0.5, 1.5]}


def test_both_schedules_of_eps():
    released, script = recipe("eps_released")["classifier"], recipe("eps_script")["classifier"]
    assert (released["steps"], released["poly_steps"]) == (256_500, 76_950)
    assert script["steps"] == 256_500 and not script.get("poly_steps")


def test_what_is_not_named_stays_as_on_voc():
    for method in ("cam", "irn"):
        coco, voc = ({k: v for k, v in recipe(method, d).items() if k != "segmentation"} for d in ("coco14", "voc12"))
        if method == "irn":
            assert coco["affinity"].pop("unlabelled") and coco["pseudo_masks"].pop("pad_to") == "none"
            assert voc["pseudo_masks"].pop("pad_to") == 512
        assert coco == voc


def test_images_without_labels_teach_amn_and_irn_on_coco_only():
    """The released COCO branch trains both on its full list."""
    for method, dataset, says in [("amn", "coco14", True), ("irn", "coco14", True), ("amn", "voc12", False), ("amn", "demo", False)]:
        found = recipe(method, dataset)
        assert [bool(found[stage].get("unlabelled")) for stage in ("classifier", "affinity")] == [says and method == "amn", says]
    assert "unlabelled" not in recipe("cam")["classifier"] and "unlabelled" not in recipe("seam")["classifier"]


# --- dataset files


WRONG = {
    "params: unknown key lists": {"year": 2017, "list": "all", "lists": 3},
    "params.year: 2015 is not allowed; allowed: 2014, 2017": {"year": 2015, "list": "all"},
    "params.list: 82081 is not allowed; allowed: 118287, 117266, all, annotated": {
        "year": 2017,
        "list": 82081,
    },
    "params.list: 117266 is not allowed; allowed: 82783, 82081, all, annotated": {
        "year": 2014,
        "list": 117266,
    },
    "params.crowd: 'none' is not allowed; allowed: class, ignore, skip": {
        "year": 2017,
        "list": "all",
        "crowd": "none",
    },
    "params: list is missing; add list": {"year": 2017},
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_dataset_files(tmp_path, words):
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "config/datasets/mine.yaml").write_text(
        yaml.safe_dump({"kind": "coco", "params": WRONG[words]})
    )
    with pytest.raises(UserError) as caught:
        Config(tmp_path / "config", MAIN).dataset("mine")
    key = words.split(": ")[-1] if words.startswith("params: ") else words
    assert key in str(caught.value) and "mine.yaml" in str(caught.value)


def test_missing_files_are_named_before_anything_runs(tmp_path):
    params = {"year": 2017, "list": "all", "path": str(coco_folder(tmp_path / "coco"))}
    check_coco(params)
    for key in ("train_list", "val_list", "labels", "saliency"):
        with pytest.raises(UserError, match=f"nowhere: no such file or folder; mend `{key}`"):
            check_coco({**params, key: "nowhere"})
    (tmp_path / "cls_labels.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="import_labels.py"):
        check_coco({**params, "labels": str(tmp_path / "cls_labels.npy")})
    (tmp_path / "coco/annotations/instances_val2017.json").unlink()
    with pytest.raises(UserError, match="instances_val2017.json missing.*or null to download"):
        check_coco(params)


# --- plans


def test_plans_on_coco14(tmp_path):
    project = copy_project(tmp_path / "project")
    jobs = planned(project, "results/coco14/amn/miou.txt")
    assert {"download", "coco_masks", "dataset", "amn/classifier", "cam/ir_labels", "amn/affinity"} <= jobs
    jobs = planned(project, "results/coco14/full/miou.txt")
    assert {"download", "coco_masks", "dataset", "full/segmentation", "full/evaluation"} <= jobs
    assert not any(job.startswith("cam/") for job in jobs)


def test_plan_of_an_own_copy_downloads_nothing(tmp_path):
    project = copy_project(tmp_path / "project")
    spec = {
        "kind": "coco",
        "params": {"year": 2017, "list": "all", "path": str(coco_folder(tmp_path / "coco"))},
    }
    (project / "config/datasets/mine.yaml").write_text(yaml.safe_dump(spec))
    assert planned(project, "results/mine/manifest.csv") == {"coco_masks", "dataset"}
    (tmp_path / "coco/annotations/instances_val2017.json").unlink()
    done = snakemake(project, "-n", "results/mine/manifest.csv")
    assert done.returncode and "no COCO 2017 here" in done.stdout
    done = snakemake(project, "-n", "resources/demo_masks/index.json")
    assert done.returncode and "demo: masks are made for datasets of kind coco only" in done.stdout
