"""VOC trees, lists, labels and SBD: small made trees, and the real files where WSSS_TEST_DATA names them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from wsss.data import sbd, voc
from wsss.data.voc_lists import VOC_CLASSES, read_id_list
from wsss.errors import UserError
from wsss.io.masks import read_mask, write_mask

CLASSES = ("cat", "dog")
DATA = os.environ.get("WSSS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real VOC images)")
META = Path(DATA or ".") / "metadata/irn_voc12"


def annotation(*objects):
    body = "".join(
        f"<object><name>{name}</name><difficult>{hard}</difficult><part><name>head</name></part></object>"
        for name, hard in objects
    )
    return f"<annotation>{body}</annotation>"


@pytest.fixture
def tree(tmp_path):
    """Five images: a, b train; c only trainaug; v, w val."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for folder in (
        "Annotations",
        "JPEGImages",
        "SegmentationClass",
        "SegmentationClassAug",
        "SALImages",
        voc.LISTS,
    ):
        (root / folder).mkdir(parents=True)
    lists = {"train": "a b", "train_aug": "b a c", "val": "v w"}
    for name, ids in lists.items():
        (root / voc.LISTS / f"{name}.txt").write_text("\n".join(ids.split()) + "\n")
    for image_id in "abcvw":
        Image.new("RGB", (6, 4), (9, 99, 199)).save(root / f"JPEGImages/{image_id}.jpg")
        (root / f"Annotations/{image_id}.xml").write_text(annotation(("dog", 1), ("cat", 0), ("dog", 0)))
    for image_id in "abvw":
        write_mask(root / f"SegmentationClass/{image_id}.png", np.full((4, 6), 2, np.uint8))
    for image_id in "abc":
        write_mask(root / f"SegmentationClassAug/{image_id}.png", np.ones((4, 6), np.uint8))
        Image.new("L", (6, 4), 200).save(root / f"SALImages/{image_id}.png")
    return root


def rewrite(root, name, text):
    (root / voc.LISTS / f"{name}.txt").write_text(text)


# --- the tree


def test_rows(tree):
    rows = {row.id: row for row in voc.read_voc_tree(tree, CLASSES)}
    assert list(rows) == ["b", "a", "c", "v", "w"]
    assert rows["a"].splits == ("train", "trainaug") and rows["c"].splits == ("trainaug",)
    assert rows["v"].splits == ("val",)
    assert rows["a"].labels == ("cat", "dog")  # difficult objects count, parts do not
    assert rows["a"].mask == tree / "SegmentationClass/a.png"
    assert rows["c"].mask is None and rows["c"].mask_train == tree / "SegmentationClassAug/c.png"
    assert rows["v"].mask_train is None and rows["v"].saliency is None
    assert rows["c"].saliency == tree / "SALImages/c.png"


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_build_from_any_of_the_three_folders(tree, tmp_path, place):
    params = {
        "path": str(tree / place),
        "classes": CLASSES,
        "expected_counts": {"train": 2, "trainaug": 3, "val": 2},
    }
    dataset = voc.build(params, tmp_path / "out")
    assert dataset.name == "voc12" and (tmp_path / "out/manifest.csv").exists()
    assert [len(dataset.split(name)) for name in ("train", "trainaug", "val")] == [2, 3, 2]
    assert dataset.records[0].labels == (0, 1)


def test_paths_may_hold_environment_variables(tree, monkeypatch):
    monkeypatch.setenv("MY_DATA", str(tree.parent.parent))
    assert voc.locate("${MY_DATA}") == tree.resolve()
    with pytest.raises(UserError, match="environment variable"):
        voc.locate("${NO_SUCH_VARIABLE_HERE}/voc")


def test_relative_folders_are_the_users_not_below_the_tree(tree, tmp_path, monkeypatch):
    (tree / "SegmentationClassAug").rename(tmp_path / "aug")
    monkeypatch.chdir(tmp_path)
    dataset = voc.build({"root": str(tree), "classes": CLASSES, "mask_train": "aug"}, tmp_path / "out")
    assert dataset.records[0].mask_train == tmp_path / "aug/b.png"


def test_no_tree_and_no_path(tmp_path):
    with pytest.raises(UserError, match="no VOC tree"):
        voc.build({"root": str(tmp_path)}, tmp_path)
    with pytest.raises(UserError, match="path"):
        voc.build({}, tmp_path)


def test_trainaug_list_of_the_user_goes_first(tree, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(
        "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n"
    )
    rows = voc.read_voc_tree(tree, CLASSES, path)
    assert [row.id for row in rows if "trainaug" in row.splits] == ["a", "b"]


def test_train_is_never_taken_for_trainaug(tree):
    (tree / voc.LISTS / "train_aug.txt").unlink()
    with pytest.raises(UserError, match="no trainaug list"):
        voc.read_voc_tree(tree, CLASSES)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train_aug", "a\nc\n", "1 images of train are not in trainaug"),
        ("train_aug", "a\nb\nc\nv\n", "1 images of val are also training images"),
        ("train", "a\nb\nb\n", "twice"),
        ("train_aug", "a.jpg\nb.jpg\nc.jpg\n", "3 ids of the trainaug list have a suffix \\(a.jpg, b.jpg, c.jpg\\).*take the suffixes out"),
        ("val", "", "no id"),
    ],
)
def test_mixed_up_lists(tree, name, text, words):
    rewrite(tree, name, text)
    with pytest.raises(UserError, match=words):
        voc.read_voc_tree(tree, CLASSES)


def test_wrong_counts_say_what_is_missing(tree):
    with pytest.raises(UserError) as caught:
        voc.read_voc_tree(tree, CLASSES, expected_counts={"train": 1464, "trainaug": 10582, "val": 1449})
    message = str(caught.value)
    assert "trainaug: 3 images, 10582 expected (10579 missing)" in message and "train: 2 images" in message
    voc.read_voc_tree(tree, CLASSES, expected_counts={"train": 2, "val": None})


@pytest.mark.parametrize("encoding", ["gbk", "big5", "ansi"])
def test_an_encoding_that_the_parser_lacks(tree, encoding):
    path = tree / "Annotations/a.xml"
    path.write_text(f'<?xml version="1.0" encoding="{encoding}"?>{path.read_text()}')
    with pytest.raises(UserError, match="Annotations/a.xml: not valid XML .*save it as UTF-8"):
        voc.read_voc_tree(tree, CLASSES)


def test_all_bad_annotations_at_once(tree):
    (tree / "Annotations/a.xml").write_text("<annotation>")
    (tree / "Annotations/b.xml").unlink()
    (tree / "Annotations/c.xml").write_text(annotation(("unicorn", 0)))
    (tree / "Annotations/v.xml").write_text(annotation())
    with pytest.raises(UserError) as caught:
        voc.read_voc_tree(tree, CLASSES)
    message = str(caught.value)
    assert all(
        words in message for words in ("not valid XML", "missing annotation", "'unicorn'", "no object")
    )


def test_a_tree_without_masks_is_told(tree, tmp_path, caplog):
    """It trains, and nothing gets a score: better said before than after."""
    shutil.rmtree(tree / "SegmentationClass")
    dataset = voc.build({"root": str(tree), "classes": CLASSES}, tmp_path / "out")
    assert not any(record.mask for record in dataset.records)
    assert "has no masks" in caplog.text and "SegmentationClass is missing or empty" in caplog.text


def test_missing_files_reach_validation(tree, tmp_path):
    (tree / "JPEGImages/a.jpg").unlink()
    (tree / "SegmentationClass/v.png").unlink()
    with pytest.raises(UserError) as caught:
        voc.build({"root": str(tree), "classes": CLASSES}, tmp_path / "out")
    assert "a.jpg" in str(caught.value) and "SegmentationClass/v.png" in str(caught.value)
    assert not (tmp_path / "out/manifest.csv").exists()


def test_folders_given_must_be_complete(tree, tmp_path):
    (tmp_path / "sal").mkdir()
    Image.new("L", (6, 4), 200).save(tmp_path / "sal/a.png")
    rows = {row.id: row for row in voc.read_voc_tree(tree, CLASSES, saliency=tmp_path / "sal")}
    assert rows["b"].saliency == tmp_path / "sal/b.png"  # absent: validation will name it
    assert rows["v"].saliency is None


# --- lists


def test_the_three_formats_bom_crlf_and_blank_lines(tmp_path):
    path = tmp_path / "list.txt"
    lines = [
        "\ufeff2007_000032",
        "",
        "/JPEGImages/2007_000039.jpg ",
        "/JPEGImages/x.jpg /SegmentationClassAug/x.png",
    ]
    path.write_bytes("\r\n".join(lines).encode())
    assert read_id_list(path) == ("2007_000032", "2007_000039", "x")


@pytest.mark.parametrize(
    "line",
    [
        "2007_000032 -1",
        "../a",
        "/JPEGImages/a.jpg /Seg/b.png",
        "a/b",
        "/JPEGImages/a.jpg /S/a.png x",
        "..",
        "a\\b",
    ],
)
def test_lines_of_no_format(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"good\n{line}\n")
    with pytest.raises(UserError, match="line 2"):
        read_id_list(path)


def test_doubled_ids_and_unreadable_lists(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a\nb\n/JPEGImages/a.jpg\n")
    with pytest.raises(UserError, match="line 1: a stands there twice"):
        read_id_list(path)
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="UTF-8"):
        read_id_list(path)
    with pytest.raises(UserError, match="cannot read"):
        read_id_list(tmp_path / "none.txt")


# --- SBD


@pytest.fixture
def sbd_root(tmp_path):
    root = tmp_path / "sbd/benchmark_RELEASE/dataset"
    (root / "cls").mkdir(parents=True)
    (root / "train.txt").write_text("b\nc\nv\n")
    (root / "val.txt").write_text("d\nw\nc2\n")
    for image_id in ("b", "c", "d", "c2"):
        label = np.array([[0, 5, 20], [1, 1, 0]], np.uint8)
        scipy.io.savemat(root / f"cls/{image_id}.mat", {"GTcls": {"Segmentation": label, "Boundaries": [1]}})
    return root


def test_trainaug_from_sbd(sbd_root, tmp_path):
    ids = sbd.trainaug_ids(tmp_path / "sbd", ["a", "b"], ["v", "w"], expected=5)
    assert ids == ("a", "b", "c", "d", "c2")
    with pytest.raises(UserError, match="gives 5 ids, not 10582"):
        sbd.trainaug_ids(sbd_root, ["a", "b"], ["v", "w"])
    with pytest.raises(UserError, match="no SBD here"):
        sbd.trainaug_ids(tmp_path / "nowhere", [], [])


def test_tree_with_sbd_lists_checks_the_count(tree, sbd_root):
    (tree / voc.LISTS / "train_aug.txt").unlink()
    for name in ("d", "c2"):
        (tree / f"Annotations/{name}.xml").write_text(annotation(("cat", 0)))
    with pytest.raises(UserError, match="not 10582"):
        voc.read_voc_tree(tree, CLASSES, sbd=sbd_root)
    rows = voc.read_voc_tree(tree, CLASSES, sbd=sbd_root, expected_counts={"trainaug": 5})
    assert [row.id for row in rows] == ["a", "b", "c", "d", "c2", "v", "w"]


def test_masks_from_sbd_and_voc(tree, sbd_root, tmp_path):
    paths = sbd.write_masks(["b", "c"], tmp_path / "sbd", tree, tmp_path / "aug")
    assert (read_mask(paths[0]) == 2).all()  # VOC's own mask is the finer one
    assert read_mask(paths[1]).tolist() == [[0, 5, 20], [1, 1, 0]]


def test_masks_from_a_folder_of_pngs(tree, tmp_path):
    sbd.write_masks(["a", "c"], tree / "SegmentationClassAug", tree, tmp_path / "aug")
    assert sorted(os.listdir(tmp_path / "aug")) == ["a.png", "c.png"]
    assert (read_mask(tmp_path / "aug/a.png") == 1).all()


def test_bad_sbd_masks(tree, sbd_root, tmp_path):
    with pytest.raises(UserError, match="no mask .* for 1 of 2 ids"):
        sbd.write_masks(["c", "zz"], sbd_root, tree, tmp_path / "aug")
    (sbd_root / "cls/c.mat").write_bytes(b"junk")
    scipy.io.savemat(
        sbd_root / "cls/d.mat", {"GTcls": {"Segmentation": np.array([[21, 0], [0, 0]], np.uint8)}}
    )
    with pytest.raises(UserError) as caught:
        sbd.write_masks(["c", "d"], sbd_root, tree, tmp_path / "aug")
    assert "not a class mask" in str(caught.value) and "0..20" in str(caught.value)


# --- real files


def field_labels():
    """The field's cls_labels.npy: id -> multi-hot (20,)."""
    table = np.load(META / "cls_labels.npy", allow_pickle=True).item()
    return {f"{number // 10**6}_{number % 10**6:06d}": label for number, label in table.items()}


@needs_data
def test_official_lists_and_labels():
    train, trainaug, val = (read_id_list(META / f"{name}.txt") for name in ("train", "train_aug", "val"))
    assert (len(train), len(trainaug), len(val)) == (1464, 10582, 1449)
    assert set(train) < set(trainaug) and not set(val) & set(trainaug)
    labels = field_labels()
    assert len(labels) == 12031 and set(labels) == set(trainaug) | set(val)
    golden = "590 504 705 468 714 393 1150 1005 1228 267 613 1188 445 492 4155 522 300 649 503 567"
    assert sum(labels[i] for i in trainaug).astype(int).tolist() == [int(n) for n in golden.split()]
    golden = "88 65 105 78 87 78 128 131 148 64 82 121 68 81 442 82 63 93 83 84"
    assert sum(labels[i] for i in train).astype(int).tolist() == [int(n) for n in golden.split()]


@needs_data
def test_coco_lists_read_too():
    assert len(read_id_list(Path(DATA) / "metadata/eps_coco14/train.txt")) == 82081


@needs_data
def test_real_tree(tmp_path):
    counts = {"train": 136, "trainaug": 360, "val": 180}
    dataset = voc.build({"path": "${WSSS_TEST_DATA}/voc_mini", "expected_counts": counts}, tmp_path)
    assert dataset.classes == VOC_CLASSES and len(dataset.records) == 540
    assert {name: len(dataset.split(name)) for name in counts} == counts
    official = field_labels()
    assert all((dataset.multi_hot(record) == official[record.id]).all() for record in dataset.records)
    assert all(record.mask for name in ("train", "val") for record in dataset.split(name))
    assert all(record.mask_train and record.saliency for record in dataset.split("trainaug"))
