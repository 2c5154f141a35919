"""Tables and files as programs and hurried people leave them: read as they are meant, or refused in words that say the mend."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import PHOTOS, table_builder
from PIL import Image
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.masks import read_mask
from wsss.plan.ground_truth import has_masks

HEAD = "image,labels\n"


@pytest.fixture
def build(tmp_path):
    """Build a dataset of four photos from the bytes or text of a table."""
    return table_builder(tmp_path)


def refused(build, text, *parts, without=(), **params):
    with pytest.raises(UserError) as error:
        build(text, **params)
    for part in ("labels.csv", *parts):
        assert part in str(error.value), error.value
    for part in without:
        assert part not in str(error.value), error.value


@pytest.mark.parametrize(
    "text, part",
    [
        ((HEAD + "a.png,cat\n").encode("utf-16"), "UTF-16"),
        ((HEAD + "a.png,cat\n").encode("utf-16-le"), "UTF-16"),
        ((HEAD + "a.png,cat\n").encode("utf-32"), "UTF-16 or UTF-32"),
        ("image\tlabels\na.png\tcat\n", "line 1: cells are parted by tabs"),
        ("image;labels\na.png;cat\n", "parted by semicolons"),
        ("image|labels\na.png|cat\n", "parted by bars"),
        ('"image,labels"\n"a.png,cat"\n', "line 1: the whole line stands in one pair of quotes"),
        ("sep=;\nimage;labels\na.png;cat\n", "line 1 tells a spreadsheet"),
        ("sep=,\nimage,labels\na.png,cat\n", "line 1 tells a spreadsheet"),
        ("# mine\nimage,labels\na.png,cat\n", "the header in line 1 has (1: # mine)"),
        (HEAD + "a.png\nb.png,cat\n", "line 2: not as many cells as the header in line 1 has (2: image, labels), but 1; write every cell"),
        (HEAD + "a.png,cat,dog\n", "but 3; put cells that hold a comma in double quotes"),
        (HEAD + "a.png," + "x" * 200_000, "shorten the cell"),
        ("image,dog,cat\na.png,1,0\nb.png,0,1\n", "has a column for each class (dog, cat)"),
        ("image,cat,train\na.png,1,0\nb.png,0,1\n", "has a column for each class (cat, train)"),
        ("a.png,dog\nb.png,cat\n", "line 1 is a photo's row already"),
        ("a.png,dog,train\nb.png,cat,train\n", "line 1 is a photo's row already"),
        (b"PK\x03\x04" + bytes(40), "a workbook of a spreadsheet"),
        ('{"a.png": ["dog"]}', "is JSON"),
    ],
    ids=["utf16", "utf16_bare", "utf32", "tabs", "semicolons", "bars", "quoted", "sep", "sep_comma", "comment", "few_cells", "many_cells", "huge", "one_hot", "one_hot_train", "no_header", "no_header_split", "xlsx", "json"],
)
def test_tables_in_another_form(build, text, part):
    refused(build, text, part, without=["double quote that was opened"])


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf\xef\xbb\xbf" + HEAD.encode() + b"a.png,cat\n",
        "image,labels,,\na.png,cat,,\n",
        "image,labels\ra.png,cat\r",
        '"image","labels"\r\n\r\n"a.png"," cat "\r\n',
        HEAD + "a.png,cat\u00a0\n",
        HEAD + "  \na.png,cat\n",
    ],
    ids=["two_boms", "trailing_commas", "old_mac", "quotes_and_crlf", "no_break_space", "line_of_spaces"],
)
def test_tables_that_can_be_meant(build, text):
    dataset = build(text)
    assert dataset.classes == ("cat",) and [record.id for record in dataset.records] == ["a"]


@pytest.mark.parametrize(
    "named, there",
    [("g.png", "sub/g.png"), ("A.PNG", "a.png"), ("sub\\g.png", "sub/g.png"), ("C:\\me\\a.png", "a.png"), ("G", "sub/g.png")],
)
def test_a_photo_that_lies_elsewhere_is_named(build, tmp_path, named, there):
    (tmp_path / "images/sub").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images/sub/g.png")
    refused(build, f"image,labels\nb.png,cat\n{named},cat\n", f"but there is {there!r}; mend the path")
    refused(build, "image,labels\n" + "".join(f"{name},cat\n" for name in (named, "x", "y", "z")), "holds none of the 4", f"but there is {there!r}", "mend the paths in the table")


def test_a_link_to_nothing_and_accents_stored_apart_are_told(build, tmp_path):
    (tmp_path / "images/g.png").symlink_to(tmp_path / "gone.png")
    refused(build, "image,labels\nb.png,cat\ng.png,cat\n", "g.png is a link to", "gone.png, where nothing is; mend the path")
    Image.new("RGB", (8, 6)).save(tmp_path / "images/Ba\u0308r.png")
    refused(build, "image,labels\nb.png,cat\nB\u00e4r.png,cat\n", "but there is 'Ba\u0308r.png', whose accents are stored in another form")


@pytest.mark.parametrize("column, cell", [("id", "{}"), ("image", "{}.png")])
def test_zeros_that_a_spreadsheet_took_are_told(build, tmp_path, column, cell):
    for number in range(5):
        Image.new("RGB", (8, 6)).save(tmp_path / f"images/{number:04d}.png")
    few = "".join(f"{cell.format(number)},cat\n" for number in (1, 2))
    refused(build, f"{column},labels\n{few}", "but there is '0001.png': a spreadsheet took zeros away")
    many = "".join(f"{cell.format(number)},cat\n" for number in range(5))
    refused(build, f"{column},labels\n{many}", "holds none of the 5", "but there is '0000.png': a spreadsheet took zeros away")


def test_a_folder_with_a_space_or_an_unset_variable_is_told(build, tmp_path, monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    for folder, words in (("images ", r"'.*images ' has a space at an end"), ("$NOPE/images", "an environment variable in it is not set")):
        with pytest.raises(UserError, match=f"is not a folder; .*{words}"):
            build(HEAD + "a.png,cat\n", images=f"{tmp_path}/{folder}")


def test_nothing_is_named_for_a_photo_that_is_nowhere(build):
    refused(build, "image,labels\nb.png,cat\nx.png,cat\n", "'x.png': no such file", without=["but there is"])


def test_paths_of_windows_are_told_as_such(build):
    with pytest.raises(UserError, match=r"photos: is not a folder.*a path of Windows: under WSL"):
        build("image,labels\nb.png,cat\n", images="C:\\Users\\me\\photos")
    with pytest.raises(UserError, match=r"C:.me.labels.csv: cannot be read .* \(it is a path of Windows"):
        has_masks({"kind": "folder", "params": {"labels": "C:\\me\\labels.csv"}})
    with pytest.raises(UserError, match=r"is not a folder.*folders are parted by /"):
        build("image,labels\nb.png,cat\n", images=r"my\photos")


def test_columns_in_capitals_are_named(build):
    refused(build, "Image,Labels\na.png,cat\n", "did you mean 'image'?", "did you mean 'labels'?")


def test_all_that_is_wrong_with_labels_is_said_at_once(build):
    refused(build, HEAD + "a.png,none\nb.png,background\nc.png,cat\n", "'none': says that there is none", "'background' is background, which every dataset has")


def test_a_pipe_is_not_waited_for(build, tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    refused(build, None, "is a pipe or device")
    with pytest.raises(UserError, match="is a pipe"):
        has_masks({"kind": "folder", "params": {"labels": str(tmp_path / "labels.csv")}})


@pytest.mark.parametrize(
    "labels, part",
    [
        (["1", "2", "10"], "'10' would be 2, '2' would be 3; list them in `classes`"),
        (["0", "1"], "'0' would be 1"),
        (["1.0", "1"], "'1.0' would be 2"),
        (["-1", "1"], "'-1' would be 1"),
        (["True", "False"], "is yes or no"),
        (["-", "cat"], "no letter and no digit"),
        (["?!", "cat"], "no letter and no digit"),
        (["unknown", "cat"], "says that there is none"),
        (["Unlabeled", "cat"], "says that there is none"),
        (["bg", "cat"], "says that there is none"),
        (["“cat”", "dog"], "take the brackets or quotes away"),
        (["cat and dog", "cat", "dog"], "cat, dog are classes of their own"),
        (["c\u0430t", "cat"], "CYRILLIC and LATIN"),
        (["x" * 101, "cat"], "101 characters"),
    ],
)
def test_labels_that_cannot_be_meant(build, labels, part):
    refused(build, HEAD + "".join(f"{name}.png,{label}\n" for name, label in zip(PHOTOS, labels, strict=False)), part)


@pytest.mark.parametrize("labels", [["1", "2", "3"], ["🐱", "cat"], ["bread and butter", "cat"], ["кот", "cat"], ["α-cell", "b2", "3"]])
def test_labels_that_can_be_meant(build, labels):
    dataset = build(HEAD + "".join(f"{name}.png,{label}\n" for name, label in zip(PHOTOS, labels, strict=False)))
    assert set(dataset.classes) == set(labels)


def test_a_list_of_classes_settles_numbers(build):
    dataset = build(HEAD + "a.png,0\nb.png,10\n", classes=["10", "0"])
    assert dataset.classes == ("10", "0") and [record.labels for record in dataset.records] == [(1,), (0,)]


def test_rows_that_are_found_by_nobody(build, tmp_path):
    refused(build, "id,labels\na.png,cat\n", "ids have no suffix; call the column image", without=["0 classes"])
    refused(build, "id,labels\n" + "".join(f"{name}.png,cat\n" for name in PHOTOS), "'a.png': is a file's name, ids have no suffix; call the column image", without=["but there is"])
    refused(build, HEAD + "x.png,cat\n", "no such file below", without=["0 classes", "in training"])
    refused(build, HEAD + "a.png,cat\n./a.png,dog\n", "stands in line 2 too; keep one row", without=["rename"])
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.jpg")
    refused(build, "id,labels\na,cat\n", "a.jpg", "a.png", "both have this id; use the column image")


def test_a_folder_without_any_of_the_images_is_one_line(build):
    with pytest.raises(UserError) as error:
        build(HEAD + "".join(f"other{k}.png,cat\n" for k in range(9)))
    assert "holds none of the 9 images" in str(error.value) and "other0.png" in str(error.value) and "\n" not in str(error.value)


def test_nothing_to_learn_from(build, caplog):
    refused(build, "image,labels,split\na.png,cat,val\n", "no row is in training")
    refused(build, "image,labels\na.png,\n", "no training image has a label", classes=["cat"], allow_unlabelled=True)
    with caplog.at_level(logging.WARNING):
        build("image,labels,split\na.png,cat,train\nb.png,dog,val\n", classes=["cat", "dog", "emu"])
    assert "no training image has the label dog, emu: nothing can be learned of it" in caplog.text
    build("image,labels\na.png,cat\nb.png,cat\n")
    assert "all training images have the same label, cat" in caplog.text


def test_a_mask_that_is_missing_is_named_once(build):
    refused(build, "image,labels,mask\na.png,cat,m.png\n", "m.png is missing", without=["its cells are empty"])


def maps(tmp_path, value, folder="maps"):
    (tmp_path / folder).mkdir()
    for name in PHOTOS:
        array = np.zeros((6, 8), np.uint8)
        array[1:3, 1:3] = value
        Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    return str(tmp_path / folder)


@pytest.mark.parametrize("value", [0, 1])
def test_dark_saliency_maps(build, tmp_path, value):
    refused(build, HEAD + "a.png,cat\n", f"a value above {value}, and 255 is salient", saliency=maps(tmp_path, value))


@pytest.mark.parametrize("change, words", [(lambda one: 255 - one, "3 of 3 are brighter along the border than inside"), (lambda one: one | 255, "3 of 3 have one value all over")])
def test_saliency_maps_that_can_hardly_be_right_are_said(build, tmp_path, caplog, change, words):
    given = maps(tmp_path, 255)
    assert build(HEAD + "a.png,cat\nb.png,cat\nc.png,cat\n", saliency=given) and "saliency maps:" not in caplog.text
    for path in Path(given).iterdir():
        Image.fromarray(change(np.array(Image.open(path)))).save(path)
    build(HEAD + "a.png,cat\nb.png,cat\nc.png,cat\n", saliency=given)
    assert words in caplog.text


def test_ground_truth_is_no_saliency(build, tmp_path):
    given = maps(tmp_path, 1)
    refused(build, HEAD + "a.png,cat\n", "its ground-truth mask and its saliency map", saliency=given, masks=given)


def test_a_photo_that_shows_nothing(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (6, 8, 4), dtype=np.uint8)
    colours[..., 3] = 0
    Image.fromarray(colours).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="every pixel is transparent"):
        read_image(tmp_path / "a.png")
    colours[0, 0, 3] = 1
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (6, 8, 3)


@pytest.mark.parametrize("mode, clear", [("P", bytes(8)), ("L", 7), ("RGB", (7, 7, 7))], ids=["palette", "gray", "colour"])
def test_a_photo_without_alpha_that_shows_nothing(tmp_path, mode, clear):
    image = Image.new(mode, (8, 6), (7, 7, 7) if mode == "RGB" else 7)
    if mode == "P":
        image.putpalette(bytes(range(30)))
    image.save(tmp_path / "a.png", transparency=clear)
    with pytest.raises(UserError, match="a.png: every pixel is transparent"):
        read_image(tmp_path / "a.png")
    image.putpixel((0, 0), {"P": 9, "L": 8, "RGB": (8, 7, 7)}[mode])
    image.save(tmp_path / "a.png", transparency=clear)
    assert read_image(tmp_path / "a.png").shape == (6, 8, 3)


def test_gif_numbers_classes_anew(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[0], mask[3] = 255, 1
    Image.fromarray(mask).save(tmp_path / "m.gif")
    with pytest.raises(UserError, match="mask is a GIF file"):
        read_mask(tmp_path / "m.gif")


def test_a_folder_whose_name_no_disk_takes(build):
    with pytest.raises(UserError, match="is not a folder; mend `images` in the dataset's config"):
        build("image,labels\na.png,cat\n", images="x" * 300)


@pytest.mark.parametrize("masks, words", [("None", "where there is none leave the line out, or write null"), ("“masks”", "“ ” are letters of the name")])
def test_paths_that_yaml_reads_otherwise(build, masks, words):
    with pytest.raises(UserError, match=f"is not a folder; mend `masks` in the dataset's config; .*{words}"):
        build("image,labels\na.png,cat\n", masks=masks)


@pytest.mark.skipif(os.geteuid() == 0, reason="root enters every folder")
def test_a_folder_that_may_not_be_entered(build, tmp_path):
    closed = tmp_path / "images/closed"
    closed.mkdir(0o000)
    refused(build, "image,labels\nclosed/a.png,cat\nb.png,dog\nc.png,cat\n", "line 2", f"the folder {closed} may not be looked into; change its mode or owner")
