"""Imports a second time, under another class list, beside files of the user's; and commands that would write over some."""

import csv
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Chain, folder_dataset, photo, recipe_of
from PIL import Image
from wsss.data import folder, import_labels
from wsss.data.manifest import Record, load_manifest
from wsss.data.photos import require_apart
from wsss.engine.atomic import read_json, write_json
from wsss.engine.index import write_index
from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.imports.command_line import find_files
from wsss.imports.export import main as export
from wsss.imports.masks import import_masks
from wsss.imports.weights import built, import_weights
from wsss.io.cams import write_cam
from wsss.io.masks import read_mask, write_mask

FOLDER = Path("imports/own/mine/pseudo_masks")


def build(lines):
    Path("labels.csv").write_text("\n".join(["image,labels", *lines]) + "\n")
    return folder.build({"images": "images", "labels": "labels.csv", "name": "own"}, "results/own")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Four photos of cat and dog in turn, and a mask of each: 1 = cat, 2 = dog."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("images").mkdir()
    for number in range(5):
        image, mask = photo(rng, (20, 24), number % 2)
        Image.fromarray(image).save(f"images/p{number}.png")
        write_mask(f"masks/p{number}.png", mask)
    build(CATS_AND_DOGS)
    return tmp_path


CATS_AND_DOGS = ["p0.png,cat", "p1.png,dog", "p2.png,cat", "p3.png,dog"]


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_masks_by_the_former_list_are_refused_under_a_new_one(site):
    """1 would be ant and 2 cat."""
    import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    build([*CATS_AND_DOGS, "p4.png,ant"])
    before = contents(FOLDER)
    with pytest.raises(UserError, match="by the classes cat, dog; own has 1 ant, 2 cat, 3 dog now"):
        import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    with pytest.raises(UserError, match="4 of 5 masks hold none of their image's labels, so they are numbered by another list than 1 ant"):
        import_masks(Path("masks"), "own", "other", "pseudo_masks")
    assert contents(FOLDER) == before and not Path("imports/own/other/pseudo_masks").exists()
    for path in Path("masks").iterdir():
        write_mask(path, np.where(read_mask(path) > 0, read_mask(path) + 1, 0))
    write_mask("masks/p4.png", read_mask("masks/p4.png") // 2)
    import_masks(Path("masks"), "own", "other", "pseudo_masks")
    assert read_json("imports/own/other/pseudo_masks/index.json")["classes"] == ["ant", "cat", "dog"]


def test_one_bad_file_leaves_the_good_import_as_it_was(site):
    import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    before = contents(FOLDER)
    write_mask("masks/p0.png", np.zeros((20, 24), np.uint8))  # good, and other than before
    Image.new("RGB", (24, 20)).save("masks/p3.png")
    with pytest.raises(UserError, match="p3.png"):
        import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    assert contents(FOLDER) == before and os.listdir(FOLDER.parent) == ["pseudo_masks"]
    write_mask("masks/p3.png", np.zeros((20, 24), np.uint8))
    import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    assert not read_mask(FOLDER / "p0.png").any() and os.listdir(FOLDER.parent) == ["pseudo_masks"]


def test_a_killed_import_leaves_the_good_one_and_is_cleared_away(site, monkeypatch):
    import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    before = contents(FOLDER)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wsss.imports.masks.write_mask", killed)
        with pytest.raises(KeyboardInterrupt):
            import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    assert contents(FOLDER) == before
    (FOLDER.parent / ".pseudo_masks.1.tmp").mkdir()
    import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    assert os.listdir(FOLDER.parent) == ["pseudo_masks"]


def test_files_of_the_users_in_the_folder_are_not_replaced(site):
    FOLDER.mkdir(parents=True)
    (FOLDER / "p0.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"holds files that none put there \(p0.png\)"):
        import_masks(Path("masks"), "own", "mine", "pseudo_masks")
    assert (FOLDER / "p0.png").read_bytes() == b"mine"


# --- whose file is it


def records(*ids):
    return [Record(i, ("trainaug",), (0,), "", ("", "", "", "")) for i in ids]


@pytest.mark.parametrize("there, wanted", [("1", "01"), ("01", "1"), ("000000000001", "1"), ("COCO_train2014_000000000001", "01")])
def test_numbers_are_ids_of_coco_only(tmp_path, there, wanted):
    (tmp_path / f"{there}.png").touch()
    with pytest.raises(UserError, match=f"1 of 1 training images have no file here.*\n  {wanted}"):
        find_files(tmp_path, records(wanted), ".png")


def test_a_file_of_another_id_is_nobody_elses(tmp_path):
    number = "000000000009"
    (tmp_path / f"{number}.png").touch()
    both = records(number, f"COCO_train2014_{number}")
    with pytest.raises(UserError, match=f"1 of 2 training images.*\n  COCO_train2014_{number}"):
        find_files(tmp_path, both, ".png")
    (tmp_path / "9.png").touch()
    (tmp_path / "09.png").touch()  # two that might be it
    with pytest.raises(UserError, match="1 of 2"):
        find_files(tmp_path, both, ".png")
    (tmp_path / "09.png").unlink()
    assert find_files(tmp_path, both, ".png")[f"COCO_train2014_{number}"].name == "9.png"


# --- an imported classifier


def test_an_imported_classifier_holds_its_class_list(tmp_path, monkeypatch):
    shutil.copytree(folder_dataset(tmp_path / "data"), tmp_path / "results/demo_tiny")
    monkeypatch.chdir(tmp_path)
    torch.save(built("classifier", recipe_of("irn", 2), 2)[1].state_dict(), "net.pth")
    import_weights(Path("net.pth"), "demo_tiny", "mine", "classifier", "cam")
    model = Path("imports/demo_tiny/mine/classifier/model.safetensors").absolute()
    assert read_facts(model)["classes"] == ["red", "green"]
    facts = tmp_path / "results/demo_tiny/dataset.json"
    table = tmp_path / "results/demo_tiny/manifest.csv"
    write_json(facts, {**read_json(facts), "classes": ["amber", "green"]})
    table.write_text(table.read_text().replace("red", "amber"))
    with pytest.raises(UserError, match="made of the classes red, green; own has amber, green; run: python .*import_weights.py FILE --stage classifier --method cam"):
        Chain(tmp_path / "results/demo_tiny", "irn").run("cam", {"model": str(model)})


# --- commands that write where the user says


def labels_file(ids):
    table = {i: np.eye(20, dtype=np.float32)[0] for i in ids}
    np.save("cls_labels.npy", np.array(table, dtype=object), allow_pickle=True)


@pytest.mark.parametrize("bad", ["../../x", "/etc/x", "a/b", ".hidden", "a\nb", ""])
def test_labels_of_ids_that_are_no_names_are_refused(site, bad, capsys):
    labels_file(["2007_000032", bad])
    assert import_labels.main(["cls_labels.npy", "out.csv", "--classes", "voc"]) == 1
    assert "ids that cannot serve as file names" in capsys.readouterr().err and not Path("out.csv").exists()


def test_labels_are_not_written_over_a_file(site, capsys):
    labels_file(["2007_000032"])
    before = Path("labels.csv").read_text()
    assert import_labels.main(["cls_labels.npy", "labels.csv", "--classes", "voc"]) == 1
    assert "labels.csv: is there" in capsys.readouterr().err and Path("labels.csv").read_text() == before
    assert import_labels.main(["cls_labels.npy", "labels.csv", "--classes", "voc", "--overwrite"]) == 0
    with open("labels.csv", newline="") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == ["2007_000032"]


def test_cams_are_not_exported_over_files(site, capsys):
    from wsss.data.labels import label_facts

    held = load_manifest("results/own/manifest.csv")
    for record in held.records:
        write_cam(f"ours/{record.id}.npz", record.labels, [np.ones((1, 5, 6), np.float32)])
    facts = {"form": "sum", "geometry": "stretch", "norm": "max", "scales": [1.0]}
    write_index("ours", dict.fromkeys((r.id for r in held.records), "x"), [".npz"], **facts, **label_facts(held))
    Path("theirs").mkdir()
    Path("theirs/p2.npy").write_bytes(b"mine")
    assert export(["ours", "theirs", "--dataset", "own"]) == 1
    assert "1 files are there (p2.npy)" in capsys.readouterr().err
    assert contents(Path("theirs")) == {"p2.npy": b"mine"}
    assert export(["ours", "theirs", "--dataset", "own", "--overwrite"]) == 0
    assert len(contents(Path("theirs"))) == 4 and Path("theirs/p2.npy").read_bytes() != b"mine"


@pytest.mark.parametrize("photos", [".", "results", "results/own/cam/predict/a", "results/own/cam/predict/a/more", "link"])
def test_photos_and_their_masks_lie_apart(tmp_path, monkeypatch, photos):
    monkeypatch.chdir(tmp_path)
    Path("results/own/cam/predict/a/more").mkdir(parents=True)
    Path("photos").mkdir()
    Path("link").symlink_to("results")
    require_apart("photos", "results/own/cam/predict/a")
    with pytest.raises(UserError, match="must lie apart"):
        require_apart(photos, "results/own/cam/predict/a")


def test_json_of_an_import_is_read_as_it_stands(site):
    """An index of another shape is no import; what lies there is the user's."""
    FOLDER.mkdir(parents=True)
    (FOLDER / "index.json").write_text(json.dumps([1]))
    (FOLDER / "x.bin").write_bytes(pickle.dumps(1))
    with pytest.raises(UserError, match="index.json: damaged"):
        import_masks(Path("masks"), "own", "mine", "pseudo_masks")
