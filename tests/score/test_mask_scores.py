"""Scores of seeds and pseudo-masks alone, without a segmentation network."""

import json

from helpers import Chain, copy_project, folder_dataset, planned, snakemake

TARGET = "results/demo_tiny/{}/mask_scores/miou.txt"


def test_nothing_of_the_segmentation_is_planned(tmp_path):
    project = copy_project(tmp_path / "project")
    jobs = planned(project, TARGET.format("amn"))
    assert {"amn/mask_scores", "amn/pseudo_masks", "cam/cam"} <= jobs
    assert not {job for job in jobs if job.endswith(("/segmentation", "/predictions", "/evaluation"))}
    refused = snakemake(project, "-n", TARGET.format("full"))
    assert refused.returncode and "full makes no masks of training images" in refused.stdout


def test_val_images_are_left_out(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", ((64, 64),) * 4, masks=True))
    table = chain.results / "manifest.csv"
    table.write_text(table.read_text()[::-1].replace("train;trainaug"[::-1], "val"[::-1], 1)[::-1])
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"})
    out = chain.run("evaluation", {"cam": "cam/index.json", "classifier": "classifier/model.safetensors"}, into="mask_scores")
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["stages"]) == ["seed"] and scores["miou"] == scores["stages"]["seed"]["miou"]
    assert scores["stages"]["seed"]["provenance"]["split"] == "train (3 images)"
    assert (out / "miou.txt").read_text().splitlines()[1] == "of the seed (no segmentation score)"
