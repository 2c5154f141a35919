"""Recipes that import a stage: what is allowed, what is planned, what scores say, and the whole way once."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from helpers import REPOSITORY, copy_project, edit, planned, shorten, snakemake
from wsss.engine.atomic import write_json
from wsss.errors import UserError
from wsss.imports.cams import import_cams
from wsss.imports.masks import import_masks
from wsss.imports.weights import built, import_weights
from wsss.plan.imported_stages import described, import_file, require_import
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.recipes.config import Config, read_yaml

SEEDS = """
seeds:
  confident: {kind: const, value: 0.30}
  unsure: {kind: const, value: 0.05}
  crf_params: {gt_prob: 0.7, iterations: 10, sxy_gaussian: 3, compat_gaussian: 3, sxy_bilateral: 50, srgb: 5, compat_bilateral: 10}
ir_labels: {}
"""
MINE = "extends: irn\ncam: {import: mine}\n" + SEEDS


@pytest.fixture
def config(tmp_path):
    """A function that writes a recipe `new` into a copy of config/, and reads all."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")

    def of(text):
        (tmp_path / "config/methods/new.yaml").write_text(text)
        return Config(tmp_path / "config", read_yaml(tmp_path / "config/config.yaml"))

    return of


def test_an_imported_stage_has_no_settings(config):
    recipe = config(MINE).recipe("new", "demo_tiny")  # the preset has settings for cam, which are not laid on it
    assert recipe["cam"] == {"import": "mine"} and recipe["classifier"] == {"from": "cam"}
    with pytest.raises(UserError, match="unknown key scales in cam; allowed: from or import alone"):
        config("extends: cam\ncam: {import: mine, scales: [1.0]}\n").recipe("new", "demo")
    with pytest.raises(UserError, match="segmentation"):
        config("extends: cam\nsegmentation: {import: mine}\n").recipe("new", "demo")
    with pytest.raises(UserError, match="not allowed; allowed: \\[a-z0-9_\\]"):
        config("extends: cam\ncam: {import: ../up}\n").recipe("new", "demo")


def test_settings_of_a_dataset_for_an_imported_stage_are_refused(config, tmp_path):
    made = config(MINE)
    edit(tmp_path / "config/datasets/demo_tiny.yaml", lambda c: c.update(overrides={"new": {"cam": {"batch_size": 1}}}))
    with pytest.raises(UserError, match=r"cam is imported \(mine\); it has no settings here"):
        made.recipe("new", "demo_tiny")


def test_networks_that_nothing_would_use_are_refused(config):
    with pytest.raises(UserError, match="classifier is imported, but cam of recipe cam is taken"):
        config("extends: irn\nclassifier: {import: mine}\n").recipe("new", "demo")
    with pytest.raises(UserError, match="affinity: refine crf has no affinity network"):
        config("extends: cam\naffinity: {import: mine}\n").recipe("new", "demo")


def test_seeds_of_other_cams_are_refused(config):
    """irn takes its seeds from cam: with imported CAMs they would be those of others."""
    with pytest.raises(UserError, match="cam is imported, but seeds of recipe cam is taken"):
        config("extends: irn\ncam: {import: mine}\n").recipe("new", "demo")
    config("extends: irn\ncam: {import: mine}\npseudo_masks: {import: mine}\n").recipe("new", "demo")


def test_what_scores_rest_on(config, tmp_path):
    def behind(text, stage="predictions", name="new"):
        plan = Plan(config(text).folder, read_yaml(tmp_path / "config/config.yaml"))
        row = Row("demo_tiny", name)
        return {(owner.recipe, what) for owner, what in plan.behind(row, stage)}, plan.imports_behind(row, stage)

    links, imports = behind(MINE)
    assert imports == {"cam": ("mine",)} and ("new", "seeds") in links and ("cam", "seeds") not in links
    assert ("cam", "ir_labels") in behind(MINE, "cam", "amn")[0]
    walked = "extends: irn\nir_labels: {import: a}\naffinity: {import: b}\n"
    assert behind(walked, "pseudo_masks")[1] == {"affinity": ("b",)} and behind(walked, "cam")[1] == {}
    links, _ = behind("extends: cam\npseudo_masks: {import: a}\n")
    assert links == {("new", s) for s in ("predictions", "segmentation", "pseudo_masks")}
    assert behind(walked, name="full")[0] == {("full", "predictions"), ("full", "segmentation")}
    (tmp_path / "config/methods/other.yaml").write_text("extends: cam\ncam: {import: theirs}\n")
    assert behind("extends: eps_filled\ncam: {import: mine}\nseeds: {fill_from: other}\n")[1] == {"cam": ("mine", "theirs")}, "each is told"


def test_an_import_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "import_cams.py FOLDER --dataset voc12 --name mine"
    with pytest.raises(UserError, match=words):
        require_import("voc12", "mine", "cam")
    (tmp_path / "imports/voc12/mine/cam").mkdir(parents=True)
    write_json(import_file("voc12", "mine", "cam"), {"imported": {"source": "x", "sha256": "ab", "layout": "l"}})
    assert described("voc12", "mine", "cam") == "cam mine (l, from x, sha256 ab)"


# --- the workflow

RECIPES = {
    "mine": MINE,
    "labels": "extends: irn\nir_labels: {import: png}\n",
    "masks": "extends: cam\npseudo_masks: {import: png}\n",
    "seeded": "extends: cam\nseeds: {import: png}\n",
    "wrong": "extends: irn\nseeds: {import: png}\nir_labels: {}\n",
    "both": "extends: irn\nclassifier: {import: net}\naffinity: {import: net}\ncam: {scales: [1.0], batch_size: 4}\n" + SEEDS,
    "absent": "extends: cam\ncam: {import: nothing}\n" + SEEDS,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone with the dataset built, and CAMs and label PNGs of its ground truth imported."""
    root = shorten(copy_project(tmp_path_factory.mktemp("imports") / "clone"))
    for name, text in RECIPES.items():
        (root / f"config/methods/{name}.yaml").write_text(text)
    done = snakemake(root, "--cores", "1", "results/demo_tiny/manifest.csv")
    assert done.returncode == 0, done.stdout[-3000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        from_ground_truth(root)
        import_cams(root / "maps", "demo_tiny", "mine")
        for stage, method in (("classifier", "cam"), ("affinity", "irn")):
            recipe = Config(root / "config", read_yaml(root / "config/config.yaml")).recipe(method, "demo_tiny")
            torch.save(built(stage, recipe, 6)[1].state_dict(), root / f"{stage}.pth")
            import_weights(root / f"{stage}.pth", "demo_tiny", "net", stage, method, root / "config")
        for stage in ("seeds", "ir_labels", "pseudo_masks"):
            import_masks(root / "png", "demo_tiny", "png", stage)
    return root


def from_ground_truth(root):
    """maps/ID.npy and png/ID.png of every training image."""
    from wsss.data.manifest import load_manifest
    from wsss.io.masks import read_mask, write_mask

    (root / "maps").mkdir()
    for record in load_manifest(root / "results/demo_tiny/manifest.csv").split("trainaug"):
        mask = read_mask(record.mask)
        maps = {k: (mask == k + 1).astype(np.float32) for k in record.labels}
        np.save(root / f"maps/{record.id}.npy", np.array(maps, dtype=object), allow_pickle=True)
        write_mask(root / f"png/{record.id}.png", mask)


def test_an_imported_cam_is_a_row_of_its_own(project):
    """From the pickled dicts through refinement to scores, with its origin in every line."""
    target = "results/demo_tiny/mine/mask_scores/miou.txt"
    done = snakemake(project, "--cores", "2", target, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:]
    scores = json.loads((project / target).with_name("scores.json").read_text())
    index = json.loads((project / "imports/demo_tiny/mine/cam/index.json").read_text())
    assert set(scores["stages"]) == {"seed", "refined_seed", "pseudo_mask"}
    for stage in scores["stages"].values():
        assert index["imported"]["sha256"] in stage["provenance"]["imported"]
        assert "whatever the imported cam learnt from" in stage["provenance"]["supervision"]
    assert scores["stages"]["seed"]["best_on_train_gt"]["miou"] > 80  # they are the ground truth, on a stride-4 grid
    assert index["imported"]["sha256"] in (project / target).read_text()
    assert not (project / "results/demo_tiny/mine/cam").exists()
    (project / f"imports/demo_tiny/mine/cam/{index['ids'][0]}.npz").rename(project / "away.npy")
    done = snakemake(project, "--cores", "1", "--force", "results/demo_tiny/mine/seeds/index.json")
    (project / "away.npy").rename(project / f"imports/demo_tiny/mine/cam/{index['ids'][0]}.npz")
    assert "run: python workflow/scripts/import_cams.py FOLDER --dataset demo_tiny --name mine" in done.stdout


def test_imported_pseudo_masks_reach_scores_and_report(project):
    config = ["--config", "datasets=[demo_tiny]", "methods=[masks]"]
    done = snakemake(project, "--cores", "2", "results/demo_tiny/report/index.html", *config, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:]
    scores = json.loads((project / "results/demo_tiny/masks/scores.json").read_text())
    assert set(scores["stages"]) == {"pseudo_mask", "segmentation", "segmentation_crf"}
    stage = scores["stages"]["pseudo_mask"]
    assert stage["miou"] > 99.9 and stage["provenance"]["refine"] == "imported"
    assert "pseudo_masks png (label PNGs, from png, sha256" in stage["provenance"]["imported"]
    assert len(json.loads((project / "results/demo_tiny/masks/panels/index.json").read_text())["ids"]) > 2
    assert (project / "results/demo_tiny/report/curves.svg").is_file()  # declared, though there is no seed to draw


def test_imported_networks_are_used_as_they_are(project):
    """Nothing is trained; every figure says which file it rests on, and the seed not on the boundary network."""
    target = "results/demo_tiny/both/mask_scores/miou.txt"
    assert not {"both/classifier", "both/affinity", "cam/classifier"} & planned(project, target)
    done = snakemake(project, "--cores", "2", target, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:]
    stages = json.loads((project / target).with_name("scores.json").read_text())["stages"]
    seed, mask = stages["seed"]["provenance"], stages["pseudo_mask"]["provenance"]
    assert "classifier net" in seed["imported"] and "affinity" not in seed["imported"]
    assert "affinity net" in mask["imported"] and "from affinity.pth" in mask["imported"]
    assert seed["weights"] == "imported classifier.pth"
    assert mask["weights"] == "imported affinity.pth; imported classifier.pth"


def test_what_other_imports_plan(project):
    jobs = planned(project, "results/demo_tiny/labels/miou.txt")
    assert {"labels/affinity", "labels/pseudo_masks", "cam/cam"} <= jobs
    assert not {"labels/ir_labels", "labels/seeds", "cam/seeds", "cam/ir_labels"} & jobs
    jobs = planned(project, "results/demo_tiny/seeded/panels/index.json")
    assert "seeded/pseudo_masks" in jobs and not {"seeded/seeds", "seeded/ir_labels", "seeded/cam"} & jobs


@pytest.mark.parametrize(
    "target, words",
    [
        ("wrong/miou.txt", "seeds are imported, one mask an image, but IR labels are made of two passes"),
        ("absent/miou.txt", "import_cams.py FOLDER --dataset demo_tiny --name nothing"),
        ("mine/cam/index.json", "method mine imports its cam (mine); ask for a later stage instead"),
    ],
)
def test_what_is_refused_at_planning(project, target, words):
    done = snakemake(project, "-n", f"results/demo_tiny/{target}")
    assert done.returncode != 0 and words in done.stdout, done.stdout[-2000:]


def test_no_recipe_that_is_shipped_imports():
    for path in (REPOSITORY / "config/methods").glob("*.yaml"):
        assert not [s for s in yaml.safe_load(path.read_text()).values() if isinstance(s, dict) and "import" in s]
