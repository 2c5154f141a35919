"""Ground truth that does not belong to its images or labels: refused, or said, by the stage `dataset`."""

import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from wsss.data import agreement, folder
from wsss.data.files import file_problems, values_in
from wsss.data.manifest import Row
from wsss.data.validate import validate
from wsss.errors import UserError
from wsss.io.masks import write_mask
from wsss.io.saliency import read_saliency, write_saliency
from wsss.plan.ground_truth import has_masks

CLASSES = ("cat", "cow", "dog")
SIZE = (10, 14)


@pytest.fixture
def make(tmp_path):
    """A folder dataset: id -> (labels, values in its mask or None, split); `build()` builds it."""

    def made(table, folder_name="masks", suffix=".png"):
        lines = ["image,labels,split"]
        for number, (name, (labels, values, split)) in enumerate(table.items()):
            path = tmp_path / "images" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*SIZE, 3), number, np.uint8)).save(path)
            lines.append(f"{name}.png,{labels},{split}")
            if values is not None:
                mask = np.resize(np.array(values, np.uint8), SIZE)
                write_mask(tmp_path / folder_name / f"{name}{suffix}", mask)
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")

    def build(**params):
        given = {"images": str(tmp_path / "images"), "labels": str(tmp_path / "labels.csv"), "masks": str(tmp_path / "masks"), "classes": list(CLASSES)}
        return folder.build({**given, **params}, tmp_path / "out")

    made.build, made.root = build, tmp_path
    return made


def refused(make, *parts, **params):
    with pytest.raises(UserError) as error:
        make.build(**params)
    assert not (make.root / "out/manifest.csv").exists()
    for part in ("labels.csv", *parts):
        assert part in str(error.value), error.value


def said(make, caplog, *parts, **params):
    with caplog.at_level(logging.WARNING):
        make.build(**params)
    for part in parts:
        assert part in caplog.text, caplog.text


def right(count, split="train"):
    """Images whose masks hold what their labels say."""
    return {f"{split}{n}": (CLASSES[n % 3], [0, n % 3 + 1, 255], split) for n in range(count)}


# --- masks and labels -------------------------------------------------------------------------------------


def test_masks_that_agree_are_passed_in_silence(make, caplog):
    make({**right(6), **right(3, "val"), "two": ("cat;dog", [0, 1], "train"), "unsure": ("cat", [0, 1, 255], "")})
    with caplog.at_level(logging.INFO):
        make.build()
    assert [line for line in caplog.messages if "below 32 pixels" not in line] == []


@pytest.mark.parametrize("size, is_said", [((1, 1), True), ((31, 400), True), ((32, 32), False)])
def test_photos_too_small_to_see_are_said(make, caplog, size, is_said):
    make({name: ("cat", None, "train") for name in ("whole", "whole2")})
    Image.new("RGB", (64, 64)).save(make.root / "images/whole2.png")
    Image.new("RGB", size, 9).save(make.root / "images/whole.png")
    said(make, caplog, masks=None)
    assert ("1 of 2 photos have a side below 32 pixels (whole)" in caplog.text) == is_said


def test_masks_of_0_and_255_only(make):
    make({f"i{n}": ("cat", [0, 255], "train") for n in range(3)})
    refused(make, "masks of training images: 3 of 3 hold 0 and 255 only", "1 in place of 255")


def test_masks_whose_background_is_255(make, caplog):
    make({f"i{n}": (CLASSES[n], [255, n + 1], "train") for n in range(3)})
    refused(make, "masks of training images: none of 3 holds 0 (background), and all hold 255", "write 0 where no object is")
    make({f"i{n}": (CLASSES[n], [255, n + 1], "train") for n in range(2)})
    said(make, caplog, "none of 2 holds 0 (background)")


def test_one_mask_of_0_and_255_is_said(make, caplog):
    make({**right(5), "odd": ("cat", [0, 255], "train")})
    said(make, caplog, "of 6, 1 hold 0 and 255 (ignored) only", "(odd)")


def test_most_masks_hold_what_the_labels_deny(make):
    make({**right(2), **{f"x{n}": (CLASSES[n % 2], [0, 3], "train") for n in range(3)}})
    refused(make, "of 5, 3 hold classes that their image's labels deny (x0: dog; x1: dog; x2: dog)")


def test_a_few_such_masks_are_said(make, caplog):
    make({**right(5), "x": ("cat", [0, 1, 3], "train"), "empty": ("cow", [0], "train")})
    said(make, caplog, "of 7, 1 hold classes that their image's labels deny (x: dog)", "1 hold none of the classes that the labels claim (empty)")


def test_most_masks_hold_nothing_that_is_claimed(make):
    make({**right(1), **{f"x{n}": ("cat", [0], "train") for n in range(3)}})
    refused(make, "of 4, 3 hold none of the classes that the labels claim", "1 = cat, 2 = cow, 3 = dog")


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_numbered_in_another_order(make, split):
    order = {"cat": 2, "cow": 3, "dog": 1}
    make({**right(20, "val" if split == "train" else "train"), **{f"x{n}": (c, [0, order[c]], split) for n, c in enumerate(CLASSES)}})
    which = "training" if split == "train" else "val"
    refused(make, f"masks of {which} images", "1 goes with 'dog', not 'cat'", "2 goes with 'cat', not 'cow'", "3 goes with 'cow'")


def test_two_numbers_swapped_among_many_classes(make):
    """Of all masks they are few, so it is the numbering that tells."""
    swapped = {"cat": 2, "cow": 1, "dog": 3}
    table = {f"{c}{n}": (c, [0, swapped[c]], "train") for c, many in (("dog", 16), ("cat", 3), ("cow", 3)) for n in range(many)}
    make(table)
    refused(make, "of 22, 6 hold classes", "1 goes with 'cow', not 'cat', 2 goes with 'cat', not 'cow'")


def test_masks_with_more_classes_than_labels_are_no_other_order(make, caplog):
    """Labels of the main object alone: incomplete, not renumbered."""
    make({**{f"i{n}": ("cow", [0, 2], "train") for n in range(6)}, **{f"p{n}": ("cow", [0, 1, 2], "train") for n in range(4)}, "c": ("cat", [1], "")})
    said(make, caplog, "of 11, 4 hold classes that their image's labels deny")


def test_splits_are_counted_apart(make):
    make({**right(20), **{f"v{n}": ("cat", [0, 3], "val") for n in range(3)}})
    refused(make, "masks of val images: of 3, 3 hold classes")


def test_one_or_two_masks_are_no_share(make, caplog):
    make({**right(20), **{f"v{n}": ("cat", [0, 3], "val") for n in range(2)}})
    said(make, caplog, "masks of val images: of 2, 2 hold classes")


def test_mask_train_is_counted_too(tmp_path):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "i.png")
    write_mask(tmp_path / "m.png", np.full(SIZE, 2))
    rows = [Row(i, ("train", "trainaug"), tmp_path / "i.png", ("cat",), None, tmp_path / "m.png") for i in "xyz"]
    with pytest.raises(UserError, match=r"mask_train of training images: of 3, 3 hold classes"):
        validate(rows, CLASSES)


def test_values_in_a_mask():
    mask = np.array([[0, 3], [255, 3]], np.uint8)
    assert list(values_in(mask)) == [0, 3, 255]
    assert 0 < agreement.MOST < agreement.EXPLAINED <= 1


# --- photos turned by EXIF --------------------------------------------------------------------------------


def turned(path, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path, exif=exif)


def test_a_mask_on_raw_pixels_of_a_turned_photo(tmp_path):
    turned(tmp_path / "i.jpg", (10, 14), 6)
    write_mask(tmp_path / "m.png", np.ones((10, 14)))
    (problem,) = file_problems([Row("x", ("val",), tmp_path / "i.jpg", ("cat",), tmp_path / "m.png")], 3)
    assert "m.png: is 14x10, its image 10x14 (after EXIF rotation)" in problem and "before EXIF orientation 6" in problem


@pytest.mark.parametrize("size, orientation, is_said", [((10, 10), 6, True), ((10, 14), 3, True), ((10, 14), 8, False), ((10, 10), 1, False)])
def test_where_size_cannot_tell_it_is_said(tmp_path, caplog, size, orientation, is_said):
    turned(tmp_path / "i.jpg", size, orientation)
    write_mask(tmp_path / "m.png", np.ones(size[::-1] if orientation in (6, 8) else size))
    with caplog.at_level(logging.WARNING):
        validate([Row("x", ("val",), tmp_path / "i.jpg", ("cat",), tmp_path / "m.png")], CLASSES)
    assert ("1 photos with masks or saliency maps are turned by EXIF" in caplog.text) == is_said


def test_a_map_beside_a_turned_photo(tmp_path, caplog):
    turned(tmp_path / "i.jpg", (10, 14), 3)
    write_saliency(tmp_path / "s.png", np.eye(10, 14) * 255)
    row = Row("x", ("train", "trainaug"), tmp_path / "i.jpg", ("cat",), saliency=tmp_path / "s.png")
    with caplog.at_level(logging.WARNING):
        validate([row], CLASSES)
    assert "saliency maps are turned by EXIF" in caplog.text
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.zeros((10, 14), np.uint8)).save(tmp_path / "s.png", exif=exif)
    with pytest.raises(UserError, match="s.png.*EXIF orientation 3.*upright"):
        read_saliency(tmp_path / "s.png")


# --- given, and not found ---------------------------------------------------------------------------------


def test_png_in_capitals_is_found(make):
    make(right(3), suffix=".PNG")
    assert all(record.mask.suffix == ".PNG" for record in make.build().records)


@pytest.mark.parametrize("name, part", [("_mask.png", "it holds train0_mask.png, train1_mask.png"), (".tif", "it holds train0.tif"), ("", "it is empty")])
def test_a_folder_of_masks_without_one_for_any_image(make, name, part):
    make(right(2), "elsewhere")
    (make.root / "masks").mkdir()
    for path in list((make.root / "elsewhere").iterdir()) if name else []:
        path.rename(make.root / "masks" / f"{path.stem}{name}")
    refused(make, "no image has a mask there", part)


def test_an_empty_column_of_masks(make):
    make(right(2), "elsewhere")
    (make.root / "labels.csv").write_text("image,labels,mask\ntrain0.png,cat,\ntrain1.png,cow,\n")
    refused(make, "column mask: no image has a mask there (its cells are empty)", masks=None)
    assert not has_masks({"kind": "folder", "params": {"labels": str(make.root / "labels.csv")}})


def test_images_without_masks_are_counted(make, caplog):
    make({**right(3), "bare": ("cat", None, "train"), **right(1, "val")})
    said(make, caplog, "1 of 4 training images have no mask (bare)")


def test_masks_of_val_alone_are_said(make, caplog):
    make({"bare": ("cat", None, "train"), **right(1, "val")})
    said(make, caplog, "no training image has a mask, so no seed or pseudo-mask gets a score")


@pytest.mark.parametrize("val_masks", [True, False])
def test_a_plan_knows_whether_val_can_be_scored(make, val_masks):
    """Full supervision trains for hours before anything is scored on val."""
    make({**right(2), "later": ("cat", [1] if val_masks else None, "val")})
    params = {key: str(make.root / name) for key, name in {"images": "images", "masks": "masks", "labels": "labels.csv"}.items()}
    spec = {"kind": "folder", "params": params}
    assert has_masks(spec) and has_masks(spec, "val") is val_masks


def test_one_mask_for_several_images_is_said(make, caplog):
    make(right(3))
    (make.root / "labels.csv").write_text("image,labels,mask\ntrain0.png,cat,train0.png\ntrain1.png,cat,train0.png\n")
    said(make, caplog, "1 masks serve several images (train0.png)")


def test_a_voc_tree_without_masks_has_no_ground_truth(tmp_path):
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    spec = {"kind": "voc", "params": {"path": str(tmp_path)}}
    assert not has_masks(spec)
    write_mask(tmp_path / "SegmentationClass/a.png", np.zeros(SIZE))
    assert has_masks(spec) and has_masks({"kind": "voc", "params": {"path": None}})


# --- one photo, two splits --------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_to_a_training_photo_in_val(make, link):
    make({**right(2), "v": ("cat", [0, 1], "val")})
    (make.root / "images/v.png").unlink()
    link(make.root / "images/train0.png", make.root / "images/v.png")
    refused(make, "train0.png", "v.png: one file, in val and in training")


def test_a_copy_of_a_training_photo_in_val_is_said(make, caplog):
    make({**right(2), "v": ("cat", [0, 1], "val")})
    shutil.copy(make.root / "images/train0.png", make.root / "images/v.png")
    said(make, caplog, "1 photos of val are in training too, as copies", "train0 = v")


def test_copies_with_labels_that_contradict_are_said(make, caplog):
    make({**right(3), "again": ("dog", None, "train"), "right": ("cat", None, "train")})
    for name in ("again", "right"):
        shutil.copy(make.root / "images/train0.png", make.root / f"images/{name}.png")
    said(make, caplog, "1 photos are in training twice or more, with labels that contradict", "train0.png: cat; ", "again.png: dog)")
    caplog.clear()
    make({**right(2), "right": ("cat", None, "train")})
    shutil.copy(make.root / "images/train0.png", make.root / "images/right.png")
    said(make, caplog)
    assert "contradict" not in caplog.text


def test_a_photo_with_two_ids_is_said(make, caplog):
    make({**right(2), "again": ("cat", [0, 1], "train")})
    (make.root / "images/again.png").unlink()
    os.symlink(make.root / "images/train0.png", make.root / "images/again.png")
    said(make, caplog, "1 photos have several ids", "train0 = again")
