"""Other people's CAMs in, ours out: layouts, sizes, the commands, real photos."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_cams import IDS, SIZES, imported, irn_dict, records, save, smooth, stored_map
from helpers import LIBRARY
from wsss.data import folder
from wsss.data.labels import label_facts
from wsss.data.manifest import Record, load_manifest
from wsss.engine.atomic import read_json
from wsss.engine.index import write_index
from wsss.errors import UserError
from wsss.imports.cams import import_cams, main
from wsss.imports.command_line import find_files
from wsss.imports.export import export_cams
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.grids import walk_grid
from wsss.io.images import image_size
from wsss.plan.imported_stages import import_facts

DATA = os.environ.get("WSSS_TEST_DATA")


@pytest.mark.parametrize("tensors", [True, False])
def test_irn_dicts(site, tensors):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n, tensors=tensors))
    words = import_cams(site / "maps", "own", "mine")
    cams, index = imported()
    assert (index["form"], index["geometry"], index["norm"]) == ("sum", "stretch", "max")
    for n in (0, 1):
        np.testing.assert_allclose(stored_map(n), irn_dict(n)["high_res"], atol=1e-3)
        np.testing.assert_allclose(cams.at(records()[n], SIZES[n]), irn_dict(n)["high_res"], atol=2e-3)
        table = irn_dict(n)
        save(site / "small", IDS[n], {key: table[key] for key in ("keys", "cam")})
    assert stored_map(2).shape == (0, *walk_grid(SIZES[2]))
    import_cams(site / "small", "own", "coarse")  # the grid of the walk, where there is nothing finer
    for n in (0, 1):
        np.testing.assert_allclose(stored_map(n, "coarse"), np.asarray(irn_dict(n)["cam"]), atol=1e-3)
    assert index["imported"]["source"] == "maps" and len(index["imported"]["sha256"]) == 64
    assert index["imported"]["sha256"] in words and "cam: {import: mine}" in words


def test_amn_dicts_lose_their_background_row(site):
    for n in (0, 1):
        table = irn_dict(n, extra=1)
        table["cam"], table["high_res"] = table["cam"] * 0.5, table["high_res"] * 0.5
        save(site / "maps", IDS[n], table)
    import_cams(site / "maps", "own", "mine")
    np.testing.assert_allclose(stored_map(1), irn_dict(1, extra=1)["high_res"][1:] * 0.5, atol=1e-3)
    assert imported()[1]["norm"] == "none"  # their height means something
    assert "background row" in imported()[1]["imported"]["layout"]


def test_class_dicts_of_eps_and_seam(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], {n % 2: smooth(SIZES[n], seed=n)[0]})
    import_cams(site / "maps", "own", "mine")
    cams, index = imported()
    assert index["norm"] == "max"
    for n in (0, 1):
        np.testing.assert_allclose(cams.at(records()[n], SIZES[n]), smooth(SIZES[n], seed=n), atol=2e-3)


def test_halved_maps_of_cpn_are_read_whole(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], {n % 2: smooth(SIZES[n], seed=n)[0] / 2})
    import_cams(site / "maps", "own", "mine", scale=0.5)
    cams, index = imported()
    assert index["norm"] == "max" and "--scale 0.5" in index["remake"]
    np.testing.assert_allclose(stored_map(0), smooth(SIZES[0], seed=0), atol=1e-3)
    np.testing.assert_allclose(cams.at(records()[0], SIZES[0]), smooth(SIZES[0], seed=0), atol=2e-3)


def test_the_users_norm_is_taken(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine", norm="none")
    assert imported()[1]["norm"] == "none"


def test_keys_in_another_order(site, tmp_path):
    """Two classes on one image: rows follow the labels, not the file."""
    two = tmp_path / "site/results/own/manifest.csv"
    two.write_text(two.read_text().replace(",red,", ",red;green,", 1))
    record = load_manifest(two).records[0]
    assert record.labels == (0, 1)
    maps = smooth(SIZES[0], 2)
    save(site / "maps", IDS[0], {1: maps[1], 0: maps[0]})
    save(site / "maps", IDS[1], irn_dict(1))
    import_cams(site / "maps", "own", "mine")
    np.testing.assert_allclose(stored_map(0), maps, atol=1e-3)


def test_what_is_exported_comes_back(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    for layout in ("keys", "classes"):
        export_cams(site / "imports/own/mine/cam", site / layout, "own", layout)
    table = np.load(site / "keys" / f"{IDS[1]}.npy", allow_pickle=True).item()
    assert table["keys"].tolist() == [1] and isinstance(table["cam"], torch.Tensor)
    assert table["high_res"].dtype == np.float32 and table["high_res"].shape == (1, *SIZES[1])
    assert list(np.load(site / "classes" / f"{IDS[1]}.npy", allow_pickle=True).item()) == [1]
    import_cams(site / "keys", "own", "again")
    first, second = (imported(name)[0].on_grid(records()[1], SIZES[1]) for name in ("mine", "again"))
    np.testing.assert_allclose(first, second, atol=2e-3)
    assert not list((site / "keys").glob(f"{IDS[2]}*"))  # no labels, no file, as in the field


@pytest.mark.parametrize("form", ["sum", "softmax"])
def test_our_own_layout(site, form):
    """Files and all that says how they are read are taken as they are, classes included."""
    dataset = load_manifest("results/own/manifest.csv")
    facts = {"form": form, "geometry": "view", "norm": "min_max", "scales": [1.0, 0.5]}
    rng = np.random.default_rng(0)
    for record in dataset.records:
        maps = [rng.random((len(record.labels), 3, 4)).astype(np.float32) for _ in facts["scales"]]
        write_cam(site / f"ours/{record.id}.npz", record.labels, maps, {"rest": np.zeros((1, 2, 2), np.float32)})
    write_index(site / "ours", dict.fromkeys(IDS, "x"), [".npz"], **facts, **label_facts(dataset))
    import_cams(site / "ours", "own", "mine")
    index = imported()[1]
    assert {key: index[key] for key in facts} == facts and "--norm" not in index["remake"]
    for n in (0, 1):
        assert (site / f"ours/{IDS[n]}.npz").read_bytes() == Path(f"imports/own/mine/cam/{IDS[n]}.npz").read_bytes()
    assert read_cam(f"imports/own/mine/cam/{IDS[2]}.npz").classes == ()
    with pytest.raises(UserError, match="--scale and --norm are for folders without an index"):
        import_cams(site / "ours", "own", "mine", scale=0.5)
    write_cam(site / f"ours/{IDS[0]}.npz", [1], [np.zeros((1, 3, 4), np.float32)] * 2)
    with pytest.raises(UserError, match=r"holds classes \[green\], but its image is labelled \[red\]"):
        import_cams(site / "ours", "own", "mine")
    assert imported()[1] == index and read_cam(f"imports/own/mine/cam/{IDS[0]}.npz").classes == (0,)  # the good one stays


def test_our_former_layout_is_refused(site):
    write_index(site / "old", {}, [".npy"], geometry="pad16", norm="max", scales=[1.0])
    with pytest.raises(UserError, match="CAMs of the former format"):
        import_cams(site / "old", "own", "mine")


def test_a_damaged_index_of_a_source_is_never_to_be_deleted(site):
    """Nothing here makes it again, and without it the files are no CAMs of ours."""
    (site / "ours").mkdir()
    (site / "ours/index.json").write_text("{")
    with pytest.raises(UserError, match="ours/index.json: not valid JSON .*; copy the folder again from where it was made") as error:
        import_cams(site / "ours", "own", "mine")
    assert "delete" not in str(error.value) and "snakemake" not in str(error.value)


def test_a_damaged_index_of_an_import_is_imported_again(site):
    own = Path("imports/own/mine/cam/index.json")
    own.parent.mkdir(parents=True)
    own.write_text("{")
    with pytest.raises(UserError, match="not valid JSON .*; import it again"):
        import_facts(str(own))


def test_commands(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    command = [sys.executable, str(LIBRARY / "import_cams.py"), "maps", "--dataset", "own", "--name", "mine"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "3 CAMs" in done.stdout and "anything else is refused" in done.stdout, done.stderr
    assert main(["maps", "--dataset", "own", "--name", "../up"]) == 1  # a name is no path
    assert main(["maps", "--dataset", "own", "--name", "mine", "--scale", "2"]) == 1


def test_a_reader_says_how_an_import_is_made_again(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    assert imported()[1]["remake"] == "python workflow/scripts/import_cams.py FOLDER --dataset own --name mine --scale 1 --norm max"


def test_coco_ids_in_any_form(tmp_path):
    records = [Record(i, ("trainaug",), (0,), "", ("", "", "", "")) for i in ("COCO_train2014_000000000009", "000000000025")]
    for name in ("000000000009.npy", "COCO_train2014_000000000025.npy", "notes.npy"):
        (tmp_path / name).touch()
    found = find_files(tmp_path, records, ".npy")
    assert [path.name for path in found.values()] == ["000000000009.npy", "COCO_train2014_000000000025.npy"]


@pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real VOC images)")
def test_real_photos(tmp_path, monkeypatch):
    """VOC's photos and ids in IRN's layout; a photo's neighbour, of another size, is refused."""
    tree = Path(DATA) / "voc_mini/VOCdevkit/VOC2012/JPEGImages"
    photos = sorted(tree.glob("*.jpg"))[:40]
    sizes = {photo.stem: image_size(photo) for photo in photos}
    table = "\n".join(["image,labels", *(f"{photo.name},cat" for photo in photos)])
    (tmp_path / "labels.csv").write_text(table + "\n")
    folder.build({"images": str(tree), "labels": str(tmp_path / "labels.csv")}, tmp_path / "results/own")
    monkeypatch.chdir(tmp_path)
    for name, size in sizes.items():
        high = smooth(size)
        cam = torch.nn.functional.interpolate(torch.from_numpy(high)[None], size=walk_grid(size), mode="area")[0].numpy()
        save(tmp_path / "maps", name, {"keys": np.array([0]), "cam": torch.from_numpy(cam / cam.max()), "high_res": high})
    import_cams(tmp_path / "maps", "own", "mine")
    cams = CamFolder.of("imports/own/mine/cam/index.json", read_json("imports/own/mine/cam/index.json"))
    for record in load_manifest("results/own/manifest.csv").records:
        size = sizes[record.id]
        np.testing.assert_allclose(cams.at(record, size), smooth(size), atol=2e-3)
    first = next(iter(sizes))
    other = next(name for name, size in sizes.items() if size != sizes[first])
    shutil.copy(tmp_path / f"maps/{other}.npy", tmp_path / f"maps/{first}.npy")
    with pytest.raises(UserError, match=f"{first}.npy: 1 keys and high_res"):
        import_cams(tmp_path / "maps", "own", "mine")
