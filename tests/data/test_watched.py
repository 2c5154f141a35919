"""What of a user's data is watched: the files that rows name, through links, wherever they lie, and nothing else."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wsss.data import folder
from wsss.data.photos import find_photos
from wsss.errors import UserError
from wsss.io.folders import files_below
from wsss.plan.watched import dataset_files, stamp
from wsss.recipes.config import Config
from wsss.recipes.schema import read_yaml

CONFIG = Path(__file__).resolve().parents[2] / "config"


def picture(path, value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).convert(mode).save(path)
    return path


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A working directory: one image below the images folder, one in a linked folder there, one beside the CSV."""
    monkeypatch.chdir(tmp_path)
    picture(Path("data/images/a.png"))
    picture(Path("disk/l.png"))
    Path("data/images/linked").symlink_to(tmp_path / "disk")
    picture(Path("data/near/b.png"))
    picture(Path("data/m.png"), mode="L")
    Path("data/labels.csv").write_text("image,labels,mask\na.png,cat,m.png\nlinked/l.png,dog,\nnear/b.png,cat,\n")
    return {"kind": "folder", "params": {"images": "data/images", "labels": "data/labels.csv"}}


def stamp_of(spec):
    return stamp(dataset_files(spec))


EDITS = {
    "the CSV": lambda: Path("data/labels.csv").write_text(Path("data/labels.csv").read_text().replace("dog", "emu")),
    "an image": lambda: picture(Path("data/images/a.png"), 9),
    "an image in a linked folder": lambda: picture(Path("disk/l.png"), 9),
    "an image beside the CSV": lambda: picture(Path("data/near/b.png"), 9),
    "a mask beside the CSV": lambda: picture(Path("data/m.png"), 1, "L"),
    "an image deleted": lambda: Path("data/near/b.png").unlink(),
    "a mask deleted": lambda: Path("data/m.png").unlink(),
    "an image of that name put before it": lambda: picture(Path("data/images/near/b.png")),
    "a link turned to another folder": lambda: (picture(Path("disk2/l.png")), Path("data/images/linked").unlink(), Path("data/images/linked").symlink_to(Path("disk2").absolute())),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_what_a_row_names_is_seen(site, edit):
    before = stamp_of(site)
    assert stamp_of(site) == before
    EDITS[edit]()
    assert stamp_of(site) != before


def test_what_no_row_names_is_not_watched(site):
    before = stamp_of(site)
    picture(Path("data/images/other.png"))
    picture(Path("data/other.png"))
    assert stamp_of(site) == before


def test_watched_is_what_the_builder_reads(site):
    Path("data/maps/linked").mkdir(parents=True)
    for name in ("a", "linked/l", "b"):
        picture(Path(f"data/maps/{name}.png"), value=200, mode="L")
    picture(Path("data/maps/near/b.png"), value=200, mode="L")
    site["params"]["saliency"] = "data/maps"
    built = folder.build(site["params"], "results/own")
    read = {str(path) for r in built.records for path in (r.image, r.mask, r.saliency) if path}
    assert {os.fspath(path) for path in dataset_files(site)} == read | {os.path.abspath("data/labels.csv")}


def test_a_moved_project_keeps_its_stamp(site, tmp_path, monkeypatch):
    absolute = {**site, "params": {k: str(tmp_path / v) for k, v in site["params"].items()}}
    Path("data/images/linked").unlink()
    Path("disk").rename("data/images/linked")
    before = stamp_of(site)
    assert stamp_of(absolute) == before
    moved = tmp_path / "moved"
    moved.mkdir()
    Path("data").rename(moved / "data")
    monkeypatch.chdir(moved)
    assert stamp_of(site) == before


def test_a_csv_that_cannot_be_planned_with_is_said(site):
    Path("data/labels.csv").write_text("a;b\nc;d\n")
    with pytest.raises(UserError, match="semicolons"):
        dataset_files(site)


# --- $NAME


@pytest.mark.parametrize("kind, key", [("folder", "labels"), ("voc", "path"), ("coco", "train_list")])
def test_a_variable_without_braces_is_that_of_the_builder(tmp_path, monkeypatch, kind, key):
    """As the rules are given it: another value is another dataset."""
    needed = {"folder": "images: i, labels: l", "voc": "", "coco": "year: 2017, list: all"}[kind].replace(f"{key}: l", "")
    given = f"kind: {kind}\nparams: {{{needed}{',' if needed else ''} {key}: $MY_DATA/x}}\n".replace(", ,", ",")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/own.yaml").write_text(given)
    for value in ("/one", "/two"):
        monkeypatch.setenv("MY_DATA", value)
        config = Config(tmp_path, read_yaml(CONFIG / "config.yaml"))
        assert config.dataset("own")["params"][key] == f"{value}/x"


# --- folders with links


def test_linked_folders_are_walked_and_circles_are_not(tmp_path):
    (tmp_path / "photos/deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos/a.jpg", "photos/deep/b.jpg", "elsewhere/c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "photos/more").symlink_to("../elsewhere")
    (tmp_path / "photos/deep/round").symlink_to("..")
    (tmp_path / "elsewhere/back").symlink_to("../photos")
    (tmp_path / "photos/itself").symlink_to("itself")
    (tmp_path / "photos/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "photos/pipe.jpg")
    found = {os.path.relpath(path, tmp_path / "photos") for path in files_below(tmp_path / "photos")}
    assert found == {"a.jpg", "deep/b.jpg", "more/c.jpg", "gone.jpg", "itself"}
    assert list(find_photos(tmp_path / "photos")) == ["a", "deep__b", "gone", "more__c"]  # gone.jpg: named by who reads it
    before = stamp([tmp_path / "photos"])
    (tmp_path / "elsewhere/c.jpg").write_bytes(b"other")
    assert stamp([tmp_path / "photos"]) != before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "photos/closed").mkdir(parents=True)
    (tmp_path / "photos/closed").chmod(0)
    with pytest.raises(UserError, match="closed: this folder cannot be read"):
        find_photos(tmp_path / "photos")


def test_a_link_to_a_whole_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("wsss.io.folders.MOST_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.jpg").touch()
    with pytest.raises(UserError, match="more than 3 files in it; does a link"):
        find_photos(tmp_path)
