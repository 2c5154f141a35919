"""Other people's CAMs and masks in, ours out: layouts, sizes, hostile pickles, missing images, the commands."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import LIBRARY, folder_dataset
from PIL import Image
from wsss.data import folder
from wsss.data.labels import label_facts
from wsss.data.manifest import Record, load_manifest
from wsss.data.stage_inputs import cam_folder, input_index
from wsss.engine.atomic import read_json
from wsss.engine.index import read_index, write_index
from wsss.errors import UserError
from wsss.imports.cams import import_cams, main
from wsss.imports.command_line import find_files
from wsss.imports.export import export_cams
from wsss.imports.masks import import_masks
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.grids import walk_grid
from wsss.io.images import image_size
from wsss.io.masks import VOC_PALETTE, read_mask

DATA = os.environ.get("WSSS_TEST_DATA")
SIZES = ((33, 47), (40, 64), (21, 22))
IDS = tuple(f"p {n} ü" for n in range(3))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A working directory that holds results/own: three images, the last without a label."""
    built = folder_dataset(tmp_path / "data", SIZES, unlabelled=(2,))
    shutil.copytree(built, tmp_path / "site/results/own")
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"


def smooth(size_hw, rows=1, seed=0):
    """(rows, H, W) float32 with maximum 1 and minimum 0."""
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.random((1, rows, 4, 5), np.float32))
    maps = torch.nn.functional.interpolate(maps, size=size_hw, mode="bilinear")[0].numpy()
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def save(target, item_id, table):
    target.mkdir(parents=True, exist_ok=True)
    np.save(target / f"{item_id}.npy", np.array(table, dtype=object), allow_pickle=True)


def irn_dict(n, extra=0, tensors=True):
    """As IRN's code saves it: keys and cam are tensors, high_res an array."""
    high = smooth(SIZES[n], 1 + extra, n)
    cam = torch.nn.functional.interpolate(torch.from_numpy(high)[None], size=walk_grid(SIZES[n]), mode="area")[0]
    cam = cam / cam.amax((1, 2), keepdim=True)  # each of the two by its own maximum
    keys = torch.tensor([n % 2])
    return {"keys": keys if tensors else keys.numpy(), "cam": cam if tensors else cam.numpy(), "high_res": high}


def imported(name="mine"):
    path = f"imports/own/{name}/cam/index.json"
    return CamFolder.of(path, read_index(path, list(IDS))), read_json(path)


def stored_map(n, name="mine"):
    """The one map of an imported image, (K, h, w)."""
    (one,) = read_cam(f"imports/own/{name}/cam/{IDS[n]}.npz").maps
    return one


def records():
    return load_manifest("results/own/manifest.csv").records


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


# --- labels that change after the import


def relabel(old, new):
    """Edit the labels in the manifest, as a builder would after labels.csv was edited."""
    path = Path("results/own/manifest.csv")
    path.write_text(path.read_text().replace(f",{old},", f",{new},", 1))


def stage_inputs(stage, **more):
    """A task's view of an imported stage."""
    index = f"imports/own/mine/{stage}/index.json"
    return SimpleNamespace(inputs={stage: index, "manifest": "results/own/manifest.csv", **more})


def test_cams_are_refused_once_their_image_has_other_labels(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    assert cam_folder(stage_inputs("cam"), records()).at(records()[0], SIZES[0]).shape == (1, *SIZES[0])
    relabel("red", "green")  # before, red's map was read as that of green
    words = r"p 0 ü: holds classes \[red\], but its image is labelled \[green\]"
    with pytest.raises(UserError, match=f"run: python workflow/scripts/import_cams.py FOLDER.*\n.*{words}"):
        cam_folder(stage_inputs("cam"), records())
    with pytest.raises(UserError, match=words):
        export_cams(site / "imports/own/mine/cam", site / "out", "own")
    assert cam_folder(stage_inputs("cam"), records()[1:]).classes == ("red", "green")  # of another job's images


def test_cams_and_masks_are_refused_once_the_class_list_is_another(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], irn_dict(n))
    import_cams(site / "maps", "own", "mine")
    import_masks(masks(site / "png"), "own", "mine", "ir_labels")
    facts = Path("results/own/dataset.json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "classes": ["green", "red"]}))
    for stage, ask in (("cam", lambda t: cam_folder(t, records())), ("ir_labels", lambda t: input_index(t, "ir_labels", records()))):
        with pytest.raises(UserError, match="made of the classes red, green; own has green, red; run: python workflow/scripts/import_"):
            ask(stage_inputs(stage))


def test_masks_are_refused_once_labels_have_changed(site):
    import_masks(masks(site / "png"), "own", "mine", "pseudo_masks")
    task = stage_inputs("pseudo_masks")
    input_index(task, "pseudo_masks", records())
    relabel("red", "green")
    with pytest.raises(UserError, match="labels have changed since it was imported; run: .*--stage pseudo_masks"):
        input_index(task, "pseudo_masks", records())
    path = Path(task.inputs["pseudo_masks"])
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k not in ("classes", "labels")}))
    with pytest.raises(UserError, match="does not say what classes and labels.*run: python"):  # as imports were before
        input_index(task, "pseudo_masks", records())


# --- what is refused


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


class EvilStorage:
    """Passes the look-up of `_load_from_bytes`, and hides a pickle of its own inside."""

    def __reduce__(self):
        return torch.storage._load_from_bytes, (pickle.dumps(Evil(), 2),)


class Endless:
    """A tensor of 10^12 values out of a few."""

    def __reduce__(self):
        storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True)
        return torch._utils._rebuild_tensor_v2, (storage, 0, (10**6, 10**6), (0, 0), False, {})


@pytest.mark.parametrize("hidden", [Evil, EvilStorage, Endless])
def test_hostile_pickles_do_nothing(site, hidden):
    save(site / "maps", IDS[1], irn_dict(1))
    save(site / "maps", IDS[0], {"keys": np.array([0]), "cam": hidden()})
    with pytest.raises(UserError, match="p 0 ü.npy"):
        import_cams(site / "maps", "own", "mine")
    assert not (site / "it_ran").exists() and not (site / "imports/own/mine/cam/index.json").exists()


def test_other_names_are_named(site):
    save(site / "maps", IDS[0], {"keys": np.array([0]), "cam": Evil()})
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match="refused, it asks for posix.mkdir"):
        import_cams(site / "maps", "own", "mine")


def test_missing_images_are_named(site):
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match="1 of 2 training images have no file here.*\n  p 0 ü"):
        import_cams(site / "maps", "own", "mine")
    with pytest.raises(UserError, match="no such folder"):
        import_cams(site / "none", "own", "mine")


BAD = {
    "has classes \\[1\\], its image the labels \\[0\\]": {1: smooth(SIZES[0])[0]},
    "has classes \\[0, 1\\]": {0: smooth(SIZES[0])[0], 1: smooth(SIZES[0])[0]},
    "maps of \\(5, 5\\), but the image is \\(33, 47\\)": {0: np.zeros((5, 5))},
    "1 keys and cam \\(1, 5, 5\\), but the image wants cam \\(K, 9, 12\\)": {"keys": [0], "cam": np.zeros((1, 5, 5))},
    "holds list where an array": {"keys": [0]},
    "1 keys and no maps": {"keys": np.array([0])},
    "CAMs are normalised to": {0: smooth(SIZES[0])[0] * 7},
    "values from nan": {0: np.full(SIZES[0], np.nan)},
    "holds neither": {"a": 1},
    "expected": {0: "text"},
}
BAD["1 keys and cam \\(1, 5, 5\\), but the image wants cam \\(K, 9, 12\\)"]["keys"] = np.array([0])


@pytest.mark.parametrize("words", BAD)
def test_files_that_are_no_cams_of_their_image(site, words):
    save(site / "maps", IDS[0], BAD[words])
    save(site / "maps", IDS[1], irn_dict(1))
    with pytest.raises(UserError, match=words) as error:
        import_cams(site / "maps", "own", "mine")
    assert "p 0 ü.npy" in str(error.value) and "p 1 ü" not in str(error.value)


def test_all_bad_files_are_named_at_once(site):
    for n in (0, 1):
        save(site / "maps", IDS[n], {0: np.zeros((5, 5))})
    with pytest.raises(UserError, match="2 problems"):
        import_cams(site / "maps", "own", "mine")


def test_the_dataset_must_be_there(site):
    with pytest.raises(UserError, match="make it first: snakemake results/other/manifest.csv"):
        import_cams(site / "maps", "other", "mine")


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


# --- masks


def masks(target, change=lambda n, mask: mask, mode="L"):
    target.mkdir(parents=True, exist_ok=True)
    for n, item_id in enumerate(IDS):
        mask = np.zeros(SIZES[n], np.uint8)
        mask[3:9, 3:9] = n % 2 + 1 if n < 2 else 0
        mask[0] = 255
        Image.fromarray(change(n, mask)).convert(mode).save(target / f"{item_id}.png")
    return target


@pytest.mark.parametrize("stage", ["seeds", "ir_labels", "pseudo_masks"])
def test_masks_enter_as_a_stage(site, stage):
    words = import_masks(masks(site / "png"), "own", "mine", stage)
    index = read_index(f"imports/own/mine/{stage}/index.json", list(IDS))
    assert index["suffixes"] == [".png"] and f"--stage {stage}" in index["remake"]
    path = f"imports/own/mine/{stage}/{IDS[1]}.png"
    assert (read_mask(path) == read_mask(site / "png" / f"{IDS[1]}.png")).all()
    assert Image.open(path).getpalette()[:768] == VOC_PALETTE.ravel().tolist() and "note" not in words


def test_classes_that_an_image_is_not_labelled_with_are_told(site):
    words = import_masks(masks(site / "png", lambda n, m: np.where(m == 1, 2, m).astype(np.uint8)), "own", "mine", "ir_labels")
    assert "note: 1 masks hold classes that are not among" in words


@pytest.mark.parametrize(
    "words, change, mode",
    [
        ("is \\(10, 10\\), its image", lambda n, m: m[:10, :10], "L"),
        ("values \\[9\\] are neither 0..2 nor 255", lambda n, m: np.where(m == 255, 9, m).astype(np.uint8), "L"),
        ("mask has mode RGB", lambda n, m: m, "RGB"),
    ],
)
def test_masks_that_are_refused(site, words, change, mode):
    with pytest.raises(UserError, match=words):
        import_masks(masks(site / "png", change, mode), "own", "mine", "pseudo_masks")


def test_a_missing_mask_is_named(site):
    (masks(site / "png") / f"{IDS[2]}.png").unlink()
    with pytest.raises(UserError, match="1 of 3 training images have no file here.*\n  p 2 ü"):
        import_masks(site / "png", "own", "mine", "ir_labels")
