"""The manifest: round trip, ids kept as they stand, digest over every pixel, damaged tables named by line."""

import json

import numpy as np
import pytest
from PIL import Image
from wsss.data.class_names import bad_classes
from wsss.data.manifest import Row, load_manifest, write_manifest
from wsss.data.table import bad_id, read_rows
from wsss.data.validate import validate
from wsss.errors import UserError

CLASSES = ("cat", "dog")
TRAIN, VAL = ("train", "trainaug"), ("val",)


def save(path, size_hw=(6, 8), value=90, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size_hw if mode == "L" else (*size_hw, 3)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def rows(tmp_path):
    """Five images whose ids would not survive a guessing CSV reader."""
    labels = {"0012": ("dog", "cat"), "NA": ("cat",), "a b, ü": ("dog",), "1e5": ("cat",), "v 1": ("dog",)}
    made = []
    for n, (image_id, names) in enumerate(labels.items()):
        image = save(tmp_path / f"data/images/{n}.png", value=n)
        mask = save(tmp_path / f"data/masks/{n}.png", value=n % 3, mode="L") if n else None
        made.append(Row(image_id, VAL if image_id == "v 1" else TRAIN, image, names, mask))
    return made


def write(tmp_path, rows, **changes):
    arguments = {"name": "own", "root": tmp_path / "data", "classes": CLASSES, "rows": rows, **changes}
    return write_manifest(tmp_path / "out", **arguments)


def test_round_trip(tmp_path, rows):
    dataset = write(tmp_path, rows, builder={"kind": "test"})
    assert dataset == load_manifest(tmp_path / "out/manifest.csv")
    assert [record.id for record in dataset.records] == ["0012", "NA", "a b, ü", "1e5", "v 1"]
    assert dataset.records[0].labels == (0, 1) and dataset.records[0].mask is None
    assert (
        dataset.records[1].image == tmp_path / "data/images/1.png" and dataset.records[1].image.is_absolute()
    )
    assert dataset.num_classes == 2 and dataset.name == "own" and not dataset.allow_unlabelled
    np.testing.assert_array_equal(dataset.multi_hot(dataset.records[2]), np.float32([0, 1]))
    info = json.loads((tmp_path / "out/dataset.json").read_text())
    assert info["counts"] == {"all": 5, "train": 4, "trainaug": 4, "val": 1} and info["builder"] == {
        "kind": "test"
    }


def test_splits(tmp_path, rows):
    dataset = write(tmp_path, rows[:4])
    assert len(dataset.split("all")) == len(dataset.split("trainaug")) == 4
    assert dataset.split("train") and not dataset.split("val")
    with pytest.raises(UserError, match="no split 'test'"):
        dataset.split("test")


def test_unlabelled_record(tmp_path, rows):
    empty = Row("none", TRAIN, rows[0].image)
    dataset = write(tmp_path, [*rows, empty], allow_unlabelled=True)
    assert dataset.records[-1].labels == () and dataset.multi_hot(dataset.records[-1]).sum() == 0


def test_paths_outside_the_root_stay_absolute(tmp_path, rows):
    elsewhere = save(tmp_path / "elsewhere/x.png")
    dataset = write(tmp_path, [Row("x", TRAIN, elsewhere, ("cat",))])
    assert dataset.records[0].image == elsewhere


def test_a_dataset_inside_its_folder_can_be_moved(tmp_path, rows):
    write_manifest(tmp_path, name="own", root=tmp_path / "data", classes=CLASSES, rows=rows)
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "_moved"))
    record = load_manifest(moved / "manifest.csv").records[0]
    assert record.image == moved / "data/images/0.png" and record.image.is_file()


def test_bom_and_crlf(tmp_path, rows):
    before = write(tmp_path, rows)
    path = tmp_path / "out/manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_manifest(path) == before


def test_digest_follows_pixels_labels_and_nothing_else(tmp_path, rows):
    first = write(tmp_path, rows).digest
    assert write(tmp_path, rows).digest == first
    assert write(tmp_path, rows[:-1]).digest != first
    image = np.array(Image.open(rows[2].mask))
    image[3, 3] = 255
    Image.fromarray(image).save(rows[2].mask)
    assert write(tmp_path, rows).digest != first


@pytest.mark.parametrize("bad", ["", " ", "a/b", "a\\b", ".hidden", "a\0b", "line\nbreak", "ä" * 120])
def test_ids_that_cannot_be_file_names(tmp_path, rows, bad):
    assert bad_id(bad)
    with pytest.raises(UserError, match="row 2: id"):
        write(tmp_path, [rows[0], Row(bad, TRAIN, rows[1].image, ("cat",))])
    assert not (tmp_path / "out/manifest.csv").exists()


@pytest.mark.parametrize("good", ["2007_000032", "a b", "ü – 猫", "x.y", "NA", "-1", 'a,b;c"d'])
def test_ids_that_can(tmp_path, rows, good):
    assert bad_id(good) is None
    assert write(tmp_path, [Row(good, TRAIN, rows[0].image, ("cat",))]).records[0].id == good


def test_damaged_manifest_names_every_line(tmp_path, rows):
    write(tmp_path, rows)
    path = tmp_path / "out/manifest.csv"
    lines = path.read_text().splitlines()
    lines[2] = "NA,train;test,images/1.png,cow,,,"
    lines.append(lines[1])
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as error:
        load_manifest(path)
    for part in (
        str(path),
        "line 3",
        "'test'",
        "'cow'",
        "line 7",
        "already used in line 2",
        "run: snakemake --force",
    ):
        assert part in str(error.value)


def test_missing_pieces(tmp_path, rows):
    with pytest.raises(UserError, match="dataset.json"):
        load_manifest(tmp_path / "manifest.csv")
    write(tmp_path, rows)
    (tmp_path / "out/manifest.csv").write_text("id,image\n1,2\n")
    with pytest.raises(UserError, match="column split, labels, mask, mask_train, saliency missing"):
        load_manifest(tmp_path / "out/manifest.csv")
    (tmp_path / "out/dataset.json").write_text("{}")
    with pytest.raises(UserError, match="lacks allow_unlabelled, classes"):
        load_manifest(tmp_path / "out/manifest.csv")


@pytest.mark.parametrize("content, message", [(b"a\n\xff\n", "UTF-8"), (b"a,b\n1\n1,2,3\n", "line 2, 3")])
def test_csv_that_is_none(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_rows(tmp_path / "x.csv", ())


@pytest.mark.parametrize("classes", [(), ("a", "a"), ("a;b",), (" a",), ("",), [f"c{n}" for n in range(255)]])
def test_bad_class_lists(classes):
    assert bad_classes(classes)


def test_validate_accepts_good_rows(tmp_path, rows):
    validate(rows, CLASSES)


def test_validate_names_everything_at_once(tmp_path, rows):
    image = rows[0].image
    bad = [
        *rows,
        Row("NA", TRAIN, image, ("cat",)),
        Row("leak", ("trainaug", "val"), image, ("cat",)),
        Row("half", ("train",), image, ("cat",)),
        Row("odd", ("test",), image, ("cow",)),
        Row("bare", TRAIN, image),
        Row("lost", TRAIN, tmp_path / "lost.png", ("cat",), tmp_path / "lost_mask.png"),
        Row("a/b", (), image, ("dog",)),
    ]
    with pytest.raises(UserError) as error:
        validate(bad, CLASSES)
    message = str(error.value)
    for part in (
        "NA: duplicate id",
        "leak: is in val and in training",
        "half: is in train but not in trainaug",
        "odd: unknown split 'test'",
        "unknown class 'cow'",
        "has no label",
        "lost.png: missing image",
        "lost_mask.png: missing mask",
        "contains a slash",
        "a/b: is in no split",
        "(10 problems)",
    ):
        assert part in message


def test_validate_prints_fifty_and_counts_the_rest(tmp_path):
    many = [Row(f"i{n}", TRAIN, tmp_path / f"{n}.png", ("cat",)) for n in range(70)]
    with pytest.raises(UserError) as error:
        validate(many, CLASSES)
    assert "(70 problems)" in str(error.value) and "and 20 more" in str(error.value)
    assert len(str(error.value).splitlines()) == 52


def test_no_image_at_all():
    with pytest.raises(UserError, match="no image at all"):
        validate([], CLASSES)


def test_unlabelled_where_allowed(rows):
    validate([Row("bare", TRAIN, rows[0].image)], CLASSES, allow_unlabelled=True)
