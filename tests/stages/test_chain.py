"""Stages of whole chains: what stands in their files, with images without a label and without masks."""

import json

import numpy as np
import pytest
import torch
from helpers import Chain
from small_chain import INDEX, MODEL, SIZES, records_of
from wsss.data.manifest import load_manifest
from wsss.data.torch_sets import TrainingSet
from wsss.errors import UserError
from wsss.io.cams import CamFolder, read_cam
from wsss.io.images import image_size
from wsss.io.masks import read_mask
from wsss.recipes.config import SECTIONS
from wsss.stages.predictions import Predictor


def test_a_folder_without_masks_goes_to_predictions(made):
    records = records_of(made)
    assert len(records) == len(SIZES)
    index = json.loads((made.results / "predictions/index.json").read_text())
    assert index["ids"] == sorted(r.id for r in records)
    for record, size in zip(records, SIZES, strict=True):
        for stage, suffixes in (
            ("pseudo_masks", [".png"]),
            ("predictions", index["suffixes"]),
            ("seeds", [".png"]),
        ):
            for suffix in suffixes:
                mask = read_mask(made.results / stage / f"{record.id}{suffix}")
                assert mask.shape == size and set(np.unique(mask)) <= {0, 1, 2}


def test_masks_hold_only_classes_of_the_image(made):
    for record in records_of(made):
        allowed = {0, *(k + 1 for k in record.labels)}
        for stage in ("seeds", "pseudo_masks"):
            assert set(np.unique(read_mask(made.results / stage / f"{record.id}.png"))) <= allowed
        assert set(np.unique(read_mask(made.results / "ir_labels" / f"{record.id}.png"))) <= allowed | {255}


def test_images_without_labels_are_background_everywhere(made):
    plain = [r for r in records_of(made) if not r.labels]
    assert len(plain) == 2
    for record in plain:
        assert read_cam(made.results / "cam" / f"{record.id}.npz").classes == ()
        for stage in ("seeds", "ir_labels", "pseudo_masks"):
            assert not read_mask(made.results / stage / f"{record.id}.png").any(), stage


def test_every_stage_says_how_it_was_run(made):
    for stage in SECTIONS[: SECTIONS.index("evaluation")]:
        facts = json.loads((made.results / stage / "run.json").read_text())
        assert facts["stage"] == stage and facts["wall_seconds"] >= 0 and "torch" in facts["packages"]
    assert not list(made.results.rglob("train_state.pt")) and not list(made.results.rglob(".*.tmp"))


def test_no_ground_truth_no_score(made):
    with pytest.raises(
        UserError, match="own: no ground-truth masks.*ask for results/own/irn/predictions/index.json"
    ):
        made.run("evaluation", {"predictions": f"predictions/{INDEX}"})


@pytest.mark.parametrize("stage", ["classifier", "affinity"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_unlabelled_images_teach_amn_and_irn_background(made, monkeypatch, stage, unlabelled):
    """Two of the images have no label; with the option the training draws them, with labels of background only."""
    chain, seen = Chain(made.results, "amn" if stage == "classifier" else "irn"), {}
    getitem = TrainingSet.__getitem__

    def noted(self, key):
        sample = getitem(self, key)
        seen[sample["id"]] = sample
        return sample

    monkeypatch.setattr(TrainingSet, "__getitem__", noted)
    source = {"ir_labels": f"ir_labels/{INDEX}"} if stage == "classifier" else {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"}
    settings = {**chain.recipe[stage], "unlabelled": unlabelled, "steps": 4}
    folder = chain.run(stage, source, into=f"{stage}_{unlabelled}", settings=settings)
    bare = {r.id for r in load_manifest(made.results / "manifest.csv").split("trainaug") if not r.labels}
    assert len(bare) == 2 and len(seen) == (6 if unlabelled else 4)
    assert bare & set(seen) == (bare if unlabelled else set())
    assert all(set(np.unique(seen[name]["label"])) <= {0, 255} and (seen[name]["label"] == 0).any() for name in bare & set(seen))
    losses = [float(row.split(",")[1]) for row in (folder / "history.csv").read_text().splitlines()[1:]]
    assert np.isfinite(losses).all()


def test_cams_are_float32_whatever_the_precision(copied):
    folders = []
    for precision in ("fp32", "bf16"):
        compute = {"precision": precision, "cpu_threads": 1}
        folders.append(copied.run("cam", {"model": f"classifier/{MODEL}"}, into=f"cam_{precision}", compute=compute))
    cams = [{p.name: p.read_bytes() for p in folder.glob("*.npz")} for folder in folders]
    assert len(cams[0]) == 6 and cams[0] == cams[1]


def test_cams_of_several_networks_are_their_mean(copied):
    """Map by map, before anything is divided by its maximum; a network that is averaged with itself changes nothing."""
    first = copied.results / f"classifier/{MODEL}"
    other = copied.run("classifier", into="other", seed=1) / MODEL

    def maps(name, *models):
        inputs = {"model": f"classifier/{MODEL}"} | {f"model_{n}": str(path) for n, path in enumerate(models[1:], 2)}
        inputs["model"] = str(models[0])
        folder = copied.run("cam", inputs, into=name)
        return {record.id: read_cam(folder / f"{record.id}.npz").maps for record in records_of(copied) if record.labels}

    one, two, both, same = maps("one", first), maps("two", other), maps("both", first, other), maps("same", first, first)
    for name, averaged in both.items():
        for a, b, mean, alone in zip(one[name], two[name], averaged, same[name], strict=True):
            np.testing.assert_allclose(mean, (a.astype(np.float32) + b) / 2, rtol=2e-3, atol=1e-3 * max(a.max(), b.max()))
            np.testing.assert_array_equal(alone, a)
            assert not np.allclose(mean, a, rtol=0.05)


def test_amn_on_its_first_stage(copied):
    amn = Chain(copied.results, "amn")
    amn.run("classifier", {"ir_labels": f"ir_labels/{INDEX}"}, into="amn/classifier")
    inputs = {"model": f"amn/classifier/{MODEL}", "ir_labels": f"ir_labels/{INDEX}"}
    out = amn.run("cam", inputs, into="amn/cam")
    amn.run("seeds", {"cam": f"amn/cam/{INDEX}"}, into="amn/seeds")
    index = json.loads((out / INDEX).read_text())
    assert (index["form"], index["norm"], index["classes"]) == ("softmax", "min_max", ["red", "green"])
    for record in records_of(amn):
        cam = CamFolder.of(out / INDEX, index).at(record, image_size(record.image))
        assert (
            len(cam) == len(record.labels)
            and np.isfinite(cam).all()
            and cam.min(initial=0) >= 0
            and cam.max(initial=0) <= 1
        )
        assert set(np.unique(read_mask(copied.results / "amn/seeds" / f"{record.id}.png"))) <= {
            0,
            *(k + 1 for k in record.labels),
        }


@pytest.mark.parametrize("known_labels", [True, False])
def test_predictions_of_training_photos_keep_to_their_labels(copied, monkeypatch, known_labels):
    """The network finds little but class 2, and at the left edge more of class 1 than of background."""

    def probabilities(self, batch):
        probs = torch.tensor([0.04, 0.02, 0.94])[:, None, None].repeat(len(batch["id"]), 1, *batch["size"])
        probs[:, 1, :, :20] = 0.06
        return probs

    monkeypatch.setattr(Predictor, "probabilities", probabilities)
    settings = {**copied.plan.params("predictions", copied.row)["settings"], "known_labels": known_labels, "crf": False}
    folder = copied.run("predictions", {"model": f"segmentation/{MODEL}"}, into="kept", settings=settings)
    for record in records_of(copied):
        found = read_mask(folder / f"{record.id}.png")
        left, right = (2, 2) if 1 in record.labels or not known_labels else (record.labels.count(0), 0)
        assert (found[:, :20] == left).all() and (found[:, 20:] == right).all()


@pytest.mark.parametrize("stage, trains", [("cam", "classifier"), ("predictions", "segmentation")])
def test_a_network_of_another_class_order_is_refused(copied, stage, trains):
    """Results of another dataset, copied here: as many outputs, of other classes."""
    path = copied.results / "dataset.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "classes": info["classes"][::-1]}))
    with pytest.raises(UserError, match=rf"{trains}/{MODEL}: made of the classes .*; .* has .*snakemake --force \S*{trains}/{MODEL}"):
        copied.run(stage, {"model": f"{trains}/{MODEL}"}, into="again")
