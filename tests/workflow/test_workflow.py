"""The workflow itself, in a copy of the repository: what is planned, what reruns, what a kill leaves."""

import json
import os
import re
import shutil

import chaos
import numpy as np
import pytest
import yaml
from helpers import (
    GPU_RULES,
    copy_project,
    edit,
    own_photos,
    photo,
    planned,
    rules_of,
    shorten,
    snakemake,
)
from PIL import Image
from wsss.plan.code_digest import code_version
from wsss.plan.stages import STAGES
from wsss.recipes.config import SECTIONS

from rules import every_rule, read_rules

TARGET = "results/demo_tiny/amn/miou.txt"
AFTER_CAM = {f"amn/{stage}" for stage in SECTIONS}
ALL = {"dataset", *(f"cam/{stage}" for stage in SECTIONS[:4])} | AFTER_CAM


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("fresh") / "clone")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """demo_tiny by AMN, run once from nothing to miou.txt."""
    project = shorten(copy_project(tmp_path_factory.mktemp("finished") / "clone"))
    done = snakemake(project, "--cores", "2", TARGET)
    assert done.returncode == 0 and (project / TARGET).exists(), done.stdout[-5000:]
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run to change; times and Snakemake's memory are kept."""
    shutil.copytree(finished, tmp_path / "clone", symlinks=True)
    return tmp_path / "clone"


# --- what would be run ---------------------------------------------------------------------------------


def test_a_fresh_clone_plans_everything_offline(fresh):
    done = snakemake(fresh, "-n")
    assert done.returncode == 0, done.stdout
    jobs = rules_of(done.stdout)
    methods = yaml.safe_load((fresh / "config/config.yaml").read_text())["methods"]
    assert jobs["evaluation"] == jobs["predictions"] == jobs["panels"] == jobs["diagnosis"] == len(methods)
    assert jobs["dataset"] == jobs["report"] == 1 and "weights" not in jobs and "download" not in jobs
    assert not (fresh / "results").exists()


def test_voc12_with_all_methods_is_planned(fresh):
    done = snakemake(fresh, "-n", "--config", "datasets=[voc12]", "methods=[cam,irn,amn,full]")
    assert done.returncode == 0, done.stdout
    jobs = rules_of(done.stdout)
    assert jobs["download"] == 2 and jobs["weights"] == 2  # resnet50 and resnet101
    assert jobs["classifier"] == 2 and jobs["affinity"] == 2 and jobs["segmentation"] == 4


def job_of(text, rule):
    """The lines of one job in a dry run."""
    return re.search(rf"^(?:local)?rule {rule}:\n((?:    .*\n)+)", text, re.M).group(1)


@pytest.mark.parametrize("method, gpus", [("irn", 1), ("cam", 0)])
def test_pseudo_masks_ask_for_a_gpu_only_for_the_walk(fresh, method, gpus):
    done = snakemake(fresh, "-n", f"results/demo_tiny/{method}/pseudo_masks/index.json")
    assert f"gpu={gpus}" in job_of(done.stdout, "pseudo_masks")


def test_trainings_ask_for_the_gpus_that_they_are_spread_over(fresh):
    options = ("--resources", "gpu=4", "--config", "compute={gpus: 2}")
    done = snakemake(fresh, "-n", "results/demo_tiny/full/miou.txt", *options)
    assert "gpu=2" in job_of(done.stdout, "segmentation") and "gpu=1" in job_of(done.stdout, "predictions")


def test_a_segmentation_taken_from_another_recipe(clone):
    (clone / "config/methods/new.yaml").write_text("extends: cam\nsegmentation: {from: cam}\n")
    jobs = planned(clone, "results/demo_tiny/new/miou.txt")
    assert {"cam/segmentation", "new/predictions", "new/evaluation"} <= jobs and "new/segmentation" not in jobs


def test_pseudo_masks_taken_from_another_recipe(clone):
    """Their scores are described as the recipe that makes them says."""
    (clone / "config/methods/new.yaml").write_text("extends: cam\npseudo_masks: {from: irn}\n")
    done = snakemake(clone, "-n", "results/demo_tiny/new/miou.txt")
    assert "results/demo_tiny/irn/affinity/model.safetensors" in job_of(done.stdout, "evaluation")


def test_a_local_weights_file_is_an_input(clone):
    target = "resources/weights/resnet18.safetensors"
    edit(clone / "config/config.yaml", lambda c: c["weights"].update(resnet18="~/mine.pth"))
    assert has_line(complaint(clone, "-n", target), "/mine.pth: no such file; mend `weights: resnet18`")
    edit(clone / "config/config.yaml", lambda c: c["weights"].update(resnet18="mine.pth"))
    (clone / "mine.pth").touch()
    assert "input: mine.pth" in job_of(snakemake(clone, "-n", target).stdout, "weights")


def test_a_seed_of_its_own_folder(fresh):
    jobs = planned(fresh, "results/demo_tiny/amn.seed2/miou.txt")
    assert {"cam.seed2/classifier", "amn.seed2/evaluation", "dataset"} <= jobs
    assert not [job for job in jobs if job.startswith(("cam/", "amn/"))]


# --- what a change reruns ------------------------------------------------------------------------------


def write_more(path, text):
    path.write_text(path.read_text() + text)


def library(project, name):
    return project / "workflow/scripts/wsss" / name


def touched_scripts(project):
    """As after `git checkout` of everything: all files are new, none has changed."""
    for folder in ("workflow", "rules", "config", "envs"):
        for path in (project / folder).rglob("*"):
            path.touch()
    (project / "Snakefile").touch()


def commented(project):
    for name in ("refine/crf.py", "train/loop.py", "methods/cam.py", "stages/cam.py", "io/cams.py"):
        write_more(library(project, name), '\n\n# a remark\n"""And a string that is no code."""\n')


def reworded(project):
    """Another message of a stage, and other code of the engine."""
    stage = library(project, "stages/cam.py")
    text = stage.read_text()
    assert "of another recipe; set" in text
    stage.write_text(text.replace("of another recipe; set", "of another; please set"))
    write_more(library(project, "engine/task.py"), "\n\nMORE = 1\n")


def new_method(project):
    library(project, "methods/new.py").write_text("class New:\n    defaults = {}\n")
    registry = library(project, "methods/__init__.py")
    text = registry.read_text()
    assert '    "cam":' in text
    registry.write_text(text.replace('    "cam":', '    "new": "wsss.methods.new:New",\n    "cam":'))
    (project / "config/methods/new.yaml").write_text("extends: cam\nnet: new\n")


def in_config(**changes):
    def update(content):
        for section, values in changes.items():
            content[section].update(values)

    return lambda project: edit(project / "config/config.yaml", update)


def in_recipe(name, stage, **values):
    return lambda project: edit(
        project / f"config/methods/{name}.yaml", lambda content: content.setdefault(stage, {}).update(values)
    )


def code(name):
    return lambda project: write_more(library(project, name), "\n\ndef one_thing_more():\n    return 1\n")


def from_stage(stage, method="amn"):
    return {f"{method}/{later}" for later in SECTIONS[SECTIONS.index(stage) :]}


CHANGES = {
    "nothing": (lambda project: None, set()),
    "times of all scripts": (touched_scripts, set()),
    "comments and docstrings": (commented, set()),
    "messages and the engine": (reworded, set()),
    "a new method": (new_method, set()),
    "runtime": (
        in_config(runtime={"workers": 1, "checkpoint_seconds": 5, "log_every": 1, "device": "cpu"}),
        set(),
    ),
    "another recipe": (in_recipe("full", "segmentation", lr=0.5), set()),
    "the builder of another dataset": (
        lambda p: edit(p / "config/datasets/demo1.yaml", lambda c: c["params"].update(seed=9)),
        set(),
    ),
    "CRF code": (code("refine/crf.py"), (ALL - {"dataset", "cam/classifier", "cam/cam"})),
    "AMN's code": (code("methods/amn.py"), AFTER_CAM),
    "CAM's code": (code("methods/cam.py"), ALL - {"dataset"}),
    "the walk's code": (code("refine/random_walk.py"), from_stage("pseudo_masks")),
    "seeds of AMN": (
        in_recipe("amn", "seeds", confident={"kind": "const", "value": 0.4}),
        AFTER_CAM - {"amn/classifier", "amn/cam"},
    ),
    "a published threshold": (
        in_recipe("amn", "evaluation", bg={"kind": "const", "value": 0.3}),
        {"amn/evaluation"},
    ),
    "beta of the walk": (in_recipe("irn", "pseudo_masks", beta=8), from_stage("pseudo_masks")),
    "precision": (in_config(compute={"precision": "bf16"}), ALL - {"dataset"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reruns_what_it_concerns(finished, tmp_path, name):
    project = tmp_path / "clone"
    shutil.copytree(finished, project, symlinks=True)
    change, expected = CHANGES[name]
    change(project)
    assert planned(project, TARGET) == expected


def test_a_changed_photo_rebuilds_all_and_nothing_else_does(project):
    image = own_photos(project)
    target = "results/own/cam/classifier/model.safetensors"
    done = snakemake(project, "--cores", "1", target)
    assert done.returncode == 0, done.stdout
    assert planned(project, target) == set()
    Image.fromarray(photo(np.random.default_rng(9), (64, 64))[0]).save(image)
    assert planned(project, target) == {"dataset", "cam/classifier"}


def own_voc_tree(project):
    """A VOC tree of one training and one val photo; returns its folder."""
    root = project / "mine/VOC2012"
    for name in ("Annotations", "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for number, (item_id, lists) in enumerate({"a": ("train", "train_aug"), "v": ("val",)}.items()):
        image, mask = photo(np.random.default_rng(number), (40, 50))
        Image.fromarray(image).save(root / f"JPEGImages/{item_id}.jpg")
        Image.fromarray(mask).save(root / f"SegmentationClass/{item_id}.png")
        xml = "<annotation><object><name>aeroplane</name></object></annotation>"
        (root / f"Annotations/{item_id}.xml").write_text(xml)
        for name in lists:
            (root / f"ImageSets/Segmentation/{name}.txt").write_text(f"{item_id}\n")
    (project / "config/datasets/mine.yaml").write_text("kind: voc\npreset: tiny\nparams: {path: mine}\n")
    return root


def test_a_users_own_voc_tree_is_watched(clone):
    root, target = own_voc_tree(clone), "results/mine/manifest.csv"
    done = snakemake(clone, "--cores", "1", target)
    assert done.returncode == 0, done.stdout
    assert planned(clone, target) == set()
    Image.new("L", (50, 40)).save(root / "SegmentationClass/v.png")
    assert planned(clone, target) == {"dataset"}


def test_scores_know_the_whole_chain(finished):
    """The code of AMN's first stage too, and what each figure was made with."""
    stages = [f"wsss.stages.{stage}" for stage in SECTIONS]
    scores = json.loads((finished / TARGET).with_name("scores.json").read_text())["stages"]
    walk = ["wsss.refine.learn_irn", "wsss.refine.walk_irn"]
    expected = code_version(*stages, *walk, "wsss.methods.cam", "wsss.methods.amn", "wsss.nets.deeplab")
    assert {s["provenance"]["code_version"] for s in scores.values()} == {expected}
    pseudo = scores["pseudo_mask"]["provenance"]
    assert (pseudo["threshold"], pseudo["refine"], pseudo["crf"]) == (0.25, "irn", False)
    assert scores["refined_seed"]["provenance"]["threshold"] == 0.45
    for stage in scores.values():
        assert stage["provenance"]["weights"] == "none" and stage["provenance"]["backbone"] == "resnet_small"


# --- a lost file, a kill -------------------------------------------------------------------------------


def test_the_command_in_the_error_mends_a_lost_file(project):
    """An index stays when a file beside it goes; Snakemake sees nothing to do, so the error has to say how."""
    lost = sorted((project / "results/demo_tiny/amn/cam").glob("*.npz"))[2]
    kept = sorted((project / "results/demo_tiny/amn/cam").glob("*.npz"))[0]
    content, before = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    broken = snakemake(project, "--cores", "2", "--force", "results/demo_tiny/amn/seeds/index.json")
    assert broken.returncode != 0 and lost.stem in broken.stdout and "Traceback" not in broken.stdout
    command = re.search(r"run: snakemake (.*)", broken.stdout).group(1).split()
    mended = snakemake(project, "--cores", "2", *command)
    assert mended.returncode == 0, mended.stdout
    assert lost.read_bytes() == content and kept.stat().st_mtime_ns == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to see which job runs")
def test_three_kills_at_random_moments_change_no_byte(finished, tmp_path):
    """tests/chaos.py with few kills: of all processes, of Snakemake alone, of a job alone; then what a user types."""
    project = shorten(copy_project(tmp_path / "clone"))
    edit(project / "config/config.yaml", lambda content: content["runtime"].update(checkpoint_seconds=0))
    kills = chaos.plan(3, seed=0)
    assert {kill.who for kill in kills} == set(chaos.WHO)
    outcome = chaos.torment(project, kills, chaos.durations(finished), chaos.artefacts(finished))
    assert len(outcome.hits) >= 2  # the last may come after the last job's end
    assert outcome.differences == []


# --- errors --------------------------------------------------------------------------------------------


def complaint(project, *arguments):
    """The output of a run that has to end in an error without a Python traceback."""
    done = snakemake(project, *arguments)
    assert done.returncode != 0
    assert "Traceback (most recent call last)" not in done.stdout, done.stdout
    return [line.strip() for line in done.stdout.splitlines()]


def has_line(lines, *words):
    return any(all(word in line for word in words) for line in lines)


@pytest.fixture
def clone(fresh, tmp_path):
    shutil.copytree(fresh, tmp_path / "clone", ignore=shutil.ignore_patterns(".snakemake"))
    return tmp_path / "clone"


def test_unknown_keys_end_in_one_line(clone):
    lines = complaint(clone, "-n", "--config", "sedes=[1]")
    assert has_line(lines, "config.yaml: unknown key sedes", "allowed: compute")
    edit(clone / "config/methods/cam.yaml", lambda c: c["classifier"].update(lrr=1))
    lines = complaint(clone, "-n", TARGET)
    assert has_line(lines, "methods/cam.yaml: unknown key lrr in classifier")


@pytest.mark.parametrize(
    "target, words",
    [
        (
            "results/demo_tiny/irn/seeds/index.json",
            ["irn takes its seeds from recipe cam", "ask for that recipe's file"],
        ),
        (
            "results/demo_tiny/cam/affinity/model.safetensors",
            ["method cam has no stage affinity in its recipe"],
        ),
        ("results/demo_tiny/foo/miou.txt", ["methods/foo.yaml: no such file", "known methods: amn, amn_seed, cam"]),
        ("results/foo/cam/miou.txt", ["datasets/foo.yaml: no such file", "known datasets: coco14, coco17"]),
        ("results/demo_tiny/anm/miou.txt", ["methods/anm.yaml: no such file", "did you mean amn?"]),
        ("results/dmo_tiny/amn/miuo.txt", ["results/dmo_tiny/amn/miuo.txt", "did you mean results/demo_tiny/amn/miou.txt?"]),
        ("report", ["ask for one of them, such as results/demo_small/report/index.html"]),
    ],
)
def test_targets_that_cannot_be(fresh, target, words):
    assert has_line(complaint(fresh, "-n", target), *words)


def test_a_folder_without_masks_has_no_miou(clone):
    own_photos(clone)
    lines = complaint(clone, "-n", "results/own/cam/miou.txt")
    hint = (
        "own has no ground-truth masks, so there is no mIoU; ask for results/own/cam/predictions/index.json"
    )
    assert lines.count(hint) == 1
    assert "cam/predictions" in planned(clone, "results/own/cam/predictions/index.json")
    jobs = rules_of(snakemake(clone, "-n", "--config", "datasets=[own]", "methods=[cam]").stdout)
    assert jobs["predictions"] == jobs["diagnosis"] == jobs["report"] == 1 and "evaluation" not in jobs


def test_own_photos_without_masks_end_in_a_report(clone):
    """What README says of own photos, cut short: masks, a report with pictures, and in plain words what is wrong."""
    shorten(own_photos(clone).parents[2])
    done = snakemake(clone, "--cores", "2", "--config", "datasets=[own]", "methods=[cam]")
    assert done.returncode == 0, done.stdout[-3000:]
    results = clone / "results/own"
    assert len(list((results / "cam/predictions").glob("p?.png"))) == 3
    page = (results / "report/index.html").read_text()
    assert "<h2>Diagnosis</h2>" in page and 'src="panels/cam/' in page and "<h2>Methods</h2>" not in page
    found = json.loads((results / "cam/diagnosis.json").read_text())
    lone = "of green there is one training photo only"  # red, green, red
    assert any(lone in line for line in found["warnings"])
    lines = done.stdout.splitlines()
    assert has_line(lines, "WARNING cam/classifier", lone)  # when the stage ended
    assert has_line(lines, f"WARNING own/cam: {len(found['warnings'])} warning", "results/own/cam/diagnosis.txt")
    assert planned(clone, "results/own/report/index.html", "--config", "methods=[cam]") == set()


def test_diagnosis_of_a_scored_method_leaves_its_scores_alone(project):
    """amn rests on cam's classifier: the check is that one's, on the photos of val."""
    target = "results/demo_tiny/amn/diagnosis.txt"
    assert planned(project, target) == {"amn/diagnosis"}
    before = (project / TARGET).with_name("run.json").read_bytes()
    done = snakemake(project, "--cores", "1", target)
    assert done.returncode == 0, done.stdout[-3000:]
    found = json.loads((project / target).with_suffix(".json").read_text())
    assert (found["classifier"]["of"], found["classifier"]["how"], found["classifier"]["photos"]) == ("cam", "val", 2)
    assert set(found["stages"]) == {"seeds", "ir_labels", "pseudo_masks", "predictions"}
    assert [pair["of"] for pair in found["agreement"]] == [["seed", "seeds"], ["seeds", "pseudo_masks"]]
    assert (project / TARGET).with_name("run.json").read_bytes() == before


def test_full_without_val_masks_is_refused_before_training(clone):
    own_photos(clone)
    table = clone / "own/labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",mask", *(f"{line},m.png" for line in lines[1:])]) + "\n")
    words = ["own has no val images with masks", "leave full out of `methods`"]
    assert has_line(complaint(clone, "-n", "results/own/full/miou.txt"), *words)
    assert "cam/evaluation" in planned(clone, "results/own/cam/miou.txt")


def test_a_missing_label_file_is_named(clone):
    own_photos(clone)
    (clone / "own/labels.csv").unlink()
    assert has_line(
        complaint(clone, "-n", "--config", "datasets=[own]", "methods=[cam]"), "own/labels.csv: cannot be read"
    )


def test_an_error_of_a_stage_is_one_line(clone):
    image = own_photos(clone)
    image.write_bytes(image.read_bytes()[:100])
    lines = complaint(clone, "--cores", "1", "results/own/manifest.csv")
    assert has_line(lines, "p0.png") and not (clone / "results/own/manifest.csv").exists()


# --- rules ---------------------------------------------------------------------------------------------




def test_every_rule_declares_what_a_cluster_and_a_person_need():
    rules = every_rule()
    assert GPU_RULES | {"dataset", "weights", "seeds", "ir_labels", "evaluation", "diagnosis", "report", "merge"} <= set(rules)
    for name, rule in rules.items():
        assert rule["output"] and rule["log"] and rule["benchmark"] and rule["params"], name
        assert {"mem_mb", "runtime", "_cores"} <= set(rule["resources"]), name
        assert ("gpu" in rule["resources"]) == (name in {*GPU_RULES, "saliency"}), name
        assert "retries" not in rule["resources"], "retries belong in the profile"
        assert rule["conda"].is_file() and rule["script"].is_file(), name
        assert rule["script"].stem in (name, {"mask_scores": "evaluation"}.get(name), name.partition("_")[0]), name


def test_rules_make_what_the_plan_says_that_stages_make():
    for name, rule in read_rules().items():
        if STAGES.get(name) and STAGES[name].makes:
            files = {key: os.path.basename(path) for key, path in rule["output"].items()}
            assert STAGES[name].makes.items() <= files.items(), name



def test_rerun_triggers_leave_out_code_and_its_times(fresh):
    for profile in ("default", "slurm"):
        settings = yaml.safe_load((fresh / f"profiles/{profile}/config.yaml").read_text())
        assert settings["rerun-triggers"] == ["mtime", "params", "input", "software-env"]
        assert settings["rerun-incomplete"] is True


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_equal_files_are_known_for_equal_up_to_the_size_of_models(fresh, profile):
    """Snakemake's own limit, 1 MB, is less than VOC's manifest has."""
    settings = yaml.safe_load((fresh / f"profiles/{profile}/config.yaml").read_text())
    assert settings["max-checksum-file-size"] >= 200_000_000  # resnet101
