"""Found thresholds in recipes, and what is planned for them."""

import json

import pytest
from helpers import REPOSITORY, copy_project, edit, planned, shorten, snakemake
from wsss.errors import UserError
from wsss.found import BY_SCORES
from wsss.recipes.config import Config
from wsss.recipes.merge import merge
from wsss.recipes.schema import read_yaml

CONST = {"kind": "const", "value": "found"}


def test_a_number_takes_the_place_of_a_found_threshold_and_its_shift():
    found = {"bg": {"kind": "power", "value": "found", "shift": 0.2}}
    assert merge({"bg": {"kind": "power", "value": 6}}, {"bg": {"value": "found", "shift": 0.2}}) == found
    assert merge(found, {"bg": {"value": 4}}) == {"bg": {"kind": "power", "value": 4}}
    assert merge(found, {"bg": {"shift": 0.1}})["bg"]["shift"] == 0.1


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path / "clone")


@pytest.mark.parametrize(
    ("method", "section", "words"),
    [
        ("cam", {"seeds": {"confident": {"shift": 0.2}}}, "seeds.confident: shift.*value: found"),
        ("irn", {"pseudo_masks": {"bg": {"shift": 0.2}}}, "pseudo_masks.bg: shift.*value: found"),
        ("cam", {"evaluation": {"bg": {"value": "found"}}}, "evaluation.bg.*evaluation.policy: found"),
        ("cam", {"seeds": {"confident": {"value": "auto"}}}, "seeds.confident.value: 'auto'.*found"),
        ("cam", {"seeds": {"confident": {"value": "found", "shift": 1}}}, "seeds.confident.shift: 1.*0.95"),
    ],
)
def test_wrong_rules_are_named(project, method, section, words):
    content = read_yaml(project / f"config/methods/{method}.yaml")
    (project / f"config/methods/{method}.yaml").write_text(json.dumps(merge(content, section)))
    with pytest.raises(UserError, match=words):
        Config(project / "config", read_yaml(project / "config/config.yaml")).recipe(method, "voc12")


def lay(project, dataset="demo_tiny", **overrides):
    edit(project / f"config/datasets/{dataset}.yaml", lambda c: c.update(overrides=overrides))


def test_published_recipes_plan_no_threshold(project):
    jobs = planned(project, "results/voc12/irn/miou.txt", "results/voc12/amn/miou.txt", "results/coco14/amn/miou.txt")
    assert "amn/evaluation" in jobs and not {job for job in jobs if "threshold" in job}


def test_the_threshold_is_planned_once_for_those_who_share_cams(project):
    lay(project, "voc12", irn={"pseudo_masks": {"bg": CONST}}, cam={"evaluation": {"policy": "found"}})
    jobs = planned(project, "results/voc12/irn/miou.txt", "results/voc12/cam/miou.txt", "results/voc12/amn/miou.txt")
    assert {job for job in jobs if "threshold" in job} == {"cam/threshold", "amn/threshold"}  # amn extends irn
    done = snakemake(project, "-n", "results/voc12/irn/threshold/threshold.json")
    assert done.returncode != 0 and "takes its cam from recipe cam" in done.stdout


def test_masks_of_a_plain_threshold_follow_the_policy(project):
    lay(project, eps={"evaluation": {"policy": "found"}})
    target = "results/demo_tiny/eps/pseudo_masks/index.json"
    assert "eps/threshold" in planned(project, target)
    lay(project, eps={"evaluation": {"policy": "best_on_train_gt"}})
    assert "eps/threshold" not in planned(project, target)


def test_from_nothing_to_scores_with_found_thresholds(project):
    shorten(project)
    seeds = {"confident": {"value": "found", "shift": 0.2}, "unsure": {"value": "found", "shift": -0.5}}
    policy = {"policy": "found"}
    lay(project, cam={"seeds": seeds, "evaluation": policy}, irn={"pseudo_masks": {"bg": {"value": "found"}}}, eps={"evaluation": policy})
    by_maps = "results/demo_tiny/eps/threshold/threshold.json"
    done = snakemake(project, "--cores", "2", "results/demo_tiny/irn/mask_scores/miou.txt", by_maps)
    assert done.returncode == 0, done.stdout[-5000:]
    folder = project / "results/demo_tiny/irn/mask_scores"
    stages = json.loads((folder / "scores.json").read_text())["stages"]
    assert {name: stages[name]["provenance"]["threshold_policy"] for name in stages} == dict.fromkeys(stages, "found")
    assert set(stages) == {"seed", "refined_seed", "pseudo_mask"}
    found = json.loads((project / "results/demo_tiny/cam/threshold/threshold.json").read_text())
    assert stages["seed"]["provenance"]["threshold"] == pytest.approx(found["cut"], abs=1e-4) and found["by"] == BY_SCORES
    record = json.loads((project / by_maps).with_name("run.json").read_text())  # after so few steps the maps may say nothing
    assert record["inputs"]["own_maps"] == "results/demo_tiny/saliency.json"
    assert planned(project, "results/demo_tiny/irn/mask_scores/miou.txt") == set()


def test_published_values_have_no_found_threshold():
    config = Config(REPOSITORY / "config", read_yaml(REPOSITORY / "config/config.yaml"))
    for dataset in ("voc12", "coco14"):
        for method in config.names("methods"):
            assert "found" not in json.dumps(config.recipe(method, dataset)), (method, dataset)
