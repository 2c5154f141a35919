"""Score files: what they hold, in which order, and that equal scores are equal bytes."""

import csv
import json

import numpy as np
import pytest
from wsss.errors import UserError
from wsss.score.confusion import summarise
from wsss.score.sweep import Sweep
from wsss.score.thresholds import seed_stage
from wsss.score.write import write_miou, write_scores, write_sweep

CLASSES = ["cat", "tv monitor"]
ORIGIN = {
    "split": "train (12 images)", "ground_truth": "SegmentationClass", "rule_255": "background", "crf": False,
    "multi_scale": [0.5, 1.0], "weights": "none", "seed": 0, "code_version": "abc123",
}  # fmt: skip


def sweep_result():
    sweep, rng = Sweep(2), np.random.default_rng(0)
    for _ in range(4):
        cam = rng.random((2, 9, 7)).astype(np.float32)
        sweep.add(cam, [0, 1], rng.integers(0, 3, (9, 7)).astype(np.uint8))
    return sweep.result()


def block(diagonal):
    conf = np.array([[90, 5, 5, 0], [5, diagonal, 0, 10], [0, 0, 20, 0]], np.int64)
    return {**summarise(conf, CLASSES), "provenance": dict(ORIGIN)}


def all_stages():
    return {
        "seed": seed_stage(sweep_result(), CLASSES, 0.15, found=0.3),
        "pseudo_mask": block(30),
        "segmentation": block(40),
        "segmentation_crf": block(50),
    }


def test_miou_txt_begins_with_the_score(tmp_path):
    stages = all_stages()
    write_miou(tmp_path / "miou.txt", "demo", "cam", stages)
    lines = (tmp_path / "miou.txt").read_text().splitlines()
    assert lines[0] == f"mIoU: {stages['segmentation_crf']['miou']:.1f}"
    assert lines[1] == f"without test-time CRF: {stages['segmentation']['miou']:.1f}"


def test_miou_txt_has_stages_classes_and_provenance(tmp_path):
    write_miou(tmp_path / "miou.txt", "demo", "cam", all_stages())
    text = (tmp_path / "miou.txt").read_text()
    starts = [line.split("  ")[0] for line in text.splitlines()]
    order = ["stage", "seed", "pseudo-mask", "segmentation", "segmentation + CRF", "IoU per class"]
    order += ["background", "cat", "tv monitor", "where the figures come from"]
    places = [starts.index(name) for name in order]
    assert places == sorted(places)
    assert "split train (12 images); ground truth SegmentationClass" in text
    assert "CRF no; multi-scale 0.5, 1.0; initial weights none; seed 0; code abc123" in text
    assert "classes in the mean 3" in text
    assert "best_on_train_gt" in text and "uses ground truth" in text


def test_miou_txt_names_boundaries_and_sizes(tmp_path):
    shapes = {"boundary_iou": 51.23, "size_iou": {"small": None, "medium": 20.0, "large": 61.0}, "objects": {"small": 0, "medium": 3, "large": 7}}
    write_miou(tmp_path / "miou.txt", "demo", "cam", {"seed": block(10), "segmentation": {**block(40), **shapes}})
    lines = (tmp_path / "miou.txt").read_text().splitlines()
    row = lines[next(i for i, line in enumerate(lines) if line.startswith("shapes")) + 1]
    assert row.split() == ["segmentation", "51.2", "-", "(0)", "20.0", "(3)", "61.0", "(7)"]
    assert sum("boundary IoU" in line for line in lines) == 1  # the seed has none


def test_first_line_without_crf_or_segmentation(tmp_path):
    path = tmp_path / "miou.txt"
    write_miou(path, "demo", "cam", {"segmentation": block(40)})
    assert path.read_text().splitlines()[1] == ""
    write_miou(path, "demo", "cam", {"pseudo_mask": block(40)})
    assert "no segmentation score" in path.read_text().splitlines()[1]


def test_scores_json(tmp_path):
    stages = all_stages()
    write_scores(tmp_path / "a.json", "demo", "cam", stages)
    write_scores(tmp_path / "b.json", "demo", "cam", all_stages())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    scores = json.loads((tmp_path / "a.json").read_text())
    assert set(scores) == {"dataset", "method", "miou", "stages"}
    assert scores["miou"] == pytest.approx(stages["segmentation_crf"]["miou"], abs=1e-4)
    wanted = {"miou", "per_class", "precision", "recall", "coverage", "provenance", "miou_by_rule"}
    assert all(wanted <= set(stage) for stage in scores["stages"].values())
    assert {"fixed", "best_on_train_gt", "found", "sweep"} <= set(scores["stages"]["seed"])


def test_undefined_figures_are_null_and_a_dash(tmp_path):
    empty = {**summarise(np.zeros((3, 4), np.int64), CLASSES), "provenance": {}}
    write_scores(tmp_path / "s.json", "demo", "cam", {"segmentation": empty})
    write_miou(tmp_path / "m.txt", "demo", "cam", {"segmentation": empty})
    assert json.loads((tmp_path / "s.json").read_text())["miou"] is None
    assert (tmp_path / "m.txt").read_text().startswith("mIoU: -\n")


def test_sweep_csv_reads_back(tmp_path):
    result = sweep_result()
    write_sweep(tmp_path / "sweep.csv", result, CLASSES)
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert list(rows[0]) == ["threshold", "miou", "precision", "recall", "background", *CLASSES]
    assert len(rows) == 100
    np.testing.assert_allclose([float(r["miou"]) for r in rows], result.miou, atol=1e-4)
    np.testing.assert_allclose([float(r["threshold"]) for r in rows], result.values)


def test_unknown_or_no_stage(tmp_path):
    with pytest.raises(UserError, match="seeds"):
        write_scores(tmp_path / "s.json", "demo", "cam", {"seeds": block(1)})
    with pytest.raises(UserError, match="at least one of"):
        write_miou(tmp_path / "m.txt", "demo", "cam", {})
    assert list(tmp_path.iterdir()) == []
