"""Saliency in the workflow, in a copy of the project: what is planned, what reruns, what ends at once."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
from helpers import copy_project, edit, photo, planned, shorten, snakemake
from PIL import Image

TARGET = "results/demo_tiny/{}/mask_scores/miou.txt"
OURS = {"make": "robust_background"}
AFTER = {f"eps/{stage}" for stage in ("classifier", "cam", "pseudo_masks", "mask_scores")}
MODEL = """
import sys
import numpy as np
from PIL import Image
for line in open(sys.argv[1], encoding="utf-8").read().splitlines():
    name, path = line.split("\\t")
    Image.fromarray(255 - np.asarray(Image.open(path).convert("L"))).save(f"{sys.argv[2]}/{name}.png")
"""


def make(project, **maker):
    """Let demo_tiny's maps be made so; without arguments its own count."""

    def change(content):
        content.pop("saliency", None)
        content.update({"saliency": maker} if maker else {})

    edit(project / "config/datasets/demo_tiny.yaml", change)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """demo_tiny by CAM and EPS, on maps we made, up to the masks."""
    project = shorten(copy_project(tmp_path_factory.mktemp("finished") / "clone"))
    make(project, **OURS)
    done = snakemake(project, "--cores", "2", *(TARGET.format(name) for name in ("cam", "eps")))
    assert done.returncode == 0, done.stdout[-5000:]
    return project


@pytest.fixture
def project(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "clone", symlinks=True)
    return tmp_path / "clone"


def jobs(project):
    """What both targets would run."""
    return planned(project, TARGET.format("eps"), TARGET.format("cam"))


def supervision(project, method):
    scores = json.loads((project / TARGET.format(method)).with_name("scores.json").read_text())
    (found,) = {stage["provenance"]["supervision"] for stage in scores["stages"].values()}
    return found


# --- reruns --------------------------------------------------------------------------------------------


def test_scores_say_what_the_net_learnt_from(finished):
    assert supervision(finished, "eps") == "image labels + saliency maps (made by robust_background)"
    assert supervision(finished, "cam") == "image labels"
    assert jobs(finished) == set()


def test_options_rerun_saliency_and_what_learns_from_it(project):
    make(project, **OURS, superpixels=100)
    assert jobs(project) == {"saliency"} | AFTER
    code = project / "workflow/scripts/wsss/saliency/robust_background.py"
    make(project, **OURS)
    code.write_text(code.read_text().replace("MU = 0.1", "MU = 0.2"))
    assert jobs(project) == {"saliency"} | AFTER


def test_given_instead_of_made_reruns_the_classifier_alone(project):
    make(project)
    assert jobs(project) == AFTER
    make(project, **OURS, fallback=True)  # the demo brings maps
    assert jobs(project) == AFTER
    done = snakemake(project, "--cores", "2", TARGET.format("eps"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert supervision(project, "eps") == "image labels + saliency maps (given)"


def test_a_users_command_its_script_watched(project):
    script = project / "my model's" / "run.py"
    script.parent.mkdir()
    script.write_text(MODEL)
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{list}} {{out}}"
    make(project, make="command", command=command)
    assert jobs(project) == {"saliency"} | AFTER
    target = "results/demo_tiny/saliency/index.json"
    done = snakemake(project, "--cores", "2", target)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "gpu=1" in done.stdout and planned(project, target) == set()
    script.write_text(MODEL.replace("255 - ", ""))
    assert planned(project, target) == {"saliency"}
    script.write_text(MODEL.replace(".save", ".convert('RGB').save"))
    done = snakemake(project, "--cores", "2", target)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "left 6 of 6 maps wrong" in done.stdout and "mode RGB" in done.stdout


# --- what ends before anything runs --------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path):
    """A project with a folder dataset, and a VOC tree, that have no maps."""
    project = copy_project(tmp_path / "clone")
    (project / "own/images").mkdir(parents=True)
    Image.fromarray(photo(np.random.default_rng(0), (40, 50))[0]).save(project / "own/images/a.png")
    (project / "own/labels.csv").write_text("image,labels\na.png,cat\n")
    (project / "mine/ImageSets/Segmentation").mkdir(parents=True)
    files = {
        "own": "kind: folder\npreset: tiny\nparams: {images: own/images, labels: own/labels.csv}\n",
        "mine": "kind: voc\npreset: tiny\nparams: {path: mine}\n",
        "downloaded": "kind: voc\npreset: tiny\nparams: {path: null}\n",
    }
    for name, content in files.items():
        (project / f"config/datasets/{name}.yaml").write_text(content)
    return project


@pytest.mark.parametrize(
    "name, place", [("own", ""), ("mine", " or put SALImages into the VOC tree"), ("downloaded", "")]
)
def test_no_maps_no_plan(clone, name, place):
    target = f"results/{name}/eps/classifier/model.safetensors"
    done = snakemake(clone, "-n", target)
    assert done.returncode != 0 and f"{name}.yaml: the dataset has no saliency maps" in done.stdout
    assert f"params: {{saliency: FOLDER}}){place}, or have them made" in done.stdout
    edit(clone / f"config/datasets/{name}.yaml", lambda content: content.update(saliency=OURS))
    assert {"saliency", "eps/classifier"} <= planned(clone, target)


def test_plain_snakemake_ends_too_and_other_methods_go_on(clone):
    done = snakemake(clone, "-n", "--config", "datasets=[own]", "methods=[cam,eps]")
    assert done.returncode != 0 and "own.yaml: the dataset has no saliency maps" in done.stdout
    assert snakemake(clone, "-n", "--config", "datasets=[own]", "methods=[cam]").returncode == 0


def test_the_demo_needs_no_saliency_stage(clone):
    assert "saliency" not in planned(clone, TARGET.format("eps"))
    done = snakemake(clone, "-n", "results/demo_tiny/saliency/index.json")
    assert done.returncode != 0 and "demo_tiny has saliency maps of its own, so none are made" in done.stdout


def test_voc12_plans_without_a_hunt_for_maps(clone):
    overrides = {"overrides": {"eps_base": {"backbone": "resnet50"}}}
    edit(clone / "config/datasets/voc12.yaml", lambda content: content.update(overrides))
    target = "results/voc12/eps/classifier/model.safetensors"
    assert "saliency" in planned(clone, target)
    (clone / "maps").mkdir()
    edit(clone / "config/datasets/voc12.yaml", lambda content: content["params"].update(saliency="maps"))
    assert "saliency" not in planned(clone, target)
