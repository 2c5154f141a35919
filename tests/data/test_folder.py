"""A user's own images plus a CSV: what is read, and every bad row named with its line."""

import numpy as np
import pytest
from PIL import Image
from wsss.data import folder
from wsss.data.manifest import load_manifest
from wsss.errors import UserError
from wsss.io.masks import write_mask

SIZE = (6, 8)


def picture(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), value, np.uint8)).save(path)


@pytest.fixture
def own(tmp_path):
    """Four images; `build(csv text, **params)` builds the dataset."""
    for name in ("a.png", "b c.jpg", "sub/ü.PNG", "sub/deep/d.png"):
        picture(tmp_path / "images" / name)

    def build(text, **params):
        (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        given = {"images": str(tmp_path / "images"), "labels": str(tmp_path / "labels.csv"), **params}
        return folder.build(given, tmp_path / "out")

    build.root = tmp_path
    return build


def fails(own, text, **params):
    with pytest.raises(UserError) as error:
        own(text, **params)
    assert not (own.root / "out/manifest.csv").exists()
    return str(error.value)


def test_images_and_labels(own):
    dataset = own("image,labels\na.png,dog; cat\nb c.jpg,cat\nsub/ü.PNG,dog\nsub/deep/d.png,cow\n")
    assert dataset == load_manifest(own.root / "out/manifest.csv")
    assert dataset.classes == ("cat", "cow", "dog") and dataset.name == "out"
    assert [record.id for record in dataset.records] == ["a", "b c", "sub__ü", "sub__deep__d"]
    assert dataset.records[0].labels == (0, 2) and dataset.records[0].splits == ("train", "trainaug")
    assert len(dataset.split("trainaug")) == 4 and not dataset.split("val")
    assert dataset.records[0].mask is None


def test_split_classes_and_name(own):
    text = "image,labels,split\na.png,dog,train\nb c.jpg,cat,val\nsub/ü.PNG,dog,\n"
    dataset = own(text, classes=["dog", "cat", "emu"], name="pets")
    assert dataset.classes == ("dog", "cat", "emu") and dataset.name == "pets"
    assert [record.id for record in dataset.split("val")] == ["b c"] and len(dataset.split("train")) == 2


def test_ids_bom_and_crlf(own):
    dataset = own("\ufeffid,labels\r\na,dog\r\nsub/ü,cat\r\n".encode())
    assert [record.image.name for record in dataset.records] == ["a.png", "ü.PNG"]


def test_images_beside_the_csv(own):
    picture(own.root / "near/x.png")
    dataset = own("image,labels\nnear/x.png,dog\n")
    assert dataset.records[0].id == "near__x" and dataset.records[0].image == own.root / "near/x.png"


def test_photos_in_no_row_are_counted(own, caplog):
    for name in ("masks/a.png", "a.jpg", "val/x.png", ".hidden.png", "scan.gif"):
        picture(own.root / "images" / name)
    (own.root / "images/link").symlink_to(own.root / "images/sub")
    own("image,labels\na.png,dog\nsub/ü.PNG,cat\nlink/deep/d.png,cat\n")
    assert "1 of 4 photos in" in caplog.text and "are in no row of labels.csv (b c.jpg)" in caplog.text
    caplog.clear()
    own("image,labels\na.png,dog\nsub/ü.PNG,cat\nb c.jpg,cat\nsub/deep/d.png,cat\n")
    assert "in no row" not in caplog.text


def test_masks_and_saliency(own):
    (own.root / "saliency/sub").mkdir(parents=True)
    for stem in ("a", "sub/ü"):
        write_mask(own.root / "masks" / f"{stem}.png", np.ones(SIZE))
        Image.fromarray(np.full(SIZE, 200, np.uint8)).save(own.root / "saliency" / f"{stem}.png")
    folders = {kind: str(own.root / kind) for kind in ("masks", "saliency")}
    dataset = own("image,labels,split\na.png,dog,\nsub/ü.PNG,dog,val\n", **folders)
    assert dataset.records[1].mask == own.root / "masks/sub/ü.png"
    assert dataset.records[0].saliency == own.root / "saliency/a.png"
    message = fails_after(own, "image,labels,split\nb c.jpg,dog,\nsub/ü.PNG,dog,val\nsub/deep/d.png,dog,val\n", **folders)
    assert "line 2: b c.jpg: no saliency map" in message and "1 of 2 val images have no mask (sub__deep__d), yet val images are scored" in message


def test_masks_of_training_photos_alone_score_masks_alone(own, caplog):
    """As a folder and as a column alike."""
    for stem in ("a", "b c"):
        write_mask(own.root / "masks" / f"{stem}.png", np.ones(SIZE))
    rows = (("a.png", "", "masks/a.png"), ("b c.jpg", "", "masks/b c.png"), ("sub/ü.PNG", "val", ""))
    by_folder = own("image,labels,split\n" + "".join(f"{image},dog,{split}\n" for image, split, _ in rows), masks=str(own.root / "masks"))
    by_column = own("image,labels,split,mask\n" + "".join(f"{image},dog,{split},{mask}\n" for image, split, mask in rows))
    for dataset in (by_folder, by_column):
        assert [record.mask is None for record in dataset.records] == [False, False, True]
    assert caplog.text.count("no val image has a mask, so segmentation gets no score") == 2


def test_masks_that_a_stage_made_are_told(own, caplog):
    """An mIoU by them would be of networks against each other."""
    write_mask(own.root / "masks/a.png", np.ones(SIZE))
    own("image,labels\na.png,dog\nb c.jpg,dog\n", masks=str(own.root / "masks"))
    assert "what a stage of this workflow made" not in caplog.text
    for name in ("index.json", "run.json"):
        (own.root / "masks" / name).write_text("{}")
    own("image,labels\na.png,dog\nb c.jpg,dog\n", masks=str(own.root / "masks"))
    assert "holds what a stage of this workflow made" in caplog.text


def test_maps_of_val_photos_retrain_nothing(own):
    """Only training reads saliency maps."""
    digests = []
    for value in (200, 90):
        for stem, told in (("a", 200), ("b c", value)):
            (own.root / "saliency").mkdir(exist_ok=True)
            Image.fromarray(np.full(SIZE, told, np.uint8)).save(own.root / "saliency" / f"{stem}.png")
        own("image,labels,split\na.png,dog,\nb c.jpg,dog,val\n", saliency=str(own.root / "saliency"))
        digests.append((own.root / "out/saliency.json").read_bytes())
    assert digests[0] == digests[1]


def test_photos_are_no_saliency_maps(own):
    message = fails(own, "image,labels\na.png,dog\n", saliency=str(own.root / "images"))
    assert "a.png: its saliency map is the photo itself" in message


def fails_after(own, text, **params):
    (own.root / "out/manifest.csv").unlink()
    return fails(own, text, **params)


def test_mask_column(own):
    write_mask(own.root / "m.png", np.ones(SIZE))
    dataset = own("image,labels,mask\na.png,dog,m.png\nb c.jpg,dog,\n")
    assert dataset.records[0].mask == own.root / "m.png" and dataset.records[1].mask is None
    message = fails_after(own, "image,labels,mask\na.png,dog,n.png\n")
    assert "line 2" in message and "n.png is missing" in message and message.count("n.png") == 1


def test_unlabelled(own):
    assert own("image,labels\na.png,\nb c.jpg,dog\n", allow_unlabelled=True).records[0].labels == ()


def test_all_bad_rows_and_files_in_one_message(own):
    (own.root / "images/broken.jpg").write_bytes(b"")
    picture(own.root / "images/.hidden.png")
    picture(own.root / "images/sub__ü.png")
    write_mask(own.root / "small.png", np.zeros((2, 2)))
    text = (
        "image,labels,split,mask\n"
        "gone.png,dog,,\n"
        "a.png,,,small.png\n"
        "b c.jpg,emu,,\n"
        "sub/ü.PNG,dog,test,\n"
        "sub__ü.png,dog,,\n"
        ".hidden.png,dog,,\n"
        "broken.jpg,dog,,\n"
        "sub/deep/d.png,dog,,\n"
        "sub/deep/d.png,dog,val,\n"
    )
    message = fails(own, text, classes=["dog"])
    for part in (
        "labels.csv: bad entries",
        "(9 problems)",
        "line 2: image 'gone.png': no such file",
        "line 3: a.png: has no label",
        "line 4: b c.jpg: unknown class 'emu'",
        "line 5: sub/ü.PNG: split 'test' is unknown",
        "(line 5) both get id 'sub__ü'",
        "begins with a dot",
        "line 10:",
        "broken.jpg: not a readable image",
        "small.png: is 2x2, its image 8x6",
    ):
        assert part in message, message


@pytest.mark.parametrize(
    "text, part",
    [
        ("image,cat,dog\na.png,0,1\n", "a column for each class"),
        ("image,id,labels\na.png,a,dog\n", "instead id"),
        ("file;labels\na.png;dog\n", "parted by semicolons"),
        ("image,labels\n", "has no rows"),
        ("", "has no rows"),
        ("image,labels\na.png,dog,cat\n", "line 2"),
    ],
)
def test_other_layouts(own, text, part):
    message = fails(own, text)
    assert part in message and "labels.csv" in message


def test_missing_folders(own):
    assert "mend `images`" in fails(own, "image,labels\na.png,dog\n", images=str(own.root / "nowhere"))
    assert "nothing.csv: cannot be read" in fails(own, "", labels=str(own.root / "nothing.csv"))


def test_environment_variables_in_paths(own, monkeypatch):
    monkeypatch.setenv("OWN_IMAGES", str(own.root / "images"))
    assert len(own("image,labels\na.png,dog\n", images="${OWN_IMAGES}").records) == 1
