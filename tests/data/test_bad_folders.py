"""Folders that no method can learn from: all is written all the same, and what is wrong is said in plain words."""

import json
import logging

import numpy as np
import pytest
import torchvision
from helpers import Chain, photo
from PIL import Image
from wsss.data import folder
from wsss.io.masks import read_mask
from wsss.nets import weights
from wsss.stages import classifier

SIZE = (48, 64)
FOLDERS = {
    "one photo": (["red"], ["labelled red: the classifier has nothing to tell it from", "of red there is one training photo only"]),
    "one class": (["red"] * 5, ["labelled red: the classifier has nothing to tell it from", "labelled with what they show instead"]),
    "all labels": (["red;green"] * 4, ["labelled green and red: the classifier has nothing to tell them from"]),
    "one photo a class": (["red", "green", "blue"], ["of blue, green and red there is one training photo only"]),
}


def built(root, labels):
    """A folder dataset with a photo for each of `labels`."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(len(labels)):
        Image.fromarray(photo(rng, SIZE, number % 2)[0]).save(root / f"images/p{number}.png")
    rows = [f"p{number}.png,{label}" for number, label in enumerate(labels)]
    (root / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    folder.build({"images": str(root / "images"), "labels": str(root / "labels.csv")}, root / "results")
    return root / "results"


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_classifier_says_what_it_cannot_learn(name, tmp_path, caplog):
    labels, words = FOLDERS[name]
    chain = Chain(built(tmp_path, labels))
    once = sorted({one for one in labels if labels.count(one) == 1 and ";" not in one})
    before = [f"only one training image has the label {', '.join(once)}:"] * bool(once)
    before += ["all training images have the same label"] * (len(labels) > 1 and len(set(labels)) == 1)
    assert [part in line for part, line in zip(before, said(caplog), strict=True)] == [True] * len(before)  # before any training
    caplog.clear()
    found = chain.run("classifier")
    lines = said(caplog)
    assert all(any(word in line for line in lines) for word in words), lines
    check = json.loads((found / "check.json").read_text())
    assert check["how"] == "none" and check["trained"]["photos"] == len(labels)
    assert json.loads((found / "run.json").read_text())["diagnosis"]["warnings"] == [line.partition(": ")[2] for line in lines]


def test_of_a_sound_folder_only_the_training_is_too_short(tmp_path, caplog):
    chain = Chain(built(tmp_path, ["red", "green"] * 3))
    chain.run("classifier", settings={**chain.recipe["classifier"], "lr": 1e-9})
    (line,) = said(caplog)
    assert "has not learned; set classifier.steps to 400 or more (it had 2)" in line


def test_one_photo_goes_all_the_way(tmp_path):
    chain = Chain(built(tmp_path, ["red"]))
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"})
    chain.run("seeds", {"cam": "cam/index.json"})
    chain.run("ir_labels", {"seeds": "seeds/index.json"})
    chain.run("pseudo_masks", {"seeds": "seeds/index.json"}, refine="crf")
    chain.run("segmentation", {"pseudo_masks": "pseudo_masks/index.json"})
    found = chain.run("predictions", {"model": "segmentation/model.safetensors"})
    assert read_mask(found / "p0.png").shape == SIZE
    diagnosis = json.loads((found / "run.json").read_text())["diagnosis"]
    assert diagnosis["photos"] == 1 and set(diagnosis["found"]) == {"red"}


@pytest.mark.parametrize("labels, ranked", [(["red", "green"] * 6, 2), (["red"] * 12, 0)])
def test_few_photos_are_cross_fitted_on_the_features_they_start_from(tmp_path, labels, ranked):
    """A class that all photos have cannot be ranked; the loss is still that of all photos."""
    network = torchvision.models.resnet18(weights=None)
    raw = tmp_path / "resnet18.pth"
    raw.write_bytes(b"random")
    weights.convert(network.state_dict(), raw, tmp_path / "resnet18.safetensors", "resnet18", "random")
    chain = Chain(built(tmp_path / "own", labels))
    task = chain.task("classifier", {"weights": str(tmp_path / "resnet18.safetensors")})
    task.params["recipe"] = {**task.params["recipe"], "backbone": "resnet18", "weights": "imagenet"}
    classifier.run(task)
    check = json.loads((task.folder / "check.json").read_text())
    assert (check["how"], check["photos"], check["classes"], check["trained"]["photos"]) == ("cross_fit", 12, ranked, 12)
    assert 0 < check["loss"] < 2 and (check["map"] is None) == (ranked == 0)
    assert check["training"]["photos"] == 12 and check["training"]["guess_loss"] == check["guess_loss"]
