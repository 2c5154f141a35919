"""A slice of real VOC photos with real ImageNet weights, from a VOC tree to the scores of the segmentation, as a user would run it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import copy_project, snakemake
from wsss.data.manifest import load_manifest
from wsss.io.images import image_size
from wsss.io.masks import read_mask

DATA = os.environ.get("WSSS_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set: no real photos here")
LISTS = "ImageSets/Segmentation"


def slice_of(source, target, train=4, val=2):
    """A VOC tree with the first ids of each list; folders are links to the real ones."""
    (target / LISTS).mkdir(parents=True)
    for name in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (target / name).symlink_to(source / name)
    ids = {name: (source / LISTS / f"{name}.txt").read_text().split() for name in ("train", "train_aug", "val")}
    extra = [i for i in ids["train_aug"] if i not in ids["train"]][:2]
    lists = {"train": ids["train"][:train], "train_aug": ids["train"][:train] + extra, "val": ids["val"][:val]}
    for name, members in lists.items():
        (target / LISTS / f"{name}.txt").write_text("\n".join(members) + "\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = copy_project(tmp_path_factory.mktemp("photos") / "clone")
    slice_of(Path(DATA) / "voc_mini/VOCdevkit/VOC2012", root / "VOC2012")
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    config["weights"]["resnet18"] = "${WSSS_TEST_DATA}/weights/resnet18_imagenet_fp16.pth"
    config["compute"]["cpu_threads"] = 1
    (root / "config/config.yaml").write_text(yaml.safe_dump(config))
    preset = yaml.safe_load((root / "config/presets/cpu_small.yaml").read_text())
    for stage in ("classifier", "segmentation"):
        kept = {key: value for key, value in preset["common"][stage].items() if key not in ("epochs", "min_steps")}
        preset["common"][stage] = kept | {"steps": 2, "batch_size": 4}
    (root / "config/presets/few_steps.yaml").write_text(yaml.safe_dump(preset))
    dataset = {"kind": "voc", "preset": "few_steps", "params": {"path": str(root / "VOC2012")}}
    (root / "config/datasets/photos.yaml").write_text(yaml.safe_dump(dataset))
    done = snakemake(root, "--cores", "2", "results/photos/cam/miou.txt", timeout=900)
    assert done.returncode == 0, done.stdout[-5000:]
    return root


def test_splits_stay_apart(project):
    dataset = load_manifest(project / "results/photos/manifest.csv")
    assert [len(dataset.split(name)) for name in ("train", "trainaug", "val")] == [4, 6, 2]
    assert dataset.num_classes == 20


def test_every_stage_is_scored_with_its_split(project):
    stages = json.loads((project / "results/photos/cam/scores.json").read_text())["stages"]
    splits = {name: block["provenance"]["split"] for name, block in stages.items()}
    assert splits == {
        "seed": "train (4 images)",
        "refined_seed": "train (4 images)",
        "pseudo_mask": "train (4 images)",
        "segmentation": "val (2 images)",
        "segmentation_crf": "val (2 images)",
    }
    assert all(0 < block["miou"] < 100 for block in stages.values())


def test_masks_fit_photo_and_labels(project):
    """Pseudo-masks hold the image's own classes only, at the photo's size."""
    dataset = load_manifest(project / "results/photos/manifest.csv")
    for record in dataset.split("trainaug"):
        mask = read_mask(project / f"results/photos/cam/pseudo_masks/{record.id}.png")
        assert mask.shape == image_size(record.image)
        assert set(np.unique(mask)) <= {0, *(k + 1 for k in record.labels)}


def test_imagenet_weights_are_stamped(project):
    record = json.loads((project / "results/photos/cam/classifier/run.json").read_text())
    assert record["initial_weights_sha256"]
    text = (project / "results/photos/cam/miou.txt").read_text()
    assert "initial weights local file resnet18_imagenet_fp16.pth, sha256 " in text
