"""Which of a user's files are watched."""

from pathlib import Path

import pytest
from wsss.data.user_files import folder_stamp, own_data


def test_folder_stamp_sees_content_names_and_losses(tmp_path):
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "a.png"
    path.write_bytes(b"one")
    first = folder_stamp([str(tmp_path / "images")])
    assert folder_stamp([str(tmp_path / "images")]) == first
    path.write_bytes(b"three")
    second = folder_stamp([str(tmp_path / "images")])
    path.rename(path.with_name("b.png"))
    third = folder_stamp([str(tmp_path / "images")])
    Path(tmp_path / "images" / "b.png").unlink()
    assert len({first, second, third, folder_stamp([str(tmp_path / "images")])}) == 4


@pytest.mark.parametrize("below", [".", "VOC2012", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize(
    "changed", ["JPEGImages/a.jpg", "Annotations/a.xml", "SegmentationClass/a.png", "ImageSets/Segmentation/val.txt"]
)


def test_a_changed_file_of_a_users_voc_tree_is_seen(tmp_path, below, changed):
    for name in ("ImageSets/Segmentation/train.txt", "list.txt", "sbd/train.txt", f"{below}/other/huge"):
        (tmp_path / below / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / below / "ImageSets/Segmentation/train.txt").touch()
    params = {"path": str(tmp_path), "trainaug": str(tmp_path / "list.txt"), "sbd": str(tmp_path / "sbd")}
    spec = {"kind": "voc", "params": params}
    before = folder_stamp(own_data(spec))
    for name in ("other/huge", changed):
        (tmp_path / below / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / below / name).write_bytes(b"x")
        assert (folder_stamp(own_data(spec)) != before) == (name == changed)
    before = folder_stamp(own_data(spec))
    (tmp_path / "list.txt").write_text("a\n")
    assert folder_stamp(own_data(spec)) != before


def test_made_and_downloaded_data_are_not_watched():
    assert own_data({"kind": "demo", "params": {"seed": 0}}) == []
    assert own_data({"kind": "voc", "params": {"path": None, "sbd": None}}) == []
