"""Large photos of a user: stages read smaller copies, and masks come back at the photos' own size."""

import json
import os

import numpy as np
import pytest
from helpers import table_builder
from PIL import Image
from wsss.__main__ import main
from wsss.data import folder
from wsss.data.manifest import load_manifest
from wsss.engine.index import write_index
from wsss.errors import UserError
from wsss.imports.cams import import_cams
from wsss.imports.masks import import_masks
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask, write_mask
from wsss.io.saliency import read_saliency

TURNED = 6  # the EXIF orientation of a phone held upright


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Dataset of a phone's photo of 90x120 (turned by EXIF, with mask and saliency map) and a small one; keys go to `params`."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "masks", "saliency"):
        (tmp_path / name).mkdir()
    rows = np.repeat(np.arange(90, dtype=np.uint8)[:, None], 120, 1)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(np.stack([rows * 2, rows, 255 - rows], -1)).save("photos/Fön 1.JPG", format="JPEG", exif=exif, quality=95)
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save("photos/b.png")
    for name, size in (("Fön 1", (120, 90)), ("b", (20, 30))):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 2] = 1
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
        Image.fromarray(mask * 200).save(f"saliency/{name}.png")
    (tmp_path / "labels.csv").write_text("image,labels\nFön 1.JPG,cat\nb.png,dog\n", "utf-8")

    def build(**params):
        given = {"images": "photos", "labels": "labels.csv", "masks": "masks", "saliency": "saliency", **params}
        return folder.build(given, tmp_path / "results/own")

    return build


def test_all_files_of_a_large_photo_are_copied(built, tmp_path):
    large, small = built(long_side=60).records
    assert small.image == tmp_path / "photos/b.png"
    assert image_size(large.image) == (60, 45)
    assert read_mask(large.mask).sum() == 30 * 45
    saliency = read_saliency(large.saliency)
    assert saliency.shape == (60, 45) and (saliency[:27] > 190).all() and (saliency[33:] < 10).all()
    pixels = read_image(large.image).astype(int)  # upright: what was the top row is the right column now
    assert pixels[30, -3, 0] < 20 and pixels[30, 2, 0] > 160
    assert (tmp_path / "photos/Fön 1.JPG").stat().st_size > 0


def test_the_default_copies_above_512(tmp_path, caplog):
    build = table_builder(tmp_path)
    Image.new("RGB", (2500, 1600)).save(tmp_path / "images/a.png")
    table = "image,labels\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"
    assert image_size(build(table).records[0].image) == (328, 512)
    assert not caplog.records or "megapixels" not in caplog.text
    assert image_size(build(None, long_side=None).records[0].image) == (1600, 2500)
    assert "1 of 4 photos have more than 3 megapixels (a); the largest, of 4, takes about 21 times" in caplog.text
    assert not (tmp_path / "out/copies").exists() and not (tmp_path / "out/copies.json").exists()


def test_another_long_side_changes_what_training_sees(built, tmp_path):
    images = tmp_path / "results/own/images.json"
    seen = []
    for long_side in (60, 60, 80, None):
        built(long_side=long_side)
        seen.append(json.loads(images.read_text())["digest"])
    assert seen[0] == seen[1] and len(set(seen)) == 3


def stage_of(dataset, tmp_path):
    """results/own/amn/pseudo_masks, whose masks are those of the dataset."""
    made = tmp_path / "results/own/amn/pseudo_masks"
    for record in dataset.records:
        write_mask(made / f"{record.id}.png", read_mask(record.mask))
    write_index(made, {record.id: "" for record in dataset.records}, [".png"])
    return made


def test_masks_are_exported_at_the_photos_own_size(built, tmp_path):
    made = stage_of(built(long_side=60), tmp_path)
    assert main(["export", str(made), "--as", "png", "--out", "out"]) == 0
    for name in ("Fön 1", "b"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"out/{name}.png"), read_mask(tmp_path / f"masks/{name}.png"))
    assert main(["export", str(made), "--as", "coco", "--out", "coco.json"]) == 0
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [(i["file_name"], i["height"], i["width"]) for i in images] == [("Fön 1.JPG", 120, 90), ("b.png", 20, 30)]


def test_export_does_not_write_over_the_masks_it_reads(built, tmp_path, capsys):
    made = stage_of(built(long_side=60), tmp_path)
    assert main(["export", str(made), "--as", "png", "--out", str(made), "--overwrite"]) == 1
    assert "holds the masks themselves" in capsys.readouterr().err
    assert read_mask(made / "Fön 1.png").shape == (60, 45)


def test_corrected_masks_come_back(built, tmp_path):
    made = stage_of(built(long_side=60), tmp_path)
    assert main(["export", str(made), "--as", "labelme", "--out", "labelme", "--tolerance", "0"]) == 0
    (tmp_path / "labelme/b.json").unlink()
    content = json.loads((tmp_path / "labelme/Fön 1.json").read_text())
    assert (tmp_path / "labelme" / content["imagePath"]).resolve() == tmp_path / "photos/Fön 1.JPG"
    assert main(["masks", "labelme", "--dataset", "results/own", "--out", "corrected", "--rest", str(made)]) == 0
    assert read_mask(tmp_path / "corrected/Fön 1.png").shape == (120, 90)
    import_masks(tmp_path / "corrected", "own", "corrected", "pseudo_masks")
    imported = tmp_path / "imports/own/corrected/pseudo_masks"
    for name in ("Fön 1", "b"):
        np.testing.assert_array_equal(read_mask(imported / f"{name}.png"), read_mask(made / f"{name}.png"))


def test_a_lost_copy_is_made_again_by_a_command(built, tmp_path):
    record = built(long_side=60).records[0]
    record.image.unlink()
    with pytest.raises(UserError, match="missing image; run: snakemake --force .*results/own/manifest.csv"):
        read_image(load_manifest(tmp_path / "results/own/manifest.csv").records[0].image)


def test_masks_of_another_long_side_are_not_those_of_the_photos(built, tmp_path, capsys):
    """The dataset was built again without copies; masks of the former copies are there still."""
    made = stage_of(built(long_side=60), tmp_path)
    for long_side in (None, 80):
        built(long_side=long_side)
        assert main(["export", str(made), "--as", "png", "--out", "out"]) == 1
        assert "its mask is of 45x60, and the photo" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{}", "[]", '{"photos": {"Fön 1": {"image": "Fön 1.JPG"}}}', '{"photos": {}}'])
def test_what_says_of_what_copies_are_is_needed(built, tmp_path, content, capsys):
    made = stage_of(built(long_side=60), tmp_path)
    table = tmp_path / "results/own/copies.json"
    table.write_text(content, "utf-8") if content else table.unlink()
    assert main(["export", str(made), "--as", "png", "--out", "out"]) == 1
    assert "copies.json: " in (error := capsys.readouterr().err) and "run: snakemake --force results/own/manifest.csv" in error


def test_cams_and_masks_of_other_sizes_are_told_of_the_copy(built, tmp_path):
    built(long_side=60)
    for name, size, label in (("Fön 1", (120, 90), 0), ("b", (20, 30), 1)):
        np.save(tmp_path / f"{name}.npy", {label: np.ones(size, np.float32)}, allow_pickle=True)
        write_mask(tmp_path / f"{name}.png", np.ones((20, 30), np.uint8))
    with pytest.raises(UserError, match=r"the image is \(60, 45\).*the photo is \(120, 90\): make CAMs of .*copies/Fön 1.jpg, or set `long_side: null`"):
        import_cams(tmp_path, "own", "theirs")
    with pytest.raises(UserError, match=r"its image \(60, 45\).*the copy that stages work on; the photo is \(120, 90\)"):
        import_masks(tmp_path, "own", "theirs", "seeds")


@pytest.mark.parametrize("key", ["images", "masks", "saliency"])
def test_files_of_the_users_where_copies_go_stay(built, tmp_path, key):
    folder = {"images": "photos"}.get(key, key)
    copies = tmp_path / "results/own/copies"
    copies.parent.mkdir(parents=True)
    os.rename(tmp_path / folder, copies)
    names = sorted(os.listdir(copies))
    with pytest.raises(UserError, match=r"lies in the folder that the workflow puts its smaller copies into"):
        built(long_side=60, **{key: str(copies)})
    assert sorted(os.listdir(copies)) == names


def test_what_stands_in_the_way_of_copies_is_named(built, tmp_path):
    (tmp_path / "results/own/copies.json").mkdir(parents=True)
    with pytest.raises(UserError, match="copies.json: cannot write: a folder stands where a file is needed"):
        built(long_side=60)


def test_slivers_are_told(tmp_path, caplog):
    build = table_builder(tmp_path)
    Image.new("RGB", (3000, 40)).save(tmp_path / "images/a.png")
    build("image,labels\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n")
    assert "1 of 4 photos are so long and narrow that their copies have a side below 32 pixels (a)" in caplog.text


def test_results_may_be_a_link_to_another_disk(built, tmp_path):
    """Paths in the manifest begin at results/DATASET as it is written, and photos lie beside the link."""
    (tmp_path / "far/away/disk").mkdir(parents=True)
    (tmp_path / "results").symlink_to(tmp_path / "far/away/disk")
    made = stage_of(built(long_side=60), tmp_path)
    (tmp_path / "link").symlink_to(made)
    for masks, out in ((made, "labelme"), ("link", "again")):
        assert main(["export", str(masks), "--as", "labelme", "--out", out]) == 0
    content = json.loads((tmp_path / "labelme/Fön 1.json").read_text("utf-8"))
    assert (tmp_path / "labelme" / content["imagePath"]).is_file()
    assert main(["export", str(made), "--as", "png", "--out", str(made.resolve()), "--overwrite"]) == 1
