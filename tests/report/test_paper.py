"""The table of methods in the shape of papers."""

import json

import pytest
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.report.paper import HEAD, escaped, supervision, table
from wsss.stages import table as stage

SEED = {"miou": 49.96, "provenance": {"split": "train (9 images)", "threshold_policy": "fixed", "backbone": "resnet50", "supervision": "image labels"}}
LAST = {
    "split": "val (4 images)", "supervision": "image labels", "backbone": "resnet101", "weights": "ImageNet (torchvision)", "crf": True,
    "multi_scale": "0.5, 1.0, with mirror images",
}  # fmt: skip


def run(val, **last):
    return {"stages": {"seed": SEED, "segmentation": {"miou": val - 1, "provenance": {**LAST, "crf": False}}, "segmentation_crf": {"miou": val, "provenance": {**LAST, **last}}}}


def rows_of(markdown):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]


def test_markdown_has_what_papers_print():
    head, _, row = rows_of(table("demo", {"amn_seed": run(64.04)})[0])
    assert head == HEAD
    assert row == ["amn_seed", "I", "resnet50 / resnet101", "ImageNet (torchvision)", "50.0", "", "", "64.0", "", "✓", "✓"]


def test_latex_is_escaped_and_ticked():
    lines = table("demo", {"amn_seed": run(64.04)})[1].splitlines()
    assert r"amn\_seed & I & resnet50 / resnet101 & ImageNet (torchvision) & 50.0 &  &  & 64.0 &  & $\checkmark$ & $\checkmark$ \\" in lines
    assert lines[1] == r"\begin{tabular}{llllccccccc}" and len("llllccccccc") == len(HEAD)
    assert escaped("a_b & 50% {x}") == r"a\_b \& 50\% \{x\}"


def test_single_scale_and_no_crf_have_no_tick():
    content = run(64.0)
    del content["stages"]["segmentation_crf"]
    content["stages"]["segmentation"]["provenance"] |= {"multi_scale": "1.0, with mirror images"}
    row = rows_of(table("demo", {"cam": content})[0])[2]
    assert row[7:] == ["63.0", "", "", ""]


def test_ticks_are_of_the_last_stage_whatever_the_files_order():
    mask = {"miou": 55.0, "provenance": {**SEED["provenance"], "crf": True}}
    row = rows_of(table("demo", {"cam": {"stages": {"pseudo_mask": mask, "seed": {**SEED, "provenance": {**SEED["provenance"], "crf": False}}}}})[0])[2]
    assert row[4:] == ["50.0", "", "55.0", "", "", "", "✓"]


def test_seeds_give_a_mean_and_the_note_says_so():
    markdown, latex = table("demo", {"cam": run(64.0), "cam.seed1": run(66.0), "eps": run(70.0, supervision="image labels + saliency maps (given)")})
    rows = rows_of(markdown)
    assert rows[2][7] == "65.0 ± 1.4" and rows[3][1] == "I+S"
    assert r"65.0 $\pm$ 1.4" in latex and "standard deviation of a sample" in markdown and "n being 2 of cam, 1 of eps" in markdown
    assert "seed on train (9 images), val on val (4 images)" in markdown and "cut at the recipe's threshold (cam, eps)" in markdown


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        ("image labels", "I"), ("image labels + saliency maps (given)", "I+S"), ("ground-truth masks (full supervision)", "F"),
        ("image labels, and whatever the imported cam learnt from", "I+?"),
    ],
)  # fmt: skip
def test_supervision_in_letters(words, letters):
    assert supervision(words) == letters


def test_stage_writes_both(tmp_path):
    for name in ("cam", "eps"):
        (tmp_path / f"{name}.json").write_text(json.dumps(run(64.0)))
    scores = {name: str(tmp_path / f"{name}.json") for name in ("cam", "eps")}
    outputs = {"markdown": str(tmp_path / "table.md"), "latex": str(tmp_path / "table.tex")}
    stage.run(Task("table", {}, outputs, {"scores": scores, "dataset": "demo"}, {}))
    assert [row[0] for row in rows_of((tmp_path / "table.md").read_text())[2:]] == ["cam", "eps"]
    assert "\\bottomrule" in (tmp_path / "table.tex").read_text() and (tmp_path / "table.run.json").is_file()


def test_no_scores_is_said():
    with pytest.raises(UserError, match="no method has scores"):
        table("demo", {"cam": {"stages": {}}})
