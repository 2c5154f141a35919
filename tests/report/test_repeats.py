"""Several seeds of a method: mean and spread in tables and curves, and what is shared is made once."""

import csv
import re
import statistics

import numpy as np
import pytest
import yaml
from helpers import REPOSITORY, copy_project, rules_of, shorten, snakemake
from test_report import CLASSES, make_scores
from wsss.engine.atomic import read_json
from wsss.report import pages, plots, tables
from wsss.report.cells import Cell
from wsss.report.repeats import mean_curve, spread
from wsss.rownames import seed_number


def scores(miou, seed):
    block = {"miou": miou, "per_class": {"cat": miou}, "provenance": {"split": "val", "seed": seed}}
    return {"miou": miou, "stages": {"segmentation": block}}


RUNS = {"amn": scores(50.0, 0), "amn.seed10": scores(56.0, 10), "amn.seed2": scores(53.0, 2), "cam": scores(40.0, 0)}


def test_the_spread_is_that_of_a_sample():
    found = spread([50.0, None, 56.0, np.nan, 53.0])
    assert (found.mean, found.std, found.n) == (53.0, 3.0, 3)  # over n it would be 2.449
    assert spread([4.0]).std is None and spread([None]) is None


def test_tables_give_mean_spread_and_number():
    methods = tables.group(RUNS)
    text = tables.summary_txt("voc12", methods).splitlines()
    assert text[0] == "mIoU in percent on voc12; mean ± standard deviation of a sample (n - 1) over n seeds"
    assert [line.split("  ") for line in map(str.strip, text[2:])] == [
        ["method", "n", "segmentation"],
        ["amn", "", " 3", "53.0 ± 3.0"],
        ["cam", "", " 1", "40.0"],
    ]
    row = next(csv.DictReader(tables.summary_csv("voc12", methods).splitlines()))
    assert (row["seeds"], row["segmentation"], row["segmentation_std"]) == ("3", "53.0000", "3.0000")
    rows = tables.methods_table(methods).rows
    assert rows[0][1:] == [3, Cell("53.0", soft="± 3.0", is_best=True)] and rows[1][1:] == [1, Cell("40.0")]


def test_a_figure_that_a_seed_lacks_says_of_how_many_it_is():
    runs = {**RUNS, "amn.seed3": {"miou": 1.0, "stages": {"segmentation": {"miou": None, "per_class": {}}}}}
    methods = tables.group(runs)
    assert "53.0 ± 3.0 (n = 3)" in tables.summary_txt("d", methods)
    assert tables.methods_table(methods).rows[0][2].soft == "± 3.0 (n = 3)"


def test_seeds_are_in_the_order_of_their_numbers():
    assert sorted(RUNS, key=seed_number) == ["amn", "cam", "amn.seed2", "amn.seed10"]
    assert [run["miou"] for run in tables.group(RUNS)[0].runs] == [50.0, 53.0, 56.0]
    assert "seed 0, 2, 10 (amn), 0 (cam)" in tables.methods_sources(tables.group(RUNS)).notes[0]


def test_one_seed_each_has_no_spread():
    methods = tables.group({"amn": RUNS["amn"], "cam": RUNS["cam"]})
    assert "±" not in tables.summary_txt("d", methods) and not any(row[2].soft for row in tables.methods_table(methods).rows)


def test_a_mean_curve_stands_where_all_seeds_have_a_value():
    first = {
        "threshold": np.array([0.1, 0.2, 0.3]),
        "miou": np.array([10.0, 20.0, np.nan]),
        "kind": "const",
        "fixed": 0.2,
    }
    other = {"threshold": np.array([0.1, 0.15, 0.2, 0.3]), "miou": np.array([14.0, 0.0, 26.0, 5.0]), "kind": "const"}
    assert mean_curve([first]) is first
    mean = mean_curve([first, other])
    np.testing.assert_allclose(mean["threshold"], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(mean["miou"], [12.0, 23.0, np.nan])
    np.testing.assert_allclose(mean["std"][:2], [statistics.stdev([10, 14]), statistics.stdev([20, 26])])
    assert (mean["n"], mean["fixed"]) == (2, 0.2)


def test_several_seeds_have_a_band(tmp_path):
    one = {"threshold": np.array([0.1, 0.2]), "miou": np.array([40.0, 44.0])}
    plots.curves(tmp_path / "one.svg", {"cam": mean_curve([one])})
    plots.curves(tmp_path / "two.svg", {"cam": mean_curve([one, {**one, "miou": one["miou"] + 2}])})
    bands = [(tmp_path / name).read_text().count("FillBetween") for name in ("one.svg", "two.svg")]
    assert bands == [0, 1]


def test_pages_show_all_seeds(tmp_path):
    entries = [make_scores(tmp_path, name, number, 40 * number) for number, name in enumerate(["cam", "cam.seed1"])]
    pages.build({"dataset": "d", "classes": CLASSES, "methods": entries}, tmp_path / "out")
    values = [read_json(entry["scores"])["miou"] for entry in entries]
    mean, std = statistics.fmean(values), statistics.stdev(values)
    assert std > 1
    text = (tmp_path / "out/cam.html").read_text("utf-8")
    assert re.search(rf'class="big">{mean:.1f} <span class="soft">± {std:.1f}</span></span>.*n = 2', text)
    assert "seed 0, 1" in text and not (tmp_path / "out/cam.seed1.html").exists()
    assert f"{mean:.1f} ± {std:.1f}" in (tmp_path / "out/summary.txt").read_text("utf-8")


def test_what_seeds_share_is_planned_once(tmp_path):
    (tmp_path / "stand-in.params").touch()
    settings = [
        "datasets=[voc12]",
        "methods=[cam, eps]",
        "seeds=[0, 1, 2]",
        f"weights={{resnet38d: {tmp_path}/stand-in.params}}",
    ]
    done = snakemake(REPOSITORY, "-n", "--directory", str(tmp_path), "--quiet", "rules", "--config", *settings)
    assert done.returncode == 0, done.stdout
    jobs = rules_of(done.stdout)
    assert [jobs[rule] for rule in ("dataset", "saliency", "report")] == [1, 1, 1]
    assert (jobs["download"], jobs["weights"]) == (2, 4)  # VOC and SBD; three backbones, and the one that saliency is made with
    assert [jobs[rule] for rule in ("classifier", "cam", "evaluation")] == [6, 6, 6]
    assert jobs["panels"] == 2  # pictures are those of the first seed


@pytest.mark.slow
def test_two_seeds_from_nothing_to_the_report(tmp_path):
    project = shorten(copy_project(tmp_path / "clone"))
    done = snakemake(
        project, "--cores", "2", "--config", "datasets=[demo_tiny]", "methods=[cam]", "seeds=[0, 1]", timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:]
    folder = project / "results/demo_tiny"
    values = [read_json(folder / name / "scores.json")["miou"] for name in ("cam", "cam.seed1")]
    models = [(folder / name / "classifier/model.safetensors").read_bytes() for name in ("cam", "cam.seed1")]
    assert models[0] != models[1]
    row = next(csv.DictReader((folder / "report/summary.csv").open()))
    assert row["seeds"] == "2"
    assert float(row["segmentation_crf"]) == pytest.approx(statistics.fmean(values), abs=1e-3)
    assert float(row["segmentation_crf_std"]) == pytest.approx(statistics.stdev(values), abs=1e-3)
    assert "FillBetween" in (folder / "report/curves.svg").read_text()
    assert yaml.safe_load((project / "config/config.yaml").read_text())["seeds"] == [0]  # a file of one seed still
