"""Tables of labels that do not say what their author thinks: refused with the line and what is meant, or said."""

import csv
import logging

import numpy as np
import pytest
from helpers import PHOTOS, table_builder
from wsss.data.class_names import bad_classes, table_faults
from wsss.data.coco_labels import COCO_CLASSES
from wsss.data.joined_names import joined_doubts
from wsss.data.label_csv import read_labels
from wsss.data.table import bad_id, read_rows
from wsss.data.text import as_cell
from wsss.data.voc_lists import VOC_CLASSES
from wsss.errors import UserError
from wsss.io.masks import write_mask
from wsss.report.panels import write_panel
from wsss.score.sweep import Sweep
from wsss.score.write import write_miou, write_sweep
from wsss.stages.predict import Photo, write_areas


@pytest.fixture
def build(tmp_path):
    """Build a dataset of four photos from the text of a table."""
    return table_builder(tmp_path)


def labelled(*labels):
    """A table in which the first images have these labels."""
    return "image,labels\n" + "".join(f"{name}.png,{cell}\n" for name, cell in zip(PHOTOS, labels, strict=False))


def refused(build, text, *parts, **params):
    with pytest.raises(UserError) as error:
        build(text, **params)
    for part in ("labels.csv", *parts):
        assert part in str(error.value), error.value


@pytest.mark.parametrize(
    "text",
    [
        'image,labels\na.png,"cat\nb.png,dog\nc.png,dog"\nd.png,cat\n',
        'image,labels\na.png,"cat\r\nb.png,dog"\r\n',
        'image,labels\na.png,"cat\nb.png,dog\n',
        'image,labels\na.png,"cat" dog"\n',
    ],
    ids=["closed_later", "windows", "never_closed", "in_the_middle"],
)
def test_an_open_quote_takes_in_no_rows(build, text):
    refused(build, text, "line 2", "double quote")


def test_an_open_quote_in_any_table(tmp_path):
    (tmp_path / "t.csv").write_text('id,labels\n1,cat\n2,"dog\n3,cat"\n')
    with pytest.raises(UserError, match="t.csv: line 3: a cell goes on"):
        read_rows(tmp_path / "t.csv", ())


@pytest.mark.parametrize(
    "column, meant",
    [("Split", "split"), ("splits", "split"), ("spilt", "split"), ("subset", "split"), ("masks", "mask"), ("Mask", "mask"),
     ("ground truth", "mask"), ("usage of it", "split")],
)  # fmt: skip
def test_misnamed_columns(build, column, meant):
    text = f"image,labels,{column}\na.png,cat,train\nb.png,cat,val\n"
    refused(build, text, f"column {column!r} is not known; did you mean {meant!r}?")


@pytest.mark.parametrize("column", ["is_val", "Validation", "isTest", "train"])
def test_a_column_of_yes_and_no_for_the_split(build, column, caplog):
    refused(build, f"image,labels,{column}\na.png,cat,0\nb.png,cat,1\n", f"column {column!r} is not known; did you mean 'split', whose cells hold the word train or val")
    with caplog.at_level(logging.WARNING):
        assert build(f"image,labels,split,{column}\na.png,cat,train,0\nb.png,cat,val,1\n").split("val")
    assert f"columns that are not read: {column!r}" in caplog.text


def test_misnamed_columns_of_an_id_table(tmp_path):
    (tmp_path / "t.csv").write_text("id,labels,Labels\n1,cat,dog\n")
    with pytest.raises(UserError, match="did you mean 'labels'"):
        read_labels(tmp_path / "t.csv", {"cat": "cat"})


def test_a_column_given_twice(build):
    refused(build, "image,labels,labels\na.png,cat,dog\n", "'labels' given twice")


def test_other_columns_are_said(build, caplog):
    with caplog.at_level(logging.WARNING):
        build("image, labels ,photographer,path\na.png,cat,ann,x\nb.png,cat,bob,y\n")
    assert "columns that are not read: 'photographer', 'path'" in caplog.text


@pytest.mark.parametrize(
    "labels, part",
    [
        (['"cat,dog"', "cat"], "'cat,dog': names of classes are joined by ';'"),
        (["cat|dog", "bird"], "'cat|dog': names of classes are joined by ';'"),
        (["cat；dog"], "joined by ';'"),
        (["cat/dog", "cat", "dog"], "'cat/dog': cat, dog are classes of their own"),
        (["cat dog", "cat", "dog"], "'cat dog': cat, dog are classes of their own"),
        (["cat & dog", "cat"], "'cat & dog': cat is a class of its own"),
        (["Cat", "cat"], "beside 'Cat': only the spelling differs"),
        (["cat", "ca\u200dt"], "only the spelling differs"),
        (["traffic light", "traffic_light"], "only the spelling differs"),
        (["ｃａｔ", "cat"], "only the spelling differs"),
        (["Background", "cat"], "is background"),
        (["__background__", "cat"], "is background"),
        (["miou", "cat"], "a column of ours"),
        (["nan", "cat"], "leave the cell empty"),
        (["['cat']", "dog"], "take the brackets or quotes away"),
        (["ca\u200bt", "cat"], "U+200B"),
        (["ca\u202et", "cat"], "U+202E"),
        (["ca\u2028t", "cat"], "U+2028"),
        (["ca\x07t", "cat"], "U+0007"),
    ],
)
def test_labels_that_cannot_be_meant(build, labels, part):
    refused(build, labelled(*labels), part)


@pytest.mark.parametrize(
    "labels, part",
    [
        (["cat dog", "dog horse", "horse cat"], "'cat dog': cat, dog stand in other labels too; join names by ';'"),
        (["cat_dog", "dog_cat"], "'dog_cat': cat, dog stand in"),
        (["cat/dog", "dog/horse"], "'cat/dog': dog stands in other labels too"),
        (["cat:dog", "dog:horse"], "'dog:horse': dog stands in"),
        (["cat - dog", "dog - horse"], "join names by ';'"),
        (["cat. dog", "dog. horse"], "join names by ';'"),
        (["cat؛dog", "bird"], "joined by ';'"),
        (["cat x4", "cat"], "'cat x4': has a count or a score beside the name; write 'cat'"),
        (["cat (0.6)", "dog:0.9"], "'dog:0.9': has a count or a score"),
        (["cat:1", "dog:0"], "'dog:0': has a number beside the name; write 'dog'"),
        (["!cat", "dog"], "'!cat': has a sign in front; write 'cat'"),
        (["-cat", "dog"], "'-cat': has a sign in front"),
        (["cat?", "cat"], "'cat?': is 'cat' with a mark"),
    ],
)
def test_labels_of_several_names_or_with_something_beside(build, labels, part):
    refused(build, labelled(*labels), part, "list it in `classes`")
    assert build(labelled(*labels), classes=labels).classes == tuple(labels)


@pytest.mark.parametrize(
    "labels",
    [["dining table", "coffee table"], ["polar bear", "brown bear", "bear"], ["red car", "blue car", "red bus"], ["traffic light", "traffic sign"],
     ["grade:1", "grade:2"], ["boeing 737", "boeing 747"], ["no helmet", "helmet"], ["c++", "c#", "A+", "A"], COCO_CLASSES, VOC_CLASSES],
)  # fmt: skip
def test_names_that_share_a_word_are_classes(labels):
    assert not joined_doubts(labels) and not table_faults(dict.fromkeys(labels, 1))


@pytest.mark.parametrize("labels", [["animal/cat", "animal/dog"], ["ham and cheese", "cheese and onion"], ["table tennis", "dining table"]])
def test_labels_that_may_be_several_names_are_said(build, caplog, labels):
    with caplog.at_level(logging.WARNING):
        build(labelled(*labels))
    assert f"may be several names each: {labels[0]!r} (shares" in caplog.text


@pytest.mark.parametrize("name", ["background", "BACKGROUND", "cat\ndog", "a\tb", "cat\u202e", "precision"])
def test_a_list_of_classes_is_held_to_the_same(build, name):
    refused(build, labelled("cat"), "class name", name[:1], classes=["cat", name])
    assert bad_classes(["cat", name]) and not bad_classes(["cat", "cañón", "می\u200cخواهم", "c++", "c#", "A", "A+"])


def test_one_class_in_two_unicode_forms(build):
    dataset = build(labelled("caf\u00e9", "cafe\u0301", " café "))
    assert dataset.classes == ("caf\u00e9",) and [r.labels for r in dataset.records] == [(0,)] * 3
    dataset = build(labelled("cafe\u0301"), classes=["cafe\u0301", "dog"])
    assert dataset.classes == ("caf\u00e9", "dog") and dataset.records[0].labels == (0,)


def test_a_list_of_classes_says_what_is_meant(build):
    names = ["cat, wild", "cat/dog", "cat", "dog", "none"]
    dataset = build(labelled('"cat, wild"', "cat/dog;cat", "dog;none"), classes=names)
    assert dataset.classes == tuple(names) and dataset.records[0].labels == (0,)


@pytest.mark.parametrize(
    "label, part",
    [("Cat", "did you mean 'cat'"), ("dgo", "did you mean 'dog'"), ('"cat,dog"', "put ';' between names: cat;dog"), ("emu", "'emu'; mend")],
)
def test_unknown_labels_name_the_nearest(build, label, part):
    refused(build, labelled(label), "line 2", part, classes=["cat", "dog", "train"])


def test_rare_labels_near_a_common_one_are_said(build, caplog):
    with caplog.at_level(logging.WARNING):
        build(labelled("dog;house", "dog;horse", "dgo;house;horse", "dog"))
    assert "'dgo' (1 images) looks like 'dog' (3 images)" in caplog.text and "house" not in caplog.text


def test_no_cell_is_a_formula(tmp_path):
    assert [as_cell(name) for name in ("=1+1", "+cat", "-cat", "@cat", "cat=dog")] == ["'=1+1", "'+cat", "'-cat", "'@cat", "cat=dog"]
    photo = Photo("=x", "=x.png", tmp_path / "=x.png", 64)
    write_mask(tmp_path / "=x.png", np.ones((2, 2)))
    write_areas(tmp_path / "areas.csv", [photo], tmp_path, ["background", "@sum(a)"])
    (background, cat) = list(csv.reader((tmp_path / "areas.csv").read_text().splitlines()))[1:]
    assert background[:2] == cat[:2] == ["'=x.png", "'=x"] and cat[3] == "'@sum(a)"
    result = Sweep(1, "const")
    result.add(np.ones((1, 2, 2), np.float32), (0,), np.ones((2, 2), np.uint8), "x")
    write_sweep(tmp_path / "sweep.csv", result.result(), ["=cat"])
    assert (tmp_path / "sweep.csv").read_text().splitlines()[0].endswith(",background,'=cat")


def test_what_is_shown_stays_on_its_line(tmp_path):
    figures = dict.fromkeys(("miou", "precision", "recall", "coverage"), 50.0)
    rules = {"miou_by_rule": dict.fromkeys(("background", "wrong", "left_out"), 50.0)}
    scores = {**figures, **rules, "per_class": {"background": 50.0, "cat\nmIoU: 99.9": 50.0}, "provenance": {}}
    write_miou(tmp_path / "miou.txt", "d", "m", {"segmentation": scores})
    lines = (tmp_path / "miou.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("mIoU:")] == ["mIoU: 50.0"]
    label = np.ones((9, 9), np.uint8)
    write_panel(tmp_path / "p.png", np.zeros((9, 9, 3), np.uint8), {"prediction": label}, ["cat\ndog"], "a\nb")
    assert (tmp_path / "p.png").is_file()


def test_control_characters_in_any_cell(build):
    refused(build, "image,labels,mask\na.png,cat,m\0.png\n", "line 2", "U+0000")
    assert all(bad_id(f"a{c}b") for c in "\n\r\x85\u2028\u2029\u202e\x00") and bad_id("a b ü\u200dx") is None


def test_rows_that_a_spreadsheet_has_emptied_are_passed_over(build):
    emptied = labelled("cat", "dog", "cat", "dog").replace("b.png", ", \nb.png") + ",\n,\n"
    assert [record.id for record in build(emptied).records] == list(PHOTOS)
    refused(build, "image,labels\n,\n,\n", "has no rows")
