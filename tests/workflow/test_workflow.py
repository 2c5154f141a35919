"""The workflow itself, in a copy of the repository: what reruns, what a kill leaves."""

import json
import os
import re
import shutil

import chaos
import numpy as np
import pytest
from helpers import copy_project, edit, own_photos, photo, planned, shorten, snakemake
from PIL import Image
from workflow_run import TARGET
from wsss.plan.code_digest import code_version
from wsss.recipes.config import SECTIONS

AFTER_CAM = {f"amn/{stage}" for stage in SECTIONS}
ALL = {"dataset", *(f"cam/{stage}" for stage in SECTIONS[:4])} | AFTER_CAM


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


def another_scene(project):
    edit(project / "config/datasets/demo1.yaml", lambda content: content["params"].update(seed=9))


HARMLESS = (
    commented, reworded, new_method, in_recipe("full", "segmentation", lr=0.5), another_scene, touched_scripts,
    in_config(runtime={"workers": 1, "checkpoint_seconds": 5, "log_every": 1, "device": "cpu"}),
)  # fmt: skip
CHANGES = {
    "nothing": (lambda project: None, set()),
    "the harmless ones at once": (lambda project: [change(project) for change in HARMLESS], set()),
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


def test_scores_know_the_whole_chain(finished):
    """The code of AMN's first stage too, and what each figure was made with."""
    stages = [f"wsss.stages.{stage}" for stage in (*SECTIONS, "threshold")]
    scores = json.loads((finished / TARGET).with_name("scores.json").read_text())["stages"]
    walk = ["wsss.refine.learn_irn", "wsss.refine.walk_irn"]
    expected = code_version(*stages, *walk, "wsss.methods.cam", "wsss.methods.amn", "wsss.nets.deeplab")
    assert {s["provenance"]["code_version"] for s in scores.values()} == {expected}
    pseudo = scores["pseudo_mask"]["provenance"]
    assert (pseudo["threshold"], pseudo["refine"], pseudo["crf"]) == (0.25, "irn", False)
    assert scores["refined_seed"]["provenance"]["threshold"] == 0.45
    for stage in scores.values():
        assert stage["provenance"]["weights"] == "none" and stage["provenance"]["backbone"] == "resnet_small"


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
@pytest.mark.parametrize(("number", "seed"), [(1, 131), pytest.param(3, 0, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_no_byte(finished, tmp_path, number, seed):
    """tests/chaos.py: of Snakemake alone, in AMN's training (one kill) or of all processes, of Snakemake, of a job (three)."""
    kills = chaos.plan(number, seed=seed)
    assert len({kill.who for kill in kills}) == number
    project = tmp_path / "clone"
    shutil.copytree(finished, project, symlinks=True)
    assert all(kill.job.startswith("amn/") for kill in kills)
    shutil.rmtree(project / "results/demo_tiny/amn")
    edit(project / "config/config.yaml", lambda content: content["runtime"].update(checkpoint_seconds=0))
    outcome = chaos.torment(project, kills, chaos.durations(finished), chaos.artefacts(finished))
    assert len(outcome.hits) >= max(1, number - 1)  # the last of several may come after the last job's end
    assert outcome.differences == []


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
