"""`python -m wsss export` and `masks`: what other programs read is the mask, and corrected files come back."""

import base64
import io
import json
import os
import shutil
import time
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from helpers import folder_dataset
from PIL import Image
from pycocotools.coco import COCO
from wsss.__main__ import main
from wsss.annotations.cvat import from_run_lengths, run_lengths
from wsss.annotations.regions import paint, painted_regions
from wsss.data.manifest import load_manifest
from wsss.engine.atomic import write_json
from wsss.engine.index import write_index
from wsss.io.masks import read_mask, write_mask


def rings(size_hw=(64, 64)):
    """A mask with holes, a class in a hole, pixels that touch by a corner, single pixels, and unsure ones."""
    mask = np.zeros(size_hw, np.uint8)
    cv2.circle(mask, (30, 30), 22, 1, 7)
    mask[26:34, 26:34] = 2
    mask[29:31, 29:31] = 0
    mask[0, 0] = mask[1, 1] = mask[63, 60] = 1
    mask[60:63, 2:9] = 255
    return mask


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """results/DATASET/amn/pseudo_masks of six photos."""
    monkeypatch.chdir(tmp_path)
    results = folder_dataset(tmp_path)
    made = results / "amn" / "pseudo_masks"
    masks = {r.id: np.where(rings() == 1, 1 + k % 2, rings()).astype(np.uint8) for k, r in enumerate(load_manifest(results / "manifest.csv").records)}
    for item_id, mask in masks.items():
        write_mask(made / f"{item_id}.png", mask)
    write_index(made, dict.fromkeys(masks, ""), [".png"])
    return made


def drawn(folder):
    return {path.stem: read_mask(path) for path in sorted(folder.glob("*.png"))}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for item_id in wanted:
        np.testing.assert_array_equal(found[item_id], wanted[item_id])


@pytest.mark.parametrize("seed", range(6))
def test_polygons_paint_the_very_mask(seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), (23, 31), p=[0.3, 0.3, 0.3, 0.1])
    if seed % 2:  # blobs, where half of them is noise
        mask = cv2.resize(mask, (62, 46), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(paint(np.zeros_like(mask), painted_regions(mask)), mask)
    np.testing.assert_array_equal(paint(np.zeros((64, 64), np.uint8), painted_regions(rings())), rings())


def test_tolerance_saves_points_and_keeps_the_border():
    mask = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 60, 1, -1)
    ((_, exact),), ((_, rough),) = painted_regions(mask), painted_regions(mask, 1.0)
    assert len(rough) < len(exact) / 3
    changed = paint(np.zeros_like(mask), [(1, rough)]) != mask
    assert 0 < changed.sum() < 0.05 * mask.sum()
    assert not changed[cv2.circle(np.zeros_like(mask), (100, 100), 60, 1, 5) == 0].any()


def test_photos_that_are_newer_than_their_masks_are_told(folder, tmp_path, capsys):
    """Another picture of the same name and size would get the old one's mask."""
    photo = load_manifest(folder.parents[1] / "manifest.csv").records[0]
    os.utime(photo.image, (2**31, 2**31))
    assert main(["export", str(folder), "--as", "coco", "--out", str(tmp_path / "a.json")]) == 0
    assert f"note: files of 1 photos were changed, renamed or copied after the masks were made ({photo.id})" in capsys.readouterr().out
    index = folder / "index.json"
    os.chmod(index, index.stat().st_mode)  # moved or copied results are newer than all
    assert main(["export", str(folder), "--as", "coco", "--out", str(tmp_path / "b.json")]) == 0
    assert f"({photo.id})" in capsys.readouterr().out


def test_photos_that_took_each_others_names_are_told(folder, tmp_path, capsys):
    one, two = (record.image for record in load_manifest(folder.parents[1] / "manifest.csv").records[:2])
    time.sleep(0.05)  # times of files go by the kernel's clock, which ticks some hundred times a second
    for old, new in ((one, tmp_path / "aside"), (two, one), (tmp_path / "aside", two)):
        os.rename(old, new)
    assert main(["export", str(folder), "--as", "coco", "--out", str(tmp_path / "a.json")]) == 0
    assert "note: files of 2 photos were changed, renamed" in capsys.readouterr().out


def test_coco_is_what_pycocotools_reads(folder, tmp_path, capsys):
    out = tmp_path / "masks ü.json"
    assert main(["export", str(folder), "--as", "coco", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "6 photos" in said and "note" not in said
    coco = COCO(out)
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == {1: "red", 2: "green"}
    masks = drawn(folder)
    for image in coco.dataset["images"]:
        found = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            inside = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == inside.sum() and annotation["iscrowd"] == 0
            x, y, w, h = map(int, annotation["bbox"])
            assert inside[y : y + h, x : x + w].sum() == inside.sum()
            found[inside] = annotation["category_id"]
        mask = masks[image["file_name"].removesuffix(".png")]
        np.testing.assert_array_equal(found, np.where(mask == 255, 0, mask))
    assert len(coco.dataset["annotations"]) == len({(a["image_id"], a["category_id"]) for a in coco.dataset["annotations"]})


@pytest.mark.parametrize("kind, source", [("labelme", "."), ("cvat", "annotations.xml")])
def test_there_and_back(folder, tmp_path, kind, source):
    out = tmp_path / "there" / source
    assert main(["export", str(folder), "--as", kind, "--out", str(out), "--tolerance", "0"]) == 0
    assert main(["masks", str(out), "--dataset", str(folder.parents[1]), "--out", str(tmp_path / "back")]) == 0
    assert_same(drawn(tmp_path / "back"), drawn(folder))


def test_corrections_come_back_and_the_rest_is_kept(folder, tmp_path):
    """One LabelMe file is corrected, its photo's polygons replaced by one; the other five masks are those that were there."""
    assert main(["export", str(folder), "--as", "labelme", "--out", str(tmp_path / "all")]) == 0
    path = sorted((tmp_path / "all").glob("*.json"))[0]
    content = json.loads(path.read_text("utf-8"))
    assert (path.parent / content["imagePath"]).is_file()
    content["shapes"] = [{"label": "green", "points": [[2.2, 3.1], [9.9, 3.0], [9.8, 8.2], [2.0, 8.0]], "shape_type": "polygon"}]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / path.name).write_text(json.dumps(content), "utf-8")
    command = ["masks", str(tmp_path / "one"), "--dataset", str(folder.parents[1]), "--out", str(tmp_path / "back"), "--rest", str(folder)]
    assert main(command) == 0
    wanted = drawn(folder) | {path.stem: np.zeros((64, 64), np.uint8)}
    wanted[path.stem][3:9, 2:11] = 2
    assert_same(drawn(tmp_path / "back"), wanted)


@pytest.mark.parametrize("kind, source", [("labelme", "."), ("cvat", "annotations.xml")])
def test_photos_in_which_nobody_has_drawn_yet_keep_the_masks_they_have(folder, tmp_path, capsys, kind, source):
    """Programs list all photos; an empty one with labels is no mask of background, unless background is drawn there."""
    there, results = tmp_path / "there", folder.parents[1]
    ids = sorted(drawn(folder))
    assert main(["export", str(folder), "--as", kind, "--out", str(there / source), "--tolerance", "0"]) == 0
    if kind == "cvat":
        tree = ET.parse(there / source)
        for image in tree.getroot().findall("image")[1:]:
            for shape in list(image):
                image.remove(shape)
        tree.write(there / source)
    else:
        for item_id in ids[1:]:
            path = there / f"{item_id}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"shapes": []}))
    command = ["masks", str(there / source), "--dataset", str(results)]
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "alone")]) == 0
    assert "1 masks drawn" in (said := capsys.readouterr().out) and "nothing is drawn in 5 photos that have labels" in said
    assert_same(drawn(tmp_path / "alone"), {ids[0]: drawn(folder)[ids[0]]})
    shutil.copy(tmp_path / f"alone/{ids[0]}.png", tmp_path / f"alone/{ids[1]}.png")  # of an earlier call
    before = drawn(tmp_path / "alone")
    assert main([*command, "--out", str(tmp_path / "alone"), "--overwrite"]) == 1
    assert f"holds files of photos in which nothing is drawn ({ids[1]})" in capsys.readouterr().err
    assert_same(drawn(tmp_path / "alone"), before)
    assert main([*command, "--out", str(tmp_path / "back"), "--rest", str(folder)]) == 0
    assert "1 masks drawn" in (said := capsys.readouterr().out) and "5 copied" in said and "nothing is drawn in 5 of these" in said
    assert_same(drawn(tmp_path / "back"), drawn(folder))


def brushed(label, points, inside):
    """A shape as LabelMe's brush and its networks leave it."""
    data = io.BytesIO()
    Image.fromarray(np.array(inside, bool)).save(data, "PNG")
    return {"label": label, "points": points, "shape_type": "mask", "mask": base64.b64encode(data.getvalue()).decode()}


def test_labelme_masks_lie_where_their_first_point_is(folder, tmp_path, capsys):
    assert main(["export", str(folder), "--as", "labelme", "--out", str(tmp_path / "all")]) == 0
    path = sorted((tmp_path / "all").glob("*.json"))[0]
    content = json.loads(path.read_text("utf-8"))
    square = {"label": "red", "points": [[8, 4], [20, 30]], "shape_type": "rectangle"}
    content["shapes"] = [square, brushed("green", [[10.0, 5.0], [12.0, 6.0]], [[1, 0, 1], [0, 1, 1]])]
    (tmp_path / "one").mkdir()
    write_json(tmp_path / "one" / path.name, content)
    command = ["masks", str(tmp_path / "one"), "--dataset", str(folder.parents[1]), "--out", str(tmp_path / "back")]
    assert main(command) == 0
    wanted = np.zeros((64, 64), np.uint8)
    wanted[4:31, 8:21] = 1
    wanted[[5, 5, 6, 6], [10, 12, 11, 12]] = 2
    np.testing.assert_array_equal(drawn(tmp_path / "back")[path.stem], wanted)
    for broken in (brushed("green", [[62, 5], [64, 6]], [[1, 0, 1]]), {**content["shapes"][1], "mask": None}, {**content["shapes"][1], "mask": "AAAA"}):
        write_json(tmp_path / "one" / path.name, {**content, "shapes": [square, broken]})
        assert main([*command, "--overwrite"]) == 1
        assert "shape 2 ('green') is a mask without a picture of its place" in capsys.readouterr().err


def test_cvat_polygons_lie_where_cvat_draws_them(folder, tmp_path):
    """Corners count from a pixel's corner; the higher z_order is on top, whatever comes first."""
    name = load_manifest(folder.parents[1] / "manifest.csv").records[0].image.name
    root = ET.Element("annotations")
    image = ET.SubElement(root, "image", name=f"upload/{name}", width="64", height="64")
    ET.SubElement(image, "polygon", label="green", points="10.0,5.0;20.0,5.0;20.0,9.0;10.0,9.0", z_order="1")
    ET.SubElement(image, "mask", label="red", rle="0, 12", left="15", top="4", width="6", height="2", z_order="0")
    ET.ElementTree(root).write(tmp_path / "a.xml", encoding="utf-8")
    assert main(["masks", str(tmp_path / "a.xml"), "--dataset", str(folder.parents[1]), "--out", str(tmp_path / "back")]) == 0
    (found,) = drawn(tmp_path / "back").values()
    wanted = np.zeros((64, 64), np.uint8)
    wanted[4:6, 15:21], wanted[5:9, 10:20] = 1, 2
    np.testing.assert_array_equal(found, wanted)


def test_cvat_s_labels_stand_where_its_readers_look(folder, tmp_path):
    assert main(["export", str(folder), "--as", "cvat", "--out", str(tmp_path / "a.xml")]) == 0
    names = [label.findtext("name") for label in ET.parse(tmp_path / "a.xml").getroot().findall("meta/task/labels/label")]
    assert names == ["red", "green", "unsure"]


def test_run_lengths_begin_with_what_is_out():
    assert run_lengths(np.array([[True, True], [False, True]])) == [0, 2, 1, 1]
    assert run_lengths(np.array([[False, True], [True, False]])) == [1, 2, 1]
    with pytest.raises(ValueError, match="3 pixels in its rle, 2x2"):
        from_run_lengths([1, 2], (2, 2))


def test_mistakes_are_one_line_each_and_nothing_is_written(folder, tmp_path, capsys):
    def said(*arguments):
        assert main([str(a) for a in arguments]) == 1
        return capsys.readouterr().err

    assert "give results/DATASET/METHOD/STAGE" in said("export", folder.parent, "--as", "coco", "--out", tmp_path / "a.json")
    (tmp_path / "a.json").write_text("mine")
    assert "say --overwrite" in said("export", folder, "--as", "coco", "--out", tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "mine"
    main(["export", str(folder), "--as", "labelme", "--out", str(tmp_path / "all")])
    assert "6 files are there" in said("export", folder, "--as", "labelme", "--out", tmp_path / "all")
    first, second, third, *_ = sorted((tmp_path / "all").glob("*.json"))
    for path, old, new in ((first, '"red"', '"rad"'), (second, '"polygon"', '"circle"'), (third, '"imageWidth": 64', '"imageWidth": 65')):
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    (tmp_path / "all" / "other.json").write_text(second.read_text("utf-8").replace("circle", "polygon").replace("p 1", "p 99"), "utf-8")
    error = said("masks", tmp_path / "all", "--dataset", folder.parents[1], "--out", tmp_path / "back")
    for words in ("4 problems", "'rad'", "circle", "65x64", "p 99"):
        assert words in error
    assert not (tmp_path / "back").exists()
    (folder / "p 0 ü.png").unlink()
    assert "1 of 6 ids have no file here" in said("export", folder, "--as", "cvat", "--out", tmp_path / "a.xml")


def test_masks_of_another_class_list_are_not_named_by_todays(folder, tmp_path, capsys):
    write_json(folder / "run.json", {"classes": ["red", "green"]})
    assert main(["export", str(folder), "--as", "coco", "--out", str(tmp_path / "a.json")]) == 0
    write_json(folder / "run.json", {"classes": ["green", "red"]})
    assert main(["export", str(folder), "--as", "coco", "--out", str(tmp_path / "b.json")]) == 1
    assert "pseudo_masks: was made when the classes were green, red" in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()
