"""A background map of the method's own, through the chain: files, seeds, walks, masks, scores, pages, what is refused."""

import runpy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from helpers import REPOSITORY, Chain, add_method, copy_project, edit, folder_dataset, snakemake
from wsss.data.labels import label_facts
from wsss.data.manifest import load_manifest
from wsss.engine.atomic import read_json, write_json
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import cuts_higher, settle
from wsss.imports.cams import import_cams
from wsss.imports.export import export_cams
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.images import image_size
from wsss.io.masks import read_mask
from wsss.recipes.config import Config
from wsss.recipes.merge import merge
from wsss.recipes.net_options import has_bg_map, needs
from wsss.refine.affinity_walk import affinitynet_semantic
from wsss.refine.random_walk import irn_scores, irn_semantic
from wsss.report.tables import group, methods_table, stability_table
from wsss.score.write import write_miou
from wsss.sections.background import Background, Rule
from wsss.stages import panels

SIZE, GRID = (32, 40), (4, 5)
FACTS = {"form": "sum", "geometry": "stretch", "norm": "max", "scales": [1.0, 2.0], "bg_map": True}
CAM = {"cam": "cam/index.json"}


def image(name, labels):
    """What a reader knows of an image."""
    return SimpleNamespace(id=name, labels=labels)


def rows_of(seed, rows=3):
    """Maps of two scales, background first and nearly flat, as cosines are."""
    rng = np.random.default_rng(seed)
    maps = [rng.random((rows, h, w)).astype(np.float32) for h, w in (GRID, (8, 10))]
    for one in maps:
        one[0] = 0.95 + 0.05 * one[0]
    return maps


def by_hand(maps, size=SIZE):
    """Each map stretched, summed over scales, and divided by its maximum."""
    total = sum(F.interpolate(torch.from_numpy(one)[None], size, mode="bilinear", align_corners=False)[0] for one in maps).numpy()
    return total / (total.max((1, 2), keepdims=True) + 1e-5)


# --- files ---------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    """A folder with the CAM of `a`, of classes 0 and 2; the image `b` has none."""
    write_cam(tmp_path / "a.npz", (0, 2), rows_of(1))
    write_cam(tmp_path / "b.npz", (), [np.zeros((0, *GRID), np.float32)] * 2)
    return CamFolder.of(tmp_path / "index.json", {**FACTS, "classes": ["x", "y", "z"]})


def test_the_background_is_read_as_the_classes_are(stored):
    cam, bg_map = stored.both_at(image("a", (0, 2)), SIZE)
    expected = by_hand(rows_of(1))
    np.testing.assert_allclose(bg_map, expected[0], atol=2e-4)
    np.testing.assert_allclose(cam, expected[1:], atol=2e-3)
    assert np.array_equal(stored.at(image("a", (0, 2)), SIZE), cam)
    grids = stored.both_on_grid(image("a", (0, 2)), SIZE)
    assert [one.shape for one in grids] == [(2, 8, 10), (8, 10)]
    assert read_cam(stored.folder / "a.npz").maps[0].dtype == np.float32


def test_an_image_without_labels_has_no_map(stored):
    cam, bg_map = stored.both_at(image("b", ()), SIZE)
    assert cam.shape == (0, *SIZE) and bg_map is None


def test_files_and_index_must_agree(stored, tmp_path):
    write_cam(tmp_path / "a.npz", (0, 2), rows_of(1, rows=2))
    with pytest.raises(UserError, match="a.npz: holds no background map, and its index says otherwise"):
        stored.at(image("a", (0, 2)), SIZE)
    plain = CamFolder.of(tmp_path / "index.json", {**FACTS, "bg_map": False, "classes": ["x", "y", "z"]})
    assert plain.both_at(image("a", (0, 2)), SIZE)[1] is None
    write_cam(tmp_path / "a.npz", (0, 2), rows_of(1))
    with pytest.raises(UserError, match="a.npz: holds a background map, and its index says otherwise"):
        plain.at(image("a", (0, 2)), SIZE)
    with pytest.raises(UserError, match="CAMs of form softmax cannot have bg_map True"):
        CamFolder.of(tmp_path / "index.json", {**FACTS, "form": "softmax", "classes": []})


# --- walks ---------------------------------------------------------------------------------------------


def test_irn_walks_the_background_with_the_classes():
    rng = np.random.default_rng(3)
    cam, bg_map, edge = rng.random((2, 8, 10)), rng.random((8, 10)), rng.random((8, 10)) * 0.5
    cam, bg_map, edge = (one.astype(np.float32) for one in (cam, bg_map, edge))
    walk = {"power": 1.5, "exp_times": 3, "radius": 3}
    for scale in (1.0, 0.5):
        found = irn_semantic(cam, edge, SIZE, (0, 2), Rule("map", scale), bg_map, **walk)
        walked = [irn_scores(one[None], edge, SIZE, normalise="per_class", **walk)[0] for one in (bg_map, *cam)]
        # One by one each loses its height to the norm; what the walk makes of a map is linear in it.
        heights = [raw_peak(one, edge, walk) for one in (scale * bg_map, *cam)]
        largest = np.argmax([one * height for one, height in zip(walked, heights, strict=True)], axis=0)
        assert (found != np.array([0, 1, 3])[largest]).mean() < 0.01 and len(np.unique(found)) > 1


def raw_peak(one, edge, walk):
    """Height of a walked map, from its walk beside a map of known height."""
    both = irn_scores(np.stack([one, np.ones_like(one)]), edge, SIZE, **walk)
    return both[0].max() / both[1].max()


def test_no_class_is_background():
    nothing = np.zeros((0, 8, 10), np.float32)
    assert not irn_semantic(nothing, nothing.sum(0), SIZE, (), Rule("map", 1.0)).any()


def test_affinitynet_walks_it_too():
    cam = np.full((1, *SIZE), 0.5, np.float32)
    features = torch.randn(8, 4, 5, generator=torch.Generator().manual_seed(0))
    for height, expected in ((0.9, 0), (0.1, 3)):
        bg_map = np.full(SIZE, height, np.float32)
        made = affinitynet_semantic(cam, features, (2,), Rule("map", 1.0), exp_times=2, radius=2, bg_map=bg_map)
        assert (made == expected).all()


# --- recipes -------------------------------------------------------------------------------------------


def recipe(folder, name="sipe", dataset="voc12"):
    return Config(folder, yaml.safe_load((folder / "config.yaml").read_text())).recipe(name, dataset)


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("WSSS_TEST_DATA", "/data")
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    return tmp_path / "config"


@pytest.mark.parametrize("dataset", ["demo_tiny", "demo", "voc_mini", "coco14"])
def test_presets_leave_it_what_it_has(config, dataset):
    found = recipe(config, dataset=dataset)
    assert found["seeds"]["confident"] == found["pseudo_masks"]["bg"] == {"kind": "map"}
    assert found["seeds"]["unsure"] == {"kind": "map", "scale": 0.5}
    assert found["evaluation"] == {"bg": {"kind": "map"}, "policy": "map"}


REFUSED = [
    ("cam", {"seeds": {"confident": {"kind": "map"}}}, "seeds.confident: the CAMs have no background map; set kind: const or power"),
    ("cam", {"evaluation": {"bg": {"kind": "map"}, "policy": "map"}}, "evaluation.bg: the CAMs have no background map"),
    ("irn", {"pseudo_masks": {"bg": {"kind": "map"}}}, "pseudo_masks.bg: the CAMs have no background map"),
    ("sipe", {"seeds": {"unsure": {"kind": "const", "value": 0.1}}}, "seeds.unsure: the CAMs have a background map .* set {kind: map}"),
    ("sipe", {"pseudo_masks": {"bg": {"kind": "const", "value": "found"}}}, "pseudo_masks.bg: the CAMs have a background map"),
    ("sipe_crf", {"evaluation": {"bg": {"kind": "const", "value": 0.2}, "policy": "fixed"}}, "evaluation.bg: the CAMs have a background map"),
    ("sipe", {"evaluation": {"policy": "found"}}, "evaluation.policy: with bg of kind map it must be map"),
    ("cam", {"evaluation": {"policy": "map"}}, "evaluation.policy: with bg of kind const it must be fixed, best_on_train_gt or found"),
    ("sipe", {"seeds": {"confident": {"value": "found"}}}, "seeds.confident: kind map has no threshold; take value out"),
    ("sipe", {"seeds": {"unsure": {"scale": 1.5}}}, "unsure .map 1.5. leaves less foreground than confident .map.*lower scale"),
    ("cam", {"seeds": {"unsure": {"scale": 0.5}}}, "seeds.unsure: scale goes with kind map"),
    ("cam", {"seeds": {"unsure": {"kind": "power"}}}, "seeds.unsure: kind power needs value"),
    ("sipe", {"seeds": {"unsure": {"scale": 0}}}, "seeds.unsure.scale: 0"),
]


@pytest.mark.parametrize("name, change, words", REFUSED)
def test_a_background_that_does_not_fit_is_refused(config, name, change, words):
    def apply(content):
        for stage, values in change.items():
            content[stage] = merge(content.get(stage, {}), values)

    edit(config / f"methods/{name}.yaml", apply)
    with pytest.raises(UserError, match=words):
        recipe(config, name)


def test_what_a_dataset_lays_on_it_counts(config):
    edit(config / "datasets/demo.yaml", lambda c: c.update(overrides={"sipe": {"seeds": {"unsure": {"scale": 0.7}}}}))
    assert recipe(config, dataset="demo")["seeds"]["unsure"] == {"kind": "map", "scale": 0.7}
    edit(config / "datasets/demo.yaml", lambda c: c.update(overrides={"sipe": {"evaluation": {"policy": "found"}}}))
    with pytest.raises(UserError, match="evaluation.policy"):
        recipe(config, dataset="demo")


def test_another_kind_replaces_a_rule():
    old = {"seeds": {"unsure": {"kind": "const", "value": "found", "shift": -0.5}}}
    assert merge(old, {"seeds": {"unsure": {"kind": "map"}}}) == {"seeds": {"unsure": {"kind": "map"}}}
    kept = merge(old, {"seeds": {"unsure": {"kind": "const", "shift": -0.2}}})
    assert kept == {"seeds": {"unsure": {"kind": "const", "value": "found", "shift": -0.2}}}


def test_rules_are_settled_and_compared():
    whole, half = Background(kind="map"), Background(kind="map", scale=0.5)
    assert settle(whole) == Rule("map", 1.0) and settle(half).value == 0.5
    assert cuts_higher(whole, half) and not cuts_higher(half, whole)


MINE = """from wsss.methods.cam import CAM
from wsss.methods.base import Spec


class Base(CAM):
    @classmethod
    def spec_for(cls, options=None):
        return Spec(stride=16, bg_map={value})


class Mine(Base):
    pass
"""


def test_a_newcomer_has_one_by_one_module_and_one_recipe(config, tmp_path, monkeypatch):
    add_method(monkeypatch, tmp_path, MINE.format(value="True"))
    assert has_bg_map("mine") and not has_bg_map("eps") and not has_bg_map("seam")
    own = {"seeds": {"confident": {"kind": "map"}, "unsure": {"kind": "map", "scale": 0.5}}}
    own["evaluation"] = {"bg": {"kind": "map"}, "policy": "map"}
    (config / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": "cam", "net": "mine", **own}))
    for dataset in ("demo_tiny", "demo", "voc_mini"):
        assert recipe(config, "mine", dataset)["seeds"]["confident"] == {"kind": "map"}
    (config / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": "cam", "net": "mine"}))
    with pytest.raises(UserError, match="mine.yaml: evaluation.bg: the CAMs have a background map"):
        recipe(config, "mine", "demo")
    by_place = MINE.format(value="True").replace("stride=16, bg_map=True", "16, True")
    elsewhere = MINE.format(value="True").replace("return Spec(stride=16, bg_map=True)", "return SPEC")
    mixed = MINE.format(value="True").replace("Mine(Base)", "Mine(Other, Base)")
    kept = MINE.format(value="True").replace("return Spec(", "spec = Spec(").replace("bg_map=True)", "bg_map=True)\n        return spec")
    add_method(monkeypatch, tmp_path, kept)
    assert has_bg_map("mine")
    helper = MINE.format(value="True").replace("return Spec(stride=16, bg_map=True)", "return make(options)")
    unread = {MINE.format(value="options['x']"): "bg_map of Base", by_place: "Spec of Base", elsewhere: "Spec of Base", helper: "Spec of Base", mixed: "Mine has several bases"}
    for text, words in unread.items():
        add_method(monkeypatch, tmp_path, text)
        with pytest.raises(UserError, match=f"{words}.* cannot be read without running it; "):
            has_bg_map("mine")


@pytest.mark.parametrize("written", ['NEED', 'frozenset("saliency")', 'frozenset({"saliency"}) if options else frozenset()', 'base.needs | {"saliency"}'])
def test_needs_that_are_not_written_plainly(monkeypatch, tmp_path, written):
    """Half of them would plan a training without its maps, and no key of the recipe could mend it."""
    add_method(monkeypatch, tmp_path, MINE.format(value="False").replace("bg_map=False", f"needs={written}"))
    needs.cache_clear()
    with pytest.raises(UserError, match="needs of Base cannot be read without running it; write needs=frozenset"):
        needs("mine")
    needs.cache_clear()


def test_the_cams_of_another_recipe_count(config):
    edit(config / "methods/sipe_crf.yaml", lambda c: c.update(cam={"from": "cam"}))
    with pytest.raises(UserError, match="sipe_crf.yaml: evaluation.bg: the CAMs have no background map"):
        recipe(config, "sipe_crf")


# --- stages --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three photos with CAMs of SIPE's kind and one without a label; seeds, masks and scores of them, without a walk."""
    root = tmp_path_factory.mktemp("made") / "own"
    chain = Chain(folder_dataset(root, (SIZE, (40, 32), (33, 47), SIZE), unlabelled=(3,), masks=True), "sipe")
    records = records_of(chain)
    for number, record in enumerate(records):
        maps = rows_of(number, rows=2) if record.labels else [np.zeros((0, *GRID), np.float32)] * 2
        write_cam(chain.results / f"cam/{record.id}.npz", record.labels, maps)
    index = {**FACTS, "ids": [r.id for r in records], "suffixes": [".npz"]}
    write_json(chain.results / "cam/index.json", {**index, **label_facts(load_manifest(chain.results / "manifest.csv"))})
    chain.run("seeds", CAM)
    chain.run("pseudo_masks", CAM, refine="none", settings={"bg": {"kind": "map"}})
    return chain


def records_of(chain):
    return load_manifest(chain.results / "manifest.csv").split("trainaug")


def expected_seed(record, number, scale=1.0):
    if not record.labels:
        return np.zeros(image_size(record.image), np.uint8)
    bg_map, cam = by_hand(rows_of(number, rows=2), image_size(record.image))
    return np.where(cam > scale * bg_map, record.labels[0] + 1, 0).astype(np.uint8)


def test_masks_are_the_argmax_beside_the_map(made):
    for number, record in enumerate(records_of(made)):
        mask = read_mask(made.results / f"pseudo_masks/{record.id}.png")
        assert (mask != expected_seed(record, number)).mean() < 0.01


def test_seeds_start_from_whole_and_half_the_map(made):
    for record in records_of(made)[:3]:
        sure, unsure = (read_mask(made.results / f"seeds/{record.id}{end}") for end in (".png", ".unsure.png"))
        assert 0 <= (sure > 0).mean() < (unsure > 0).mean()
    last = records_of(made)[3]
    assert not read_mask(made.results / f"seeds/{last.id}.unsure.png").any()


@pytest.fixture(scope="module")
def scores(made):
    inputs = {**CAM, "seeds": "seeds/index.json", "pseudo_masks": "pseudo_masks/index.json"}
    folder = made.run("evaluation", inputs, refine="none")
    return folder, read_json(folder / "scores.json")


def test_scores_say_that_there_is_no_threshold(made, scores):
    folder, content = scores
    seed, total = content["stages"]["seed"], np.zeros((3, 3), np.int64)
    for number, record in enumerate(records_of(made)):
        np.add.at(total, (read_mask(record.mask), expected_seed(record, number)), 1)
    iou = np.diagonal(total) / (total.sum(0) + total.sum(1) - np.diagonal(total))
    assert seed["miou"] == seed["map"]["miou"] == pytest.approx(100 * iou.mean(), abs=0.5)
    assert not {"fixed", "found", "best_on_train_gt", "sweep"} & set(seed)
    assert "threshold" not in seed["provenance"] and seed["provenance"]["threshold_kind"] == "map"
    text = (folder / "miou.txt").read_text()
    assert "map" in text and "none: the largest of the classes' maps and the background's own" in text
    assert (folder / "sweep.csv").read_text() == "threshold,miou,precision,recall\n"
    assert content["stages"]["refined_seed"]["provenance"]["threshold_policy"] == "map"


def test_pages_show_the_figure_beside_the_others(scores, tmp_path):
    content = scores[1]
    methods = group({"sipe": content})
    assert "background map" in methods_table(methods).head[2].text and stability_table(methods) is None
    write_miou(tmp_path / "miou.txt", "own", "sipe", content["stages"])
    block = content["stages"]["seed"]["map"]
    cut = runpy.run_path(str(REPOSITORY / "benchmarks/_recipes.py"))["cut"]
    assert cut(block) == f"{block['miou']:.1f} (map)" and cut(None) == ""


def test_panels_show_the_seed(made):
    params = {"bg": {"kind": "map"}, "panel_count": 2}
    files = {"manifest": "manifest.csv", **CAM}
    inputs = {name: str(made.results / path) for name, path in files.items()}
    task = Task("panels", inputs, {"index": str(made.results / "panels/index.json")}, params, {"device": "cpu"})
    panels.run(task)
    record = records_of(made)[0]
    pixels = np.zeros((*image_size(record.image), 3), np.uint8)
    cams = CamFolder.of(made.results / "cam/index.json", read_json(made.results / "cam/index.json"))
    shown = panels.columns(task, cams, Rule("map", 1.0), record, pixels)
    assert (shown["seed"] != expected_seed(record, 0)).mean() < 0.01
    assert (made.results / f"panels/{record.id}.png").is_file()


def test_there_is_no_cut_to_find(made):
    with pytest.raises(UserError, match="cam/index.json: the CAMs have a background map .* no threshold to find"):
        made.run("threshold", CAM)


@pytest.mark.parametrize("stage, settings", [("seeds", {"confident": {"kind": "const", "value": 0.3}}), ("pseudo_masks", {"bg": {"kind": "const", "value": 0.3}})])
def test_stages_refuse_a_rule_that_does_not_fit_what_they_read(made, stage, settings):
    """Planning does not know what imported CAMs have."""
    settings = {**(made.recipe[stage] if stage == "seeds" else {}), **settings}
    with pytest.raises(UserError, match="cam/index.json: background const: the CAMs have a background map"):
        made.run(stage, CAM, into="refused", refine="none", settings=settings)


def test_imports_keep_it_and_exports_refuse_it(made, tmp_path, monkeypatch):
    shutil.copytree(made.results, tmp_path / "results/own")
    monkeypatch.chdir(tmp_path)
    import_cams(tmp_path / "results/own/cam", "own", "theirs")
    index = read_json(tmp_path / "imports/own/theirs/cam/index.json")
    assert index["bg_map"] is True
    (first, *_) = records_of(made)
    ours, theirs = (CamFolder.of(path / "index.json", index).both_at(first, SIZE) for path in (made.results / "cam", tmp_path / "imports/own/theirs/cam"))
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))
    with pytest.raises(UserError, match="has a background map beside its classes"):
        export_cams(tmp_path / "results/own/cam", tmp_path / "out", "own")


def test_asking_for_its_threshold_is_refused_when_planned(tmp_path):
    project = copy_project(tmp_path / "project")
    done = snakemake(project, "-n", "results/demo_tiny/sipe/threshold/threshold.json")
    assert done.returncode and "method sipe: the CAMs have a background map" in done.stdout + (done.stderr or "")
