"""Seeds that another recipe's fill up: which classes are left out, what is filled, the stage, what is planned and refused."""

import shutil

import numpy as np
import pytest
import yaml
from helpers import REPOSITORY, Chain, folder_dataset
from wsss.data.manifest import load_manifest
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.images import image_size
from wsss.io.masks import read_mask, write_mask
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.refine.fill import class_areas, filled, left_out
from wsss.score.cuts import Scores

INDEX = "index.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """CAMs of a chain, and beside them `other`'s: seeds that call every pixel the image's last class."""
    root = tmp_path_factory.mktemp("fill") / "own"
    chain = Chain(folder_dataset(root, ((40, 48), (48, 40), (33, 50), (40, 40)), unlabelled=(1,)), "cam")
    high = {"confident": {"kind": "const", "value": 0.8}, "unsure": {"kind": "const", "value": 0.7}}  # leaves background
    chain.recipe["seeds"] = {**chain.recipe["seeds"], **high}
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"})
    chain.run("cam", {"model": "classifier/model.safetensors"}, into="other_cam")
    chain.run("seeds", {"cam": f"cam/{INDEX}"})
    shutil.copytree(chain.results / "seeds", chain.results / "other_seeds")
    for record in records_of(chain):
        height, width = image_size(record.image)
        value = record.labels[-1] + 1 if record.labels else 0
        for suffix in (".png", ".unsure.png"):
            write_mask(chain.results / f"other_seeds/{record.id}{suffix}", np.full((height, width), value, np.uint8))
    return chain


def dataset_of(chain):
    return load_manifest(chain.results / "manifest.csv")


def records_of(chain):
    return dataset_of(chain).split("trainaug")


def fill_in(chain, into, **settings):
    """The seeds stage with `other` to fill up from."""
    inputs = {"cam": f"cam/{INDEX}", "fill": f"other_seeds/{INDEX}", "fill_cam": f"other_cam/{INDEX}"}
    return chain.run("seeds", inputs, into=into, settings={**chain.recipe["seeds"], "fill_from": "other", **settings})


def slow_areas(cams, records, num_classes):
    """Pixel by pixel, photo by photo."""
    scores, shares = Scores(), [[] for _ in range(num_classes)]
    for record in records:
        scores.add(cams.at(record, image_size(record.image)))
    for record in records:
        cam = cams.at(record, image_size(record.image))
        for row, label in enumerate(record.labels):
            pixels = [column for column in cam.reshape(len(cam), -1).T if column.argmax() == row and int(column[row] * 1000) >= round(scores.cut() * 1000)]
            shares[label].append(len(pixels) / cam[0].size)
    return np.array([np.mean(found) if found else np.nan for found in shares])


def test_areas_are_those_of_a_loop_over_pixels(made):
    dataset, cams = dataset_of(made), CamFolder.of(made.results / f"cam/{INDEX}", read_json(made.results / f"cam/{INDEX}"))
    labelled = [r for r in dataset.split("trainaug") if r.labels]
    found = class_areas(cams, labelled, dataset.num_classes, "cams")
    np.testing.assert_allclose(found, slow_areas(cams, labelled, dataset.num_classes), atol=1e-9)
    assert np.nanmax(found) > 0


def test_a_class_is_left_out_by_its_share_and_one_without_photos_never():
    own, other = np.array([0.10, 0.20, np.nan, 0.30, 0.0]), np.array([0.30, 0.20, np.nan, 0.47, 0.0])
    assert left_out(own, other, 0.65) == (0, 3) and left_out(own, other, 0.6) == (0,)
    assert left_out(other, own, 0.65) == ()


def test_only_background_is_filled_and_only_with_the_classes():
    own, other = np.random.default_rng(0).integers(0, 4, (2, 9, 11)).astype(np.uint8)
    for classes in ((), (1,), (0, 2)):
        slow = [[b if a == 0 and int(b) - 1 in classes else a for a, b in zip(*rows, strict=True)] for rows in zip(own, other, strict=True)]
        found = filled(own, other, classes)
        assert found.dtype == np.uint8 and np.array_equal(found, slow)


def test_the_stage_fills_both_passes_and_says_which_classes(made, monkeypatch):
    dataset = dataset_of(made)
    areas = {"cam": 0.1, "other_cam": 0.2}
    monkeypatch.setattr("wsss.stages.seeds.class_areas", lambda cams, sample, n, name: np.full(n, areas[name.split("/")[-2]]))
    folder = fill_in(made, "filled")
    assert read_json(folder / INDEX)["filled"] == list(dataset.classes)
    changed = 0
    for record in records_of(made):
        for suffix in (".png", ".unsure.png"):
            plain, other, found = (read_mask(made.results / f"{name}/{record.id}{suffix}") for name in ("seeds", "other_seeds", "filled"))
            assert np.array_equal(found, np.where(plain == 0, other, plain))
            changed += (found != plain).sum()
    assert changed > 0


def test_cams_that_leave_nothing_out_are_not_filled(made):
    folder = fill_in(made, "same")  # its own CAMs again
    assert read_json(folder / INDEX)["filled"] == []
    for record in records_of(made):
        assert np.array_equal(read_mask(folder / f"{record.id}.png"), read_mask(made.results / f"seeds/{record.id}.png"))


def test_cams_of_one_score_are_named(made, tmp_path):
    shutil.copytree(made.results.parent, tmp_path / "own")
    chain = Chain(tmp_path / "own/results", "cam")
    for record in records_of(chain):
        path = chain.results / f"other_cam/{record.id}.npz"
        stored = read_cam(path)
        write_cam(path, record.labels, [np.zeros_like(maps) for maps in stored.maps])
    with pytest.raises(UserError, match="other_cam/index.json.*same score"):
        fill_in(chain, "none")


def test_the_plan_reads_both_recipes():
    plan = Plan(REPOSITORY / "config", yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()))
    inputs = plan.inputs("seeds", Row("demo_tiny", "eps_filled"))
    assert inputs["fill"].endswith("cam/seeds/index.json") and inputs["fill_cam"].endswith("cam/cam/index.json")
