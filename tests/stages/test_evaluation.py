"""Scores say how what they score was made."""

import json

import numpy as np
import pytest
from helpers import Chain, folder_dataset
from small_chain import EVALUATED, INDEX, MODEL, SIZES, chain_to_cam, finish
from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.io.masks import read_mask, write_mask
from wsss.report.per_image import image_counts, read_per_image
from wsss.score.bootstrap import miou
from wsss.stages import evaluation


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """IRN up to pseudo-masks on training images with masks; there are no others."""
    chain = chain_to_cam(tmp_path_factory.mktemp("masked") / "own", masks=True)
    finish(chain)
    return chain


def scores_of(chain, inputs=EVALUATED, **params):
    folder = chain.run("evaluation", inputs, **params)
    assert json.loads((folder / "run.json").read_text())["stage"] == "evaluation"
    return {k: v["provenance"] for k, v in json.loads((folder / "scores.json").read_text())["stages"].items()}


def in_words(scales):
    return f"{', '.join(map(str, scales))}, with mirror images"


def test_scores_say_how_masks_were_made(masked):
    found = scores_of(masked)
    confident, walk = masked.recipe["seeds"]["confident"], masked.recipe["pseudo_masks"]["bg"]
    refined, pseudo = found["refined_seed"], found["pseudo_mask"]
    assert (refined["crf"], refined["threshold"], refined["threshold_policy"]) == (True, confident["value"], "fixed")
    assert (pseudo["crf"], pseudo["refine"], pseudo["threshold"]) == (False, "irn", walk["value"])
    assert refined["crf_unary"] == "labels" and "crf_unary" not in pseudo
    for facts in found.values():
        assert facts["multi_scale"] == in_words(masked.recipe["cam"]["scales"]) and facts["weights"] == "none"


def test_masks_by_another_recipes_crf_need_no_seeds_of_ones_own(masked):
    confident = masked.recipe["seeds"]["confident"]
    masked.run("pseudo_masks", {"seeds": EVALUATED["seeds"]}, into="crf_masks", refine="crf")
    inputs = {"cam": EVALUATED["cam"], "classifier": EVALUATED["classifier"], "pseudo_masks": f"crf_masks/{INDEX}"}
    pseudo = scores_of(masked, inputs, refine="crf")["pseudo_mask"]
    assert (pseudo["crf"], pseudo["crf_unary"], pseudo["threshold"]) == (True, "labels", confident["value"])
    assert pseudo["multi_scale"] == in_words(masked.recipe["cam"]["scales"])


@pytest.mark.parametrize("stage, other", [("evaluation", "diagnosis.run.json"), ("diagnosis", "scores.json")])
def test_a_stage_leaves_what_the_other_one_writes_beside_it(masked, stage, other):
    """`evaluation` and `diagnosis` write into one folder at the same time."""
    folder = masked.task(stage, EVALUATED).folder
    folder.mkdir(exist_ok=True)
    (folder / f".{other}.123.tmp").write_text("half")
    inputs = EVALUATED if stage == "evaluation" else {"seeds": EVALUATED["seeds"]}
    assert masked.run(stage, inputs) == folder
    assert (folder / f".{other}.123.tmp").exists()


def test_scores_name_a_local_weights_file(masked, monkeypatch):
    """The models say it; a recipe's `weights: imagenet` alone does not make a file ImageNet's."""
    words = {"classifier": "local file mine.pth, sha256 ab", "affinity": "torchvision resnet18-f37072fd.pth"}
    monkeypatch.setattr(
        evaluation, "read_facts", lambda path: {"initial_weights": words[path.split("/")[-2]]}
    )
    found = scores_of(masked)
    assert found["seed"]["weights"] == words["classifier"]
    assert found["pseudo_mask"]["weights"] == "; ".join(words.values())


def test_facts_of_a_model_are_read_from_its_header(made):
    path = made.results / "classifier" / MODEL
    facts = read_facts(path)
    assert facts["initial_weights"] == "none" and facts["params"]["seed"] == 0
    for content in (b"", b"\xff" * 20, path.read_bytes()[:50]):
        (made.results / "broken").write_bytes(content)
        with pytest.raises(UserError, match="broken: not a readable model"):
            read_facts(made.results / "broken")
    (made.results / "broken").unlink()


def test_segmentation_scores_carry_the_segmentations_trunk(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", SIZES[:2], masks=True))
    table = chain.results / "manifest.csv"
    table.write_text(table.read_text().replace("train;trainaug", "trainaug;val"))
    chain.run("segmentation")
    chain.run("predictions", {"model": f"segmentation/{MODEL}"})
    files = {"predictions": f"predictions/{INDEX}", "segmentation": f"segmentation/{MODEL}"}
    out = chain.run("evaluation", files, backbones={"classifier": "a", "segmentation": "b"})
    stages = json.loads((out / "scores.json").read_text())["stages"]
    assert {v["provenance"]["backbone"] for v in stages.values()} == {"b"}
    whole = read_per_image(out / "per_image.csv")
    for figure, block in stages.items():
        assert miou(image_counts(whole, figure, 3)[1].sum(0)) == pytest.approx(block["miou"], abs=1e-4)
    for path in (chain.results.parent / "masks").glob("*.png"):
        write_mask(path, np.full_like(read_mask(path), 255))
    with pytest.raises(UserError, match="own: every pixel of the 2 masks of val is 255.*masks: 0 is background, 1 to 2 are the classes"):
        chain.run("evaluation", files, backbones={"classifier": "a", "segmentation": "b"})


def test_nothing_to_score_is_said_before_scoring(masked):
    with pytest.raises(UserError, match="no val images with masks.*ask for results/own/irn/predictions"):
        masked.run("evaluation", {"predictions": f"predictions/{INDEX}"}, into="none")
