"""Imports that hold nothing, or whose place is taken: refused in words, and what is in place stays."""

import shutil

import numpy as np
import pytest
import torch
from helpers import folder_dataset
from PIL import Image
from wsss.errors import UserError
from wsss.imports.cams import import_cams
from wsss.imports.masks import import_masks
from wsss.imports.weights import fill
from wsss.io.cams import read_cam
from wsss.nets.weights import load_any

SIZES = ((33, 47), (40, 64), (21, 22))
IDS = tuple(f"p {n} ü" for n in range(3))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A working directory that holds results/own: three images of two classes, and folders for CAMs and masks."""
    built = folder_dataset(tmp_path / "data", SIZES)
    shutil.copytree(built, tmp_path / "site/results/own")
    monkeypatch.chdir(tmp_path / "site")
    for name in ("maps", "masks"):
        (tmp_path / "site" / name).mkdir()
    return tmp_path / "site"


def cams(site, change):
    for number, (item_id, size) in enumerate(zip(IDS, SIZES, strict=True)):
        maps = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(1, *size)
        table = {"keys": np.array([number % 2]), "high_res": change(maps)}
        np.save(site / "maps" / f"{item_id}.npy", np.array(table, dtype=object), allow_pickle=True)
    return site / "maps"


def masks(site, values):
    for item_id, size, value in zip(IDS, SIZES, values, strict=True):
        mask = np.zeros(size, np.uint8)
        mask[2:9, 2:9] = value
        Image.fromarray(mask).save(site / "masks" / f"{item_id}.png")
    return site / "masks"


def test_maps_of_zeros(site):
    with pytest.raises(UserError, match="all maps of all images are zero"):
        import_cams(cams(site, lambda maps: maps * 0), "own", "mine")
    assert not (site / "imports/own/mine/cam").exists()


@pytest.mark.parametrize("peak, words", [(1e-9, "values up to 1e-09 only, and float16"), (1e-60, "float32 holds none of them")])
def test_maps_that_would_be_stored_as_zeros(site, peak, words):
    with pytest.raises(UserError, match=f"p 0 ü.npy: .*{words}.*normalise the maps"):
        import_cams(cams(site, lambda maps: maps.astype(np.float64) * peak), "own", "mine")
    assert not (site / "imports/own/mine/cam").exists()


def test_small_maps_that_are_not_lost(site):
    source = cams(site, lambda maps: maps * 1e-9)
    import_cams(source, "own", "scaled", scale=1e-9)
    assert read_cam(site / f"imports/own/scaled/cam/{IDS[0]}.npz").maps[0].max() == 1
    import_cams(cams(site, lambda maps: maps * 0 + 1e-9), "own", "flat")
    assert read_cam(site / f"imports/own/flat/cam/{IDS[0]}.npz").maps[0].max() == np.float32(1e-9)


def test_a_scale_that_the_maps_exceed(site):
    with pytest.raises(UserError, match=r"values from 0 to 2 when divided by --scale 0\.5"):
        import_cams(cams(site, lambda maps: maps), "own", "mine", scale=0.5)
    import_cams(cams(site, lambda maps: maps * 0.5), "own", "mine", scale=0.5)


def test_maps_of_another_type_are_named(site):
    with pytest.raises(UserError, match="holds an array of bool where"):
        import_cams(cams(site, lambda maps: maps > 0.5), "own", "mine")


@pytest.mark.parametrize("value", [0, 255])
def test_masks_without_any_class(site, value):
    with pytest.raises(UserError, match="none of the masks holds a class.*1 red, 2 green"):
        import_masks(masks(site, [value] * 3), "own", "mine", "pseudo_masks")
    assert not (site / "imports/own/mine/pseudo_masks").exists()
    assert "note: 2 masks hold no class" in import_masks(masks(site, [1, value, value]), "own", "mine", "pseudo_masks")


@pytest.mark.parametrize("text", ["{", "[]", '{"ids": 5, "suffixes": null}', "{}"])
def test_a_damaged_index_in_the_way(site, text):
    target = site / "imports/own/mine/cam"
    target.mkdir(parents=True)
    (target / "index.json").write_text(text)
    with pytest.raises(UserError, match=r"imports/own/mine/cam/index.json: damaged.*move imports/own/mine/cam away"):
        import_cams(cams(site, lambda maps: maps), "own", "mine")
    assert (target / "index.json").read_text() == text


def test_a_file_in_the_way_is_not_replaced(site):
    (site / "imports/own/mine").mkdir(parents=True)
    (site / "imports/own/mine/cam").write_text("mine")
    with pytest.raises(UserError, match="a file stands where the import's folder would be"):
        import_cams(cams(site, lambda maps: maps), "own", "mine")
    assert (site / "imports/own/mine/cam").read_text() == "mine"


def test_one_tensor_more_or_less_is_the_one_that_is_named(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    for changed, words in (({k: v for k, v in state.items() if k != "0.bias"}, r"0.bias \(4,\): missing"), ({**state, "x": torch.ones(1)}, "x: the network has no such tensor")):
        with pytest.raises(UserError, match=words) as error:
            fill(network, "cam", changed, tmp_path / "w.pth")
        assert "(1 problem)" in str(error.value) and "unknown" not in str(error.value)


def test_a_pickled_network_is_told_from_a_damaged_file(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w.pth: holds objects of Python beside tensors.*state_dict\(\) alone") as error:
        load_any(tmp_path / "w.pth")
    assert "\x1b" not in str(error.value) and len(str(error.value).splitlines()) == 1
