"""COCO 2014 and 2017: classes, ids, lists, labels, and every mistake a copy can have."""

import json
import os
from pathlib import Path

import pytest
from coco_tree import annotation, annotation_path, box, coco_folder, empty_masks, instances, load, save
from PIL import Image
from wsss.data import coco
from wsss.data.coco_instances import read_instances
from wsss.data.coco_labels import (
    COCO_CLASSES,
    any_number,
    check_counts,
    coco_id,
    image_list,
    image_number,
    read_numbers,
)
from wsss.data.user_files import folder_stamp, own_data
from wsss.data.voc_lists import read_id_list
from wsss.errors import UserError

DATA = os.environ.get("WSSS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real COCO images)")
META = Path(DATA or ".") / "metadata/eps_coco14"
MINI = Path(DATA or ".") / "coco_mini"

TRAIN17, VAL17 = ("000000000009", "000000000025", "000000000030"), ("000000000042", "000000000073")


@pytest.fixture
def root(tmp_path):
    return coco_folder(tmp_path / "coco")


def params(root, **changes):
    masks = empty_masks(root.parent / "masks", [*TRAIN17, *VAL17])
    return {"path": str(root), "year": 2017, "list": "all", "masks": str(masks), "name": "own", **changes}


def edit(root, change, split="train"):
    content = load(root, split)
    change(content)
    save(root, split, 2017, content)


# --- the manifest


def test_build(root, tmp_path):
    dataset = coco.build(params(root), tmp_path / "out")
    records = {record.id: record for record in dataset.records}
    assert tuple(records) == (*TRAIN17, *VAL17) and dataset.classes == COCO_CLASSES
    assert dataset.allow_unlabelled and dataset.num_classes == 80
    names = {i: tuple(COCO_CLASSES[k] for k in record.labels) for i, record in records.items()}
    assert names[TRAIN17[0]] == ("person", "stop sign")  # the crowd counts
    assert names[TRAIN17[1]] == ("toothbrush",) and names[TRAIN17[2]] == ()
    assert records[TRAIN17[1]].splits == ("train", "trainaug") and records[VAL17[0]].splits == ("val",)
    assert records[TRAIN17[0]].mask == tmp_path / "masks" / f"{TRAIN17[0]}.png"
    assert records[TRAIN17[1]].image == root / "train2017/000000000025.jpg"  # gray on disk


def test_ids_and_files_of_2014(tmp_path):
    root = coco_folder(tmp_path / "coco", 2014)
    ids = [f"COCO_{s}2014_{n}" for s, numbers in (("train", TRAIN17), ("val", VAL17)) for n in numbers]
    masks = empty_masks(tmp_path / "masks", ids)
    changes = {"year": 2014, "path": str(root), "list": "annotated", "masks": str(masks)}
    dataset = coco.build(changes, tmp_path / "out")
    assert [record.id for record in dataset.records] == [
        ids[0],
        ids[1],
        ids[3],
    ]  # those without annotation are out
    assert dataset.records[0].image.name == "COCO_train2014_000000000009.jpg"


def test_images_may_lie_in_a_folder_of_their_own(root, tmp_path):
    (root / "images").mkdir()
    for name in ("train2017", "val2017"):
        (root / name).rename(root / "images" / name)
    assert len(coco.build(params(root), tmp_path / "out").records) == 5


def test_provenance_says_list_rule_and_digest(root, tmp_path):
    coco.build(params(root, list="annotated"), tmp_path / "out")
    facts = json.loads((tmp_path / "out/dataset.json").read_text())["builder"]
    assert facts["masks"] == "d" * 64
    assert facts["provenance"] == {
        "image_list": "annotated of COCO 2017",
        "image_labels": "categories of the annotations",
        "mask_rule": "painter",
        "mask_digest": "d" * 16,
    }


def test_skipped_crowds_are_no_labels(root, tmp_path):
    dataset = coco.build(params(root, crowd="skip"), tmp_path / "out")
    assert dataset.records[0].labels == (COCO_CLASSES.index("stop sign"),)


def test_saliency_folder_is_of_training_images_only(root, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    for image_id in TRAIN17[:2]:
        Image.new("L", (30, 20), 200).save(maps / f"{image_id}.png")
    with pytest.raises(UserError, match=f"{TRAIN17[2]}.png"):
        coco.build(params(root, saliency=str(maps)), tmp_path / "out")
    Image.new("L", (30, 20), 200).save(maps / f"{TRAIN17[2]}.png")
    dataset = coco.build(params(root, saliency=str(maps)), tmp_path / "out")
    assert [bool(record.saliency) for record in dataset.records] == [True] * 3 + [False] * 2


def test_relative_paths_are_the_users(root, tmp_path, monkeypatch):
    given = params(root)
    monkeypatch.chdir(tmp_path)
    dataset = coco.build({**given, "path": "coco", "masks": "masks"}, tmp_path / "out")
    assert dataset.records[0].image == root / "train2017/000000000009.jpg"


# --- lists


def test_published_lists():
    assert image_list(2014, 82783).counts == {"train": 82783, "val": 40504}
    assert image_list(2014, 82081).annotated and image_list(2014, 82081).counts["val"] == 40137
    assert image_list(2017, 117266).counts == {"train": 117266, "val": 4952}
    assert not image_list(2017, "all").annotated and image_list(2017, "annotated").counts["train"] is None
    with pytest.raises(UserError, match="list 82081 is not one of 2017; use 118287, 117266"):
        image_list(2017, 82081)


def test_wrong_counts_say_what_is_missing(root, tmp_path):
    with pytest.raises(UserError) as caught:
        coco.build(params(root, list=117266), tmp_path / "out")
    message = str(caught.value)
    assert "train: 2 images, 117266 expected (117264 missing)" in message and "list: annotated" in message
    coco.build(params(root, list=117266, expected_counts={"train": 2, "val": None}), tmp_path / "out")
    with pytest.raises(UserError, match=r"train: 3 images, 2 expected \(1 too many\)"):
        check_counts({"train": 3}, {"train": 2}, image_list(2017, "all"))


def test_both_forms_of_ids():
    assert (
        coco_id("val", 2014, 42) == "COCO_val2014_000000000042" and coco_id("val", 2017, 42) == "000000000042"
    )
    for text in ("COCO_train2014_000000000009", "000000000009", "9", "COCO_train2014_000000000009.jpg"):
        assert image_number(text, "train", 2014) == 9 == any_number(text)
    assert image_number("COCO_val2014_000000000009", "train", 2014) is None
    assert image_number("2007_000032", "train", 2014) is None is any_number("cat")


def test_own_lists_choose_and_order(root, tmp_path):
    (tmp_path / "train.txt").write_text("COCO_train2017_000000000025\n000000000009\n")
    (tmp_path / "val.txt").write_text("000000000042\r\n")
    lists = {"train_list": str(tmp_path / "train.txt"), "val_list": str(tmp_path / "val.txt")}
    dataset = coco.build(params(root, list="annotated", **lists), tmp_path / "out")
    assert [record.id for record in dataset.records] == [TRAIN17[1], TRAIN17[0], VAL17[0]]
    facts = json.loads((tmp_path / "out/dataset.json").read_text())["builder"]
    assert facts["provenance"]["image_list"] == "annotated of COCO 2017 (train: train.txt, val: val.txt)"


def test_a_bad_list_names_all_its_lines(tmp_path):
    path = tmp_path / "l.txt"
    path.write_text(
        "000000000009\nCOCO_train2014_000000000009\nCOCO_val2014_000000000030\n000000000031\ncat\n"
    )
    with pytest.raises(UserError) as caught:
        read_numbers(path, "train", 2014, {9, 30})
    message = str(caught.value)
    assert "COCO_train2014_000000000009 is the image of 000000000009" in message and "4 problems" in message
    assert "COCO_val2014_000000000030 is no id of train2014" in message and "cat is no id" in message
    assert "000000000031 is not in instances_train2014.json" in message


def test_list_of_annotated_images_with_a_bare_one(root, tmp_path):
    (tmp_path / "l.txt").write_text("000000000009\n000000000030\n")
    with pytest.raises(UserError, match="these have none.*\n  000000000030"):
        coco.build(params(root, list="annotated", train_list=str(tmp_path / "l.txt")), tmp_path / "out")


# --- labels from a CSV


def write_csv(path, lines):
    path.write_text("id,labels\n" + "\n".join(lines) + "\n")
    return str(path)


def test_labels_from_a_csv(root, tmp_path):
    labels = write_csv(tmp_path / "l.csv", ["COCO_train2017_000000000009,stop_sign;hot dog", "000000000025,"])
    dataset = coco.build(params(root, labels=labels), tmp_path / "out")
    names = [tuple(COCO_CLASSES[k] for k in record.labels) for record in dataset.records]
    assert names == [
        ("stop sign", "hot dog"),
        (),
        (),
        ("person",),
        (),
    ]  # the CSV leaves val out: its annotations
    facts = json.loads((tmp_path / "out/dataset.json").read_text())["builder"]
    assert facts["provenance"]["image_labels"] == "l.csv"


def test_csv_must_name_every_annotated_image(root, tmp_path):
    labels = write_csv(tmp_path / "l.csv", ["000000000009,person"])
    with pytest.raises(UserError, match="annotated images of train have no line here.*\n  000000000025$"):
        coco.build(params(root, labels=labels), tmp_path / "out")


def test_bad_csv_names_all_its_lines(root, tmp_path):
    labels = write_csv(tmp_path / "l.csv", ["000000000009,unicorn", "9,person", "x,person"])
    with pytest.raises(UserError) as caught:
        coco.build(params(root, labels=labels), tmp_path / "out")
    message = str(caught.value)
    assert "line 2 (000000000009): unknown class 'unicorn'" in message
    assert "line 3: 9 stands there twice" in message and "line 4: 'x' is not an id" in message


# --- bad input


BAD = {
    "image 9 is listed 2 times": lambda c: c["images"].append(c["images"][0]),
    "file a.jpg is listed 2 times": lambda c: [i.update(file_name="a.jpg") for i in c["images"][:2]],
    "annotation 1 is listed 2 times": lambda c: c["annotations"].append(c["annotations"][0]),
    "annotation 3: unknown image 31": lambda c: c["annotations"][2].update(image_id=31),
    "annotation 3 .image 25.: unknown category 12": lambda c: c["annotations"][2].update(category_id=12),
    "file_name '../x.jpg' is not a plain file name": lambda c: c["images"][0].update(file_name="../x.jpg"),
    "image 9: says 0x20, which is no photo's size": lambda c: c["images"][0].update(width=0),
    "image 9: says 1000000000x1000000000": lambda c: c["images"][0].update(width=10**9, height=10**9),
    "not an instances file .*segmentation": lambda c: c["annotations"][0].pop("segmentation"),
    "not an instances file .*category_id.*captions": lambda c: [
        a.pop("category_id") for a in c["annotations"]
    ],
    "its 79 categories .* are not COCO's 80": lambda c: c["categories"].pop(),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_annotation_files(root, words):
    edit(root, BAD[words])
    with pytest.raises(UserError, match=f"instances_train2017.json.*(\n.*)?{words}"):
        read_instances(annotation_path(root, "train"))


def test_all_bad_annotations_at_once(root):
    extra = [annotation(n, 1000 + n, 12, box(0, 0, 1, 1), 1.0) for n in range(50, 60)]
    edit(root, lambda c: c["annotations"].extend(extra))
    with pytest.raises(UserError, match="20 problems"):
        read_instances(annotation_path(root, "train"))


def test_json_cut_off(root):
    path = annotation_path(root, "train")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not whole JSON .*cut off; unpack annotations_trainval again"):
        read_instances(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_instances(root / "nowhere.json")


def test_missing_images_and_other_sizes_are_listed_at_once(root, tmp_path):
    (root / "train2017/000000000009.jpg").unlink()
    Image.new("RGB", (31, 20)).save(root / "val2017/000000000042.jpg")
    with pytest.raises(UserError) as caught:
        coco.build(params(root), tmp_path / "out")
    message = str(caught.value)
    assert "train2017/000000000009.jpg: missing image" in message
    assert "val2017/000000000042.jpg: is 31x20, instances_val2017.json says 30x20" in message
    assert not (tmp_path / "out/manifest.csv").exists()


def test_missing_parts_of_the_tree(root, tmp_path):
    given = params(root)
    for name, words in (("val2017", "val2017.zip"), ("annotations", "no COCO 2017 here")):
        (root / name).rename(tmp_path / name)
        with pytest.raises(UserError, match=words):
            coco.build(given, tmp_path / "out")


def test_masks_that_are_not_all_there(root, tmp_path):
    given = params(root)
    (tmp_path / "masks" / f"{TRAIN17[1]}.png").unlink()
    with pytest.raises(UserError, match=f"{TRAIN17[1]}.*snakemake --force .*masks/index.json"):
        coco.build(given, tmp_path / "out")
    with pytest.raises(UserError, match="stage coco_masks makes it"):
        coco.build({**given, "masks": None}, tmp_path / "out")


# --- the user's own copy is watched


def test_a_change_in_the_tree_is_noticed(root, tmp_path):
    spec = {"kind": "coco", "params": {"year": 2017, "path": str(root), "labels": str(tmp_path / "l.csv")}}
    before = folder_stamp(own_data(spec))
    write_csv(tmp_path / "l.csv", ["9,person"])
    with_csv = folder_stamp(own_data(spec))
    (root / "val2017/000000000042.jpg").write_bytes(b"other")
    with_image = folder_stamp(own_data(spec))
    edit(root, lambda c: c["annotations"].pop())
    assert len({before, with_csv, with_image, folder_stamp(own_data(spec))}) == 4
    assert own_data({"kind": "coco", "params": {"year": 2017, "path": None}}) == []


# --- real files


@needs_data
def test_official_class_list():
    lines = [line.split() for line in (META / "labels.txt").read_text().splitlines()]
    assert lines[0] == ["0", "background"] and len(lines) == 81
    assert [(int(k), name) for k, name in lines[1:]] == [
        (k, name.replace(" ", "_")) for k, name in enumerate(COCO_CLASSES, 1)
    ]


@needs_data
@pytest.mark.parametrize(("split", "count"), [("train", 82081), ("val", 40137)])
def test_official_lists_of_eps(split, count, tmp_path):
    ids = read_id_list(META / f"{split}.txt")
    known = {any_number(image_id) for image_id in ids}
    numbers = read_numbers(META / f"{split}.txt", split, 2014, known)
    assert len(numbers) == count == image_list(2014, 82081).counts[split]
    assert [coco_id(split, 2014, n) for n in numbers] == list(ids)
    (tmp_path / "bare.txt").write_text(
        "\n".join(f"{n:012d}" for n in numbers) + "\n"
    )  # as IRN and AMN write them
    assert read_numbers(tmp_path / "bare.txt", split, 2014, known) == numbers


@needs_data
@pytest.mark.parametrize(("split", "count", "crowds"), [("train", 705, 6), ("val", 815, 11)])
def test_real_annotations_agree_with_pycocotools(split, count, crowds):
    from pycocotools.coco import COCO

    official = COCO(MINI / f"annotations/instances_{split}2017.json")
    ours = read_instances(MINI / f"annotations/instances_{split}2017.json")
    found = [a for number in ours.images for a in ours.of(number)]
    assert (len(found), sum(a.iscrowd for a in found), len(ours.images)) == (count, crowds, 80)
    assert {ours.class_of[a.category_id] for a in found} == set(range(1, 81))
    for number in ours.images:
        annotations = official.loadAnns(official.getAnnIds(imgIds=[number]))
        names = {c["name"] for c in official.loadCats({a["category_id"] for a in annotations})}
        assert ours.labels(number) == tuple(c for c in COCO_CLASSES if c in names)


def test_categories_are_ordered_by_id_not_by_place(root):
    ours = read_instances(annotation_path(root, "train"))  # the file lists them backwards
    assert ours.class_of[1] == 1 and ours.class_of[13] == 12 and ours.class_of[90] == 80
    assert instances([], [])["categories"][0]["name"] == "toothbrush"
