"""What the workflow would run, in a copy of the repository: dry runs, and data whose files are watched."""

import numpy as np
import pytest
import yaml
from helpers import edit, photo, planned, rules_of, snakemake
from PIL import Image
from workflow_run import complaint, has_line, job_of


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
