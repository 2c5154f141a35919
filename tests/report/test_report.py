"""Panels, plots and pages: they show what is there, leave out what is not, and come out the same twice."""

import csv
import io
import json
import re
import warnings
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from wsss.engine.atomic import write_text
from wsss.errors import UserError
from wsss.report import gallery, layers, pages, panels, plots
from wsss.report.repeats import spread
from wsss.report.template_version import template_version
from wsss.score.confusion import summarise
from wsss.score.sweep import Sweep
from wsss.score.thresholds import seed_stage
from wsss.score.write import write_scores, write_sweep

CLASSES = ["cat", "<b>&dog"]


def make_scores(folder, name, seed, shift=0):
    rng = np.random.default_rng(seed)
    sweep = Sweep(2)
    gt = rng.integers(0, 3, (12, 10)).astype(np.uint8)
    cam = np.stack([(gt == k + 1) * 0.5 + 0.5 * rng.random(gt.shape) for k in range(2)]).astype(np.float32)
    sweep.add(cam, [0, 1], gt)
    conf = np.array([[90, 5, 5, 0], [5, 30 + shift, 0, 10], [0, 0, 20, 0]], np.int64)
    stages = {
        "seed": seed_stage(sweep.result(), CLASSES, 0.15),
        "segmentation": {
            **summarise(conf, CLASSES),
            "provenance": {"split": "val", "seed": seed, "crf": False},
        },
    }
    write_scores(folder / f"{name}.json", "demo", name, stages)
    write_sweep(folder / f"{name}.csv", sweep.result(), CLASSES)
    write_text(folder / f"{name}.history.csv", "step,lr,total\n0,0.1,0.7\n1,0.05,\n2,0.01,0.4\n")
    return {
        "name": name, "scores": folder / f"{name}.json", "sweep": folder / f"{name}.csv",
        "history": {"classifier": folder / f"{name}.history.csv"},
    }  # fmt: skip


def make_inputs(folder):
    entry = make_scores(folder, "cam", 0)
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    layers.write_layers(folder / "a b#é.npz", image, {"ground_truth": np.ones((20, 30), np.uint8), "seed": np.zeros((20, 30), np.uint8)})
    entry["panels"] = {"a b#é": folder / "a b#é.npz"}
    methods = [make_scores(folder, "cam.seed1", 1, 20), make_scores(folder, "amn", 2, 40), entry]
    return {"dataset": "demo & co", "classes": CLASSES, "methods": methods}


def make_diagnosis(folder, name, **changes):
    """A diagnosis.json; returns its path."""
    trained = {"photos": 9, "steps": 16, "batch_size": 4, "passes": 7.1, "photos_of": {"cat": 9}}
    stage = {
        "photos": 9, "of": 9, "foreground": 96.2, "unsure": 12.5, "all_foreground": 70.0, "all_background": 0.0,
        "found": {"cat": 100.0}, "never": ["<b>&dog"],
    }  # fmt: skip
    content = {
        "dataset": "demo & co", "method": name.split(".")[0], "warnings": ["masks cover <96 %>"],
        "classifier": {"how": "none", "why": "no weights", "training": {}, "trained": trained},
        "classifiers": {}, "stages": {"seeds": stage}, "agreement": [], **changes,
    }  # fmt: skip
    write_text(folder / f"{name}.diagnosis.json", json.dumps(content))
    return folder / f"{name}.diagnosis.json"


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("href", "src")]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    inputs = make_inputs(folder)
    pages.build(inputs, folder / "out")
    return folder / "out", inputs


def test_every_link_leads_to_a_file_beside_the_page(site):
    out, _ = site
    assert {p.name for p in out.glob("*.html")} == {"index.html", "cam.html", "amn.html", "side-by-side.html"}
    for page in out.glob("*.html"):
        links = Links(page.read_text("utf-8")).found
        assert "style.css" in links
        for link in (link for link in links if not link.startswith("#")):
            assert "://" not in link and not link.startswith("/")
            assert (out / unquote(link)).is_file(), f"{page.name} -> {link}"


def test_names_are_escaped(site):
    out, _ = site
    text = (out / "index.html").read_text("utf-8")
    assert "demo &amp; co" in text and "<b>&dog" not in text


def test_table_has_mean_over_seeds_and_bold_best(site):
    out, _ = site
    rows = {r["method"]: r for r in csv.DictReader((out / "summary.csv").open())}
    assert list(rows) == ["cam", "amn"] and rows["cam"]["seeds"] == "2"
    assert float(rows["cam"]["segmentation_std"]) > 0 and rows["amn"]["segmentation_std"] == ""
    assert rows["cam"]["pseudo_mask"] == ""
    text = (out / "index.html").read_text("utf-8")
    assert f"<b>{float(rows['amn']['segmentation']):.1f}</b>" in text
    assert re.search(r">cam</a></th><td>2</td>.*±", text)
    assert "pseudo-mask<sup>" not in text  # no method has one, so no empty column


def test_the_ground_truth_yardstick_is_never_the_bold_best(tmp_path):
    entry = make_scores(tmp_path, "full", 0, 900)
    as_full = '"split": "val", "supervision": "ground-truth masks"'
    write_text(entry["scores"], entry["scores"].read_text().replace('"split": "val"', as_full))
    methods = [entry, make_scores(tmp_path, "cam", 0), make_scores(tmp_path, "amn", 0, 5)]
    pages.build({"dataset": "d", "classes": CLASSES, "methods": methods}, tmp_path)
    rows = {r["method"]: r for r in csv.DictReader((tmp_path / "summary.csv").open())}
    full, best = (float(rows[name]["segmentation"]) for name in ("full", "cam"))
    best = max(best, float(rows["amn"]["segmentation"]))
    assert full > best
    text = (tmp_path / "index.html").read_text("utf-8")
    assert f"<b>{best:.1f}</b>" in text and f"<b>{full:.1f}</b>" not in text


def test_one_method_is_no_race(tmp_path):
    pages.build({"dataset": "d", "classes": CLASSES, "methods": [make_scores(tmp_path, "cam", 0)]}, tmp_path)
    assert "<b>" not in (tmp_path / "index.html").read_text("utf-8")


def test_same_inputs_same_bytes(site, tmp_path):
    out, inputs = site
    pages.build(inputs, tmp_path / "again")
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    assert all((out / f).read_bytes() == (tmp_path / "again" / f).read_bytes() for f in files)


def test_only_scores_are_needed(tmp_path):
    entry = {k: v for k, v in make_scores(tmp_path, "cam", 0).items() if k in ("name", "scores")}
    pages.build({"dataset": "d", "classes": CLASSES, "methods": [entry]}, tmp_path / "out")
    assert not (tmp_path / "out" / "curves.svg").exists()
    assert "<h2>Training" not in (tmp_path / "out" / "index.html").read_text()


def test_missing_inputs_are_named(tmp_path):
    entry = make_scores(tmp_path, "cam", 0)
    for key in ("scores", "sweep"):
        with pytest.raises(UserError, match=f"gone.{key}"):
            inputs = {
                "dataset": "d",
                "classes": CLASSES,
                "methods": [{**entry, key: tmp_path / f"gone.{key}"}],
            }
            pages.build(inputs, tmp_path / "out")
    with pytest.raises(UserError, match="no method"):
        pages.build({"dataset": "d", "classes": [], "methods": []}, tmp_path / "out")


@pytest.mark.parametrize("size", [(1, 1), (33, 400), (60, 90)])
def test_panel_has_a_tile_per_given_column(tmp_path, size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*size, 3)).astype(np.uint8)
    label = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
    widths = []
    for columns in (
        {},
        {"seed": label, "prediction": None},
        {"cam": np.zeros((0, *size)), "ir_label": label},
    ):
        panels.write_panel(tmp_path / "p.png", image, columns, CLASSES)
        widths.append(Image.open(tmp_path / "p.png").width)
    tile = max(72, round(panels.TILE_HEIGHT * size[1] / size[0])) + panels.GAP
    assert widths[2] == 3 * tile + panels.GAP
    assert widths[0] <= widths[1] <= widths[2]


def test_overlay_keeps_labels_apart():
    image = np.full((8, 8, 3), 100, np.uint8)
    label = np.zeros((8, 8), np.uint8)
    label[:, 4:] = 1
    out = panels.overlay(image, label)
    assert (out[0, 0] == 60).all() and out[0, 6, 0] > out[0, 6, 1]
    assert (out[:, 3] == 255).all()  # the outline between the two


def test_panel_refuses_what_does_not_fit(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UserError, match="'mask' is unknown"):
        panels.write_panel(tmp_path / "p.png", image, {"mask": np.zeros((4, 4))}, CLASSES)
    with pytest.raises(UserError, match="seed is"):
        panels.write_panel(tmp_path / "p.png", image, {"seed": np.zeros((4, 5), np.uint8)}, CLASSES)


def test_curves_of_two_kinds_and_odd_names(tmp_path):
    flat = {"threshold": np.array([0.1, 0.2]), "miou": np.array([40.0, np.nan])}
    sweeps = {"a$b$": flat, "_c": {**flat, "kind": "power", "fixed": 0.1}}
    plots.curves(tmp_path / "c.svg", sweeps)
    plots.per_class(tmp_path / "p.svg", CLASSES, {"a$": {"cat": None, "background": spread([50.0])}})
    assert "<text" not in (tmp_path / "p.svg").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.per_class(tmp_path / "q.svg", ["猫"], {"a": {"猫": spread([50.0])}})
    assert ">猫</text>" in (tmp_path / "q.svg").read_text()  # letters that the plots' font lacks
    assert all((tmp_path / f).read_text().startswith("<?xml") for f in ("c.svg", "p.svg"))


def test_running_mean_keeps_length_and_constants():
    np.testing.assert_allclose(plots.smooth(np.full(123, 2.0)), 2.0)
    assert len(plots.smooth([])) == 0


def test_the_first_page_begins_with_the_diagnosis(tmp_path):
    entries = [make_scores(tmp_path, "cam", 0), make_scores(tmp_path, "cam.seed1", 1)]
    for entry in entries:
        entry["diagnosis"] = make_diagnosis(tmp_path, entry["name"])
    pages.build({"dataset": "d", "classes": CLASSES, "methods": entries}, tmp_path / "out")
    text = (tmp_path / "out/index.html").read_text("utf-8")
    assert 0 < text.index("<h2>Diagnosis</h2>") < text.index("<h2>Methods</h2>")
    assert text.count("<b>cam</b>: 1 warning<") == 1 and "<b>cam.seed1</b>: 1 warning<" in text  # a row a seed
    assert text.count("<li>masks cover &lt;96 %&gt;</li>") == 2 and text.count('<details class="warnings" open>') == 2
    assert "not known: no weights" in text and "refined seed 96.2" in text and "refined seed: &lt;b&gt;&amp;dog" in text
    assert "<h2>Diagnosis</h2>" in (tmp_path / "out/cam.html").read_text("utf-8")


def test_a_wrapped_classifiers_pseudo_labels_are_shown(tmp_path):
    """Shares by step, and their accuracy where the training images have masks, marked as using those."""
    plain, wrapped = (make_scores(tmp_path, name, seed) for seed, name in enumerate(("cam", "fsae_cam")))
    rows = "step,lr,total,base,consistency,confident,confident_fg,ring,expanded\n0,1,0.7,0.6,0.1,0.2,0.1,0.05,0.25\n"
    write_text(wrapped["history"]["classifier"], rows)
    accuracy = {"confident": 91.25, "confident_fg": 80.0, "ring": None, "expanded": 90.0}
    trained = {"photos": 9, "steps": 16, "batch_size": 4, "passes": 7.1, "photos_of": {"cat": 9}}
    check = {"how": "none", "why": "few", "training": {}, "trained": trained}
    facts = {**check, "pseudo_labels": {"photos": 9, "uses": "ground truth", "accuracy": accuracy}}
    plain["diagnosis"], wrapped["diagnosis"] = make_diagnosis(tmp_path, "cam"), make_diagnosis(tmp_path, "fsae_cam", classifier=facts)
    pages.build({"dataset": "d", "classes": CLASSES, "methods": [plain, wrapped]}, tmp_path / "out")
    index, own, other = ((tmp_path / f"out/{page}.html").read_text("utf-8") for page in ("index", "fsae_cam", "cam"))
    assert index.count('<details class="warnings">') == 2 and own.count('<details class="warnings" open>') == 1  # of many methods the table comes first
    for text in (index, own):
        assert "<h2>Pseudo-labels</h2>" in text and "confident fg, % right (uses ground truth)" in text and "80.0" in text
    assert "<h2>Pseudo-labels</h2>" not in other
    assert (tmp_path / "out/pseudo-training.svg").is_file() and (tmp_path / "out/pseudo-fsae_cam_training.svg").is_file()


def test_without_ground_truth_there_is_a_report_without_miou(site, tmp_path):
    scored = site[1]["methods"][-1]
    entry = {
        "name": "amn", "diagnosis": make_diagnosis(tmp_path, "amn", warnings=[]),
        "panels": scored["panels"], "history": scored["history"],
    }  # fmt: skip
    out = tmp_path / "out"
    pages.build({"dataset": "own", "classes": CLASSES, "methods": [entry]}, out)
    for page in ("index.html", "amn.html"):
        text = (out / page).read_text("utf-8")
        assert "<h2>Diagnosis</h2>" in text and "No warnings." in text and "training.svg" in text and "panels/amn/" in text
        assert "<h2>Methods</h2>" not in text and "per_class" not in text and "% mIoU" not in text
        assert all((out / unquote(link)).is_file() for link in Links(text).found if link != "#main")
    assert list(csv.DictReader((out / "summary.csv").open()))[0]["segmentation"] == ""


def test_an_edited_template_is_another_version(tmp_path):
    (tmp_path / "a.html").write_text("one")
    before = template_version(tmp_path)
    assert template_version(tmp_path) == before != template_version()
    (tmp_path / "a.html").write_text("two")
    assert template_version(tmp_path) != before


def write_image(folder, name, **columns):
    """A file of layers of a photo of 6 x 4; returns its path."""
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    layers.write_layers(folder / f"{name}.npz", image, columns)
    return folder / f"{name}.npz"


def test_layers_are_as_large_as_a_page_needs_and_read_back(tmp_path):
    label = np.zeros((900, 1200), np.uint8)
    label[:450] = 255
    cam = np.stack([np.full((900, 1200), v, np.float32) for v in (0.2, 0.6)])
    layers.write_layers(tmp_path / "a.npz", np.zeros((900, 1200, 3), np.uint8), {"seed": label, "cam": cam, "prediction": None})
    found = layers.read_layers(tmp_path / "a.npz")
    assert {k: v.shape for k, v in found.items()} == {"photo": (360, 480, 3), "seed": (360, 480), "cam": (360, 480)}
    assert set(np.unique(found["seed"])) == {0, 255} and set(np.unique(found["cam"])) == {153}
    assert layers.read_layers(write_image(tmp_path, "no_class", cam=np.zeros((0, 4, 6))))["cam"].max() == 0
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="a.npz: damaged"):
        layers.read_layers(tmp_path / "a.npz")


def test_a_layer_is_clear_where_it_says_nothing():
    label = np.array([[0, 0, 1, 1], [0, 0, 255, 255], [0] * 4, [0] * 4], np.uint8)
    shown = np.array(Image.open(io.BytesIO(layers.layer_png("seed", label))).convert("RGBA"))
    assert (shown[0, 0, 3], shown[3, 3, 3]) == (0, 0) and tuple(shown[0, 3]) == (128, 0, 0, 255)
    assert tuple(shown[0, 1]) == (255, 255, 255, 255)  # the outline
    heat = np.array(Image.open(io.BytesIO(layers.layer_png("cam", np.array([[0, 255]], np.uint8)))).convert("RGBA"))
    assert heat[0, 0, 3] < heat[0, 1, 3] == 255


def test_images_stand_side_by_side_with_their_own_iou(tmp_path):
    one = np.ones((4, 6), np.uint8)
    panels_of = {
        "cam": {"a": write_image(tmp_path, "a", seed=one, ground_truth=one), "b": write_image(tmp_path, "b", prediction=2 * one)},
        "amn": {"a": write_image(tmp_path, "a2", pseudo_mask=one), "b": write_image(tmp_path, "b2"), "c": write_image(tmp_path, "c")},
    }
    ious = {"cam": {"seed_best": {"a": 20.0}, "refined_seed": {"a": 31.26}}, "amn": {"pseudo_mask": {"a": 50.0}}}
    found = gallery.images(tmp_path / "out", CLASSES, panels_of, ious)
    first, second = found
    assert [(row["method"], row["iou"], row["figure"]) for row in first["rows"]] == [("cam", 31.3, "refined seed"), ("amn", 50.0, "pseudo-mask")]
    assert [c["name"] for c in first["columns"]] == ["seed", "pseudo_mask"] and first["truth"] and not second["truth"]
    assert [entry["name"] for entry in second["legend"]] == ["<b>&dog"] and second["rows"][0]["iou"] is None
    files = [first["photo"], first["truth"], second["photo"], *(path for i in found for row in i["rows"] for path in row["tiles"].values())]
    assert all((tmp_path / "out" / path).is_file() for path in files)
    assert [i["id"] for i in gallery.of_method(found, "amn")] == ["a"] and gallery.mean_iou(first) == pytest.approx(40.65)


def test_the_first_look_goes_from_the_worst_to_the_best():
    images = [{"id": k, "rows": [{"iou": k}]} for k in (50.0, 10.0, 90.0, 30.0, 70.0)]
    assert [i["id"] for i in gallery.few(images, 3)] == [10.0, 50.0, 90.0]
    unknown = [{"id": k, "rows": [{"iou": None}]} for k in range(5)]
    assert [i["id"] for i in gallery.few(unknown, 3)] == [0, 1, 2] and gallery.few(images[:2], 3) == images[:2]
