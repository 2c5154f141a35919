"""cls_labels.npy to CSV: the field's forms, pickles that want more, the command, and who reads the CSV."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import LIBRARY
from wsss.data import folder, voc
from wsss.data.cls_labels import coco_key, read_cls_labels, voc_id
from wsss.data.coco_labels import COCO_CLASSES
from wsss.data.import_labels import import_labels, main
from wsss.data.label_csv import read_labels, write_labels
from wsss.data.voc_lists import VOC_CLASSES, read_id_list
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.plan.ground_truth import has_masks

DATA = os.environ.get("WSSS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real VOC images)")
META = Path(DATA or ".") / "metadata/irn_voc12"


def save(path, obj):
    """As authors save it: a 0-d array of one pickled object."""
    held = np.empty((), object)
    held[()] = obj
    np.save(path, held, allow_pickle=True)
    return path


def hot(*classes, of=20, dtype=np.float32):
    vector = np.zeros(of, dtype)
    vector[list(classes)] = 1
    return vector


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


# --- reading


def test_voc_ids_come_as_numbers_or_text(tmp_path):
    table = {2007000032: hot(0, 14), np.int64(2011003276): hot(), "2008_000001": hot(3, dtype=np.int64)}
    labels = read_cls_labels(save(tmp_path / "l.npy", table), VOC_CLASSES, voc_id)
    assert labels == {"2007_000032": ("aeroplane", "person"), "2011_003276": (), "2008_000001": ("boat",)}


def test_coco_ids_come_as_numbers_or_text(tmp_path):
    table = {9: hot(11, of=80), "COCO_train2014_000000000025": hot(79, of=80)}
    labels = read_cls_labels(save(tmp_path / "l.npy", table), COCO_CLASSES, coco_key)
    assert labels == {"000000000009": ("stop sign",), "COCO_train2014_000000000025": ("toothbrush",)}


@pytest.mark.parametrize("protocol", range(5))
def test_every_protocol_numpy_has_saved_with(tmp_path, protocol):
    save(tmp_path / "l.npy", {})
    header = (tmp_path / "l.npy").read_bytes()[:128]
    held = np.empty((), object)
    held[()] = {"a": hot(1)}
    (tmp_path / "l.npy").write_bytes(header + pickle.dumps(held, protocol))
    assert read_cls_labels(tmp_path / "l.npy", VOC_CLASSES, voc_id) == {"a": ("bicycle",)}


def test_hostile_pickle_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="refused, it asks for posix.mkdir"):
        read_cls_labels(save(tmp_path / "l.npy", {2007000032: Evil()}), VOC_CLASSES, voc_id)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="not a cls_labels"):
        read_cls_labels(tmp_path / "raw.npy", VOC_CLASSES, voc_id)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    "call", ["builtins.eval", "numpy.load", "os.system", "functools.partial", "codecs.decode"]
)
def test_no_other_name_is_looked_up(tmp_path, call):
    module, name = call.split(".")
    code = f"c{module}\n{name}\n(S'1'\ntR.".encode()
    header = save(tmp_path / "l.npy", {}).read_bytes()[:128]
    (tmp_path / "l.npy").write_bytes(header + code)
    with pytest.raises(UserError, match=f"refused, it asks for {call}"):
        read_cls_labels(tmp_path / "l.npy", VOC_CLASSES, voc_id)


NOT_LABELS = {
    "holds no dict": [1],
    "no dict of labels": {},
    "id 3 is not an image id": {3: hot()},
    "id True is not": {True: hot()},
    "is there twice": {2007000032: hot(), "2007_000032": hot()},
    "not a vector of numbers": {"a": [1] * 20},
    "vectors differ in length": {"a": hot(), "b": hot(of=80)},
    "are not 0 or 1": {"a": np.full(20, 0.5)},
    "a' are not a vector": {"a": np.zeros((2, 20))},
}


@pytest.mark.parametrize("words", NOT_LABELS)
def test_what_is_no_table_of_labels(tmp_path, words):
    with pytest.raises(UserError, match=f"not a cls_labels.npy .*{words}"):
        read_cls_labels(save(tmp_path / "l.npy", NOT_LABELS[words]), VOC_CLASSES, voc_id)


def test_labels_of_other_classes(tmp_path):
    with pytest.raises(UserError, match="have 80 classes, not 20; choose other --classes"):
        read_cls_labels(save(tmp_path / "l.npy", {"a": hot(of=80)}), VOC_CLASSES, voc_id)


def test_cut_or_plain_npy(tmp_path):
    path = save(tmp_path / "l.npy", {"a": hot()})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="l.npy"):
        read_cls_labels(path, VOC_CLASSES, voc_id)
    np.save(tmp_path / "p.npy", np.ones(4))
    with pytest.raises(UserError, match="not a pickled dict"):
        read_cls_labels(tmp_path / "p.npy", VOC_CLASSES, voc_id)
    with pytest.raises(UserError, match="cannot be read"):
        read_cls_labels(tmp_path / "none.npy", VOC_CLASSES, voc_id)


# --- the command


def test_command_says_what_it_did_and_writes_a_csv(tmp_path):
    save(tmp_path / "cls_labels.npy", {2007000032: hot(0, 14), 2007000039: hot()})
    command = [
        sys.executable,
        str(LIBRARY / "import_labels.py"),
        "cls_labels.npy",
        "labels.csv",
        "--classes",
        "voc",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cls_labels.npy: 2 ids, 20 classes" in done.stdout and "is refused" in done.stdout
    assert "labels.csv: 2 images, 1.000 labels an image, 1 without a label" in done.stdout
    assert (tmp_path / "labels.csv").read_text() == "id,labels\n2007_000032,aeroplane;person\n2007_000039,\n"


def test_command_ends_in_one_plain_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "l.npy", {"a": Evil()})
    assert main(["l.npy", "labels.csv", "--classes", "voc"]) == 1
    assert "refused" in capsys.readouterr().err and os.listdir(tmp_path) == ["l.npy"]


def test_a_list_chooses_in_its_order_and_form(tmp_path):
    save(tmp_path / "l.npy", {9: hot(0, of=80), 25: hot(1, of=80), 30: hot(2, of=80)})
    (tmp_path / "train.txt").write_text("COCO_train2014_000000000030\nCOCO_train2014_000000000009\n")
    import_labels(tmp_path / "l.npy", tmp_path / "labels.csv", "coco", tmp_path / "train.txt")
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[1:] == ["COCO_train2014_000000000030,car", "COCO_train2014_000000000009,person"]
    (tmp_path / "train.txt").write_text("000000000031\n000000000009\n")
    with pytest.raises(UserError, match="has no labels of.*1 problem.*\n  000000000031"):
        import_labels(tmp_path / "l.npy", tmp_path / "labels.csv", "coco", tmp_path / "train.txt")


# --- who reads the CSV


def test_csv_goes_round(tmp_path):
    labels = {"2007_000032": ("aeroplane", "person"), "ü,1": (), "b": ("cat",)}
    write_labels(tmp_path / "l.csv", labels)
    assert read_labels(tmp_path / "l.csv", {c: c for c in VOC_CLASSES}) == labels


def test_a_pickle_where_a_csv_belongs_names_the_command(tmp_path):
    path = save(tmp_path / "cls_labels.npy", {"a": hot()})
    words = f"not a CSV; .*python workflow/scripts/import_labels.py {path} labels.csv --classes voc"
    (tmp_path / "images").mkdir()
    readers = (
        lambda: has_masks({"kind": "folder", "params": {"labels": str(path)}}),  # at plan time
        lambda: folder.build({"images": str(tmp_path / "images"), "labels": str(path)}, tmp_path / "out"),
        lambda: read_labels(path, {}),
    )
    for read in readers:
        with pytest.raises(UserError, match=words):
            read()


# --- real files


@needs_data
def test_official_file_of_voc(tmp_path):
    labels = read_cls_labels(META / "cls_labels.npy", VOC_CLASSES, voc_id)
    lists = {name: read_id_list(META / f"{name}.txt") for name in ("train", "train_aug", "val", "test")}
    assert {name: len(ids) for name, ids in lists.items()} == {
        "train": 1464,
        "train_aug": 10582,
        "val": 1449,
        "test": 1456,
    }
    assert len(labels) == 12031 and set(labels) == set(lists["train_aug"]) | set(lists["val"])
    assert all(labels.values())
    trainaug = [labels[i] for i in lists["train_aug"]]
    golden = "590 504 705 468 714 393 1150 1005 1228 267 613 1188 445 492 4155 522 300 649 503 567"
    assert [sum(name in names for names in trainaug) for name in VOC_CLASSES] == [
        int(n) for n in golden.split()
    ]
    assert (
        f"{sum(map(len, labels.values())) / 12031:.3f} {sum(map(len, trainaug)) / 10582:.3f}" == "1.546 1.555"
    )


@needs_data
def test_imported_labels_are_those_of_the_annotations(tmp_path):
    import_labels(META / "cls_labels.npy", tmp_path / "labels.csv", "voc")
    tree = {"path": f"{DATA}/voc_mini"}
    datasets = [
        voc.build({**tree, **more}, tmp_path / name)
        for name, more in (
            ("xml", {}),
            ("csv", {"labels": str(tmp_path / "labels.csv")}),
        )
    ]
    assert datasets[0].records == datasets[1].records and len(datasets[0].records) == 540
    assert read_json(tmp_path / "csv/dataset.json")["builder"]["provenance"] == {"image_labels": "labels.csv"}


@needs_data
def test_labels_must_name_every_image_of_the_lists(tmp_path):
    import_labels(META / "cls_labels.npy", tmp_path / "l.csv", "voc", META / "train.txt")
    with pytest.raises(UserError, match="have no line here; add them .404 problems"):
        voc.build({"path": f"{DATA}/voc_mini", "labels": str(tmp_path / "l.csv")}, tmp_path / "out")
