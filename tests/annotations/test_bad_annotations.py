"""Annotation files that are damaged, hostile or of other photos: one line each, no mask, and no crash of what draws them."""

import json

import numpy as np
import pytest
from helpers import folder_dataset
from PIL import Image
from wsss.__main__ import main
from wsss.data.manifest import load_manifest
from wsss.engine.atomic import write_json
from wsss.engine.index import write_index
from wsss.io.masks import read_mask, write_mask

FIRST = "p 0 ü"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """results/DATASET of three photos of 16x24, with masks in amn/pseudo_masks."""
    monkeypatch.chdir(tmp_path)
    results = folder_dataset(tmp_path, sizes=((16, 24),) * 3)
    stage_of(results)
    return results


def stage_of(results, value=1):
    made = results / "amn/pseudo_masks"
    ids = [record.id for record in load_manifest(results / "manifest.csv").records]
    for item_id in ids:
        write_mask(made / f"{item_id}.png", np.full((16, 24), value, np.uint8))
    write_index(made, dict.fromkeys(ids, ""), [".png"])
    return made


@pytest.fixture
def refused(results, tmp_path, capsys):
    """What the command says of a file that it refuses; nothing is drawn."""

    def said(source):
        assert main(["masks", str(source), "--dataset", str(results), "--out", str(tmp_path / "back")]) == 1
        assert not (tmp_path / "back").exists()
        return capsys.readouterr().err

    return said


def labelme(folder, shape=None, name=FIRST, **changes):
    """`folder` with one file of LabelMe's."""
    polygon = {"label": "red", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon", **(shape or {})}
    folder.mkdir(exist_ok=True)
    content = {"shapes": [polygon], "imagePath": f"{name}.png", "imageHeight": 16, "imageWidth": 24, **changes}
    (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
    return folder


@pytest.mark.parametrize(
    "shape, words",
    [
        ({"points": [[float("nan"), 1], [2, 3], [4, 5]]}, "a polygon, has a point that is no number"),
        ({"points": [[1e300, 1], [2, 3], [4, 1e300]]}, "lies outside of the photo of 24x16"),
        ({"points": [[500, 500], [600, 500], [600, 600]]}, "lies outside of the photo of 24x16"),
        ({"points": [[30, 2], [40, 2], [40, 9]]}, "lies outside of the photo of 24x16"),
        ({"points": [[5, 5], [9, 9]]}, "has fewer than three points"),
        ({"points": [[5, 5]], "shape_type": "rectangle"}, "a rectangle, has fewer than three points"),
        ({"points": []}, "has fewer than three points"),
        ({"points": [], "shape_type": "mask"}, "a mask, has fewer than three points"),
        ({"label": "RED"}, "labels 'RED' are no classes"),
    ],
)
def test_shapes_that_cannot_be_meant(refused, tmp_path, shape, words):
    error = refused(labelme(tmp_path / "lm", shape))
    assert words in error and f"{FIRST}.json" in error


@pytest.mark.parametrize("width", [10**9, -5, 0])
def test_sizes_of_no_photo_need_no_memory(refused, tmp_path, width):
    assert f"says {width}x1000000000, which is no photo's size" in refused(labelme(tmp_path / "lm", imageWidth=width, imageHeight=10**9))


def test_a_file_of_one_photo_that_names_another(refused, tmp_path):
    error = refused(labelme(tmp_path / "lm", imagePath="../other/p 1 ü.png"))
    assert f"is called after photo '{FIRST}', and its imagePath names 'p 1 ü'" in error


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{", b""])
def test_a_damaged_file_of_the_users_is_never_to_be_deleted(refused, results, content):
    """Hand-corrected work; beside a dataset's manifest, too, where our own files would be made again."""
    (labelme(results / "corrected") / f"{FIRST}.json").write_bytes(content)
    error = refused(results / "corrected")
    assert f"{FIRST}.json: not valid JSON" in error and "save it with LabelMe again" in error
    assert "delete" not in error and "snakemake" not in error


def test_a_byte_order_mark_is_read(results, tmp_path):
    path = labelme(tmp_path / "lm") / f"{FIRST}.json"
    path.write_text(path.read_text("utf-8"), "utf-8-sig")
    assert main(["masks", str(tmp_path / "lm"), "--dataset", str(results), "--out", "back"]) == 0
    assert read_mask(tmp_path / f"back/{FIRST}.png").any()


def test_any_two_corners_make_a_rectangle(results, tmp_path):
    source = labelme(tmp_path / "lm", {"points": [[9, 2], [3, 6]], "shape_type": "rectangle"})
    assert main(["masks", str(source), "--dataset", str(results), "--out", "back"]) == 0
    wanted = np.zeros((16, 24), np.uint8)
    wanted[2:7, 3:10] = 1
    np.testing.assert_array_equal(read_mask(tmp_path / f"back/{FIRST}.png"), wanted)


def cvat(path, shape, size_wh=(24, 16), name=f"{FIRST}.png", doctype=""):
    image = f'<image id="0" name="{name}" width="{size_wh[0]}" height="{size_wh[1]}">{shape}</image>'
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>{doctype}<annotations>{image}</annotations>', "utf-8")
    return path


def polygon(points):
    return f'<polygon label="red" points="{points}"/>'


def mask(rle, left=0, top=0, width=4, height=2):
    return f'<mask label="red" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}"/>'


@pytest.mark.parametrize(
    "shape, words",
    [
        (polygon("nan,1;2,3;4,5"), "has a point that is no number"),
        (polygon("1e300,1;2,3;4,5"), "lies outside of the photo of 24x16"),
        (polygon("1e8,1;2,3;4,5e7"), "lies outside of the photo of 24x16"),
        (polygon("1,1;9,9"), "has fewer than three points"),
        (polygon("1,1;9,9;5"), "has a point without x or y"),
        (mask("99999999999999999999, 5"), "100000000000000000004 pixels in its rle, 4x2 in its box"),
        (mask("9999999999, 5"), "10000000004 pixels in its rle"),
        (mask("-2, 10"), "a run of -2 pixels in its rle; runs are 0 or more"),
        (mask("1000000000000", width=10**6, height=10**6), "reaches out of the image"),
        (mask("0, 8", left=-6, top=-3), "reaches out of the image"),
    ],
)
def test_shapes_of_cvat_that_cannot_be_meant(refused, tmp_path, shape, words):
    error = refused(cvat(tmp_path / "a.xml", shape))
    assert words in error and f"a.xml: image '{FIRST}.png'" in error


@pytest.mark.parametrize("size_wh", [(10**6, 10**6), (-24, 16)])
def test_sizes_of_no_photo_in_cvat(refused, tmp_path, size_wh):
    assert "which is no photo's size" in refused(cvat(tmp_path / "a.xml", "", size_wh))


def test_entities_that_grow_are_not_waited_for(refused, tmp_path):
    grown = "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(12))
    doctype = f'<!DOCTYPE l [<!ENTITY a "lollollollol">{grown}]>'
    assert "not readable as XML" in refused(cvat(tmp_path / "a.xml", "", name="&m;", doctype=doctype))


def test_the_xml_may_be_called_as_a_photo_is(results, tmp_path):
    source = cvat(tmp_path / f"{FIRST}.xml", polygon("1,1;9,1;9,9"), name="p 1 ü.png")
    assert main(["masks", str(source), "--dataset", str(results), "--out", "back"]) == 0
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["p 1 ü.png"]


def test_the_rest_is_of_the_same_dataset_and_sound(results, tmp_path, capsys):
    """Numbers in masks mean classes by their dataset's list; nothing tells that of a PNG."""
    source = labelme(tmp_path / "lm")
    command = ["masks", str(source), "--dataset", str(results), "--out", "back", "--rest"]
    other = folder_dataset(tmp_path / "other", sizes=((16, 24),) * 4)
    about = json.loads((other / "dataset.json").read_text("utf-8"))
    assert main([*command, str(stage_of(other))]) == 1
    assert "holds masks of photos that own has not (p 3 ü)" in capsys.readouterr().err
    (other / "dataset.json").write_text(json.dumps({**about, "classes": ["green", "red"]}), "utf-8")
    assert main([*command, str(other / "amn/pseudo_masks")]) == 1
    assert "its classes are green, red, those of own red, green" in capsys.readouterr().err
    assert main([*command, str(stage_of(results, value=77))]) == 1
    assert "values [77] are no classes" in capsys.readouterr().err


def test_masks_are_written_neither_over_photos_nor_over_a_stage(results, tmp_path, capsys):
    made = results / "amn/pseudo_masks"
    photo = (tmp_path / f"images/{FIRST}.png").read_bytes()
    for command in (["export", str(made), "--as", "png"], ["masks", str(labelme(tmp_path / "lm")), "--dataset", str(results)]):
        assert main([*command, "--out", "images", "--overwrite"]) == 1
        assert "images: holds the photos themselves" in capsys.readouterr().err
    assert (tmp_path / f"images/{FIRST}.png").read_bytes() == photo
    assert main(["masks", "lm", "--dataset", str(results), "--out", str(made), "--overwrite"]) == 1
    assert "holds what a stage made" in capsys.readouterr().err


def test_masks_go_neither_among_photos_nor_among_the_ground_truth(tmp_path, monkeypatch, capsys):
    """Scores would be of what is scored."""
    monkeypatch.chdir(tmp_path)
    results = folder_dataset(tmp_path, sizes=((16, 24),) * 3, masks=True)
    truth = {path: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    for command in (["export", str(stage_of(results)), "--as", "png"], ["masks", str(labelme(tmp_path / "lm")), "--dataset", str(results)]):
        assert main([*command, "--out", "masks", "--overwrite"]) == 1
        assert "masks: is the folder of the ground truth of own" in capsys.readouterr().err
    assert truth and {path: path.read_bytes() for path in truth} == truth


def test_masks_do_not_go_among_the_saliency_maps(tmp_path, monkeypatch, capsys):
    """EPS would learn from class numbers."""
    monkeypatch.chdir(tmp_path)
    results = folder_dataset(tmp_path, sizes=((16, 24),) * 3)
    (tmp_path / "maps").mkdir()
    for record in load_manifest(results / "manifest.csv").records:
        write_mask(tmp_path / f"maps/{record.id}.png", np.zeros((16, 24), np.uint8))
    rows = (results / "manifest.csv").read_text("utf-8").splitlines()
    rows = [rows[0], *(f"{row.rpartition(',')[0]},{tmp_path}/maps/{row.split(',')[0]}.png" for row in rows[1:])]
    (results / "manifest.csv").write_text("\n".join(rows) + "\n", "utf-8")
    assert main(["export", str(stage_of(results)), "--as", "png", "--out", "maps", "--overwrite"]) == 1
    assert "maps: is the folder of the saliency maps of own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["amn/pseudo_masks/index.json", "manifest.csv", "../mine.txt"])
def test_an_export_never_takes_the_place_of_another_file(results, capsys, name):
    out = results / name
    out.touch()
    before = out.read_bytes()
    assert main(["export", str(results / "amn/pseudo_masks"), "--as", "coco", "--out", str(out), "--overwrite"]) == 1
    words = "is there, and is no .json file" if out.suffix == ".txt" else "lies where stages write; give the name of a new file"
    assert f"{out.name}: {words}" in capsys.readouterr().err and out.read_bytes() == before


@pytest.mark.parametrize("encoding", ["gbk", "ansi"])
def test_an_encoding_that_python_cannot_read_as_xml(refused, tmp_path, encoding):
    source = cvat(tmp_path / "a.xml", "")
    source.write_text(f'<?xml version="1.0" encoding="{encoding}"?>' + source.read_text().split("?>", 1)[-1])
    assert "a.xml: not readable as XML" in refused(source)


def test_a_photo_that_was_replaced_has_no_mask_of_its_size(results, tmp_path, capsys):
    Image.new("RGB", (30, 40)).save(tmp_path / f"images/{FIRST}.png")
    assert main(["export", str(results / "amn/pseudo_masks"), "--as", "png", "--out", "out"]) == 1
    assert "its mask is of 24x16, and the photo" in (error := capsys.readouterr().err) and "of 30x40" in error


@pytest.mark.parametrize("out", ["trip", "trip/masks"])
def test_masks_of_predicted_photos_do_not_go_among_them(results, tmp_path, capsys, out):
    """Every picture there is a photo the next time."""
    made = results / "amn/predict/trip"
    (tmp_path / "trip").mkdir()
    Image.new("RGB", (24, 16)).save(tmp_path / "trip/a.jpg")
    write_mask(made / "a.png", np.ones((16, 24), np.uint8))
    write_index(made, {"a": ""}, [".png"])
    write_json(made / "run.json", {"stage": "predict", "params": {"photos": {"folder": str(tmp_path / "trip")}}})
    assert main(["export", str(made), "--as", "png", "--out", out]) == 1
    assert "where masks would pass for photos" in capsys.readouterr().err
    assert main(["export", str(made), "--as", "png", "--out", "elsewhere"]) == 0


def test_saliency_maps_are_no_masks(results, capsys):
    made = stage_of(results)
    write_json(made / "run.json", {"stage": "saliency", "classes": ["a"]})
    assert main(["export", str(made), "--as", "png", "--out", "maps"]) == 1
    assert "holds no masks; give results/DATASET/METHOD/STAGE" in capsys.readouterr().err
