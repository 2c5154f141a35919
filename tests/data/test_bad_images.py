"""Odd or broken images, masks and saliency maps: a correct result, or a message naming the file."""

import numpy as np
import pytest
from PIL import Image
from wsss.data.files import file_problems
from wsss.data.manifest import Row, write_manifest
from wsss.data.validate import validate
from wsss.errors import UserError
from wsss.io.images import image_size, read_image, unreadable
from wsss.io.masks import write_mask
from wsss.io.saliency import read_saliency

TRAIN = ("train", "trainaug")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(path, exif=exif, quality=100)


LEGAL = {
    "gray.png": lambda p: Image.fromarray(PIXELS[..., 0]).save(p),
    "cmyk.jpg": lambda p: Image.fromarray(PIXELS).convert("CMYK").save(p),
    "sixteen.png": lambda p: Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(p),
    "alpha.png": lambda p: Image.fromarray(PIXELS).convert("RGBA").save(p),
    "palette.png": lambda p: Image.fromarray(PIXELS).convert("P").save(p),
    "one_bit.png": lambda p: Image.fromarray(PIXELS[..., 0]).convert("1").save(p),
    "rotated.jpg": rotated,
    "dot.png": lambda p: Image.fromarray(PIXELS[:1, :1]).save(p),
    "ribbon.jpg": lambda p: Image.fromarray(np.zeros((33, 2000, 3), np.uint8)).save(p),
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal_images_pass_and_give_rgb(tmp_path, name):
    path = tmp_path / name
    LEGAL[name](path)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (*image_size(path), 3)
    mask = tmp_path / "mask.png"
    write_mask(mask, np.full(image.shape[:2], 1))
    validate([Row("x", TRAIN, path, ("cat",), mask)], ["cat"])


def test_sixteen_bit_and_gray_keep_their_values(tmp_path):
    for name in ("gray.png", "sixteen.png"):
        LEGAL[name](tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(PIXELS[..., :1], 3, 2))


def test_rotated_image_wants_a_rotated_mask(tmp_path):
    rotated(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg").shape == (30, 20, 3)
    write_mask(tmp_path / "x.png", np.zeros((20, 30)))
    (problem,) = file_problems([Row("x", TRAIN, tmp_path / "x.jpg", ("cat",), tmp_path / "x.png")], 1)
    assert "x.png: is 30x20, its image 20x30 (after EXIF rotation)" in problem


def truncated(path):
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:-200])


BROKEN = {
    "truncated.jpg": truncated,
    "truncated.png": truncated,
    "empty.jpg": lambda p: p.write_bytes(b""),
    "text.png": lambda p: p.write_text("not an image"),
    "missing.jpg": lambda p: None,
    "folder.jpg": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_named(tmp_path, name):
    BROKEN[name](tmp_path / name)
    with pytest.raises(UserError, match=name):
        validate([Row("x", TRAIN, tmp_path / name, ("cat",))], ["cat"])


def test_all_broken_images_are_named_together(tmp_path):
    rows = []
    for name, make in BROKEN.items():
        make(tmp_path / name)
        rows.append(Row(name, TRAIN, tmp_path / name, ("cat",)))
    with pytest.raises(UserError) as error:
        validate(rows, ["cat"])
    assert all(name in str(error.value) for name in BROKEN)


def test_a_photo_that_may_not_be_read_is_no_broken_one():
    """Made by hand: root, who runs tests in containers, may read everything."""
    error = unreadable("a.jpg", PermissionError(13, "Permission denied", "a.jpg"))
    assert str(error) == "a.jpg: no permission to read it; change its mode or owner, or take it out of the list"


@pytest.fixture
def image(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def mask_problems(image, path):
    train = file_problems([Row("x", TRAIN, image, ("cat",), None, path)], 2)
    assert train == file_problems([Row("x", TRAIN, image, ("cat",), path)], 2)
    return train


def test_mask_values(tmp_path, image):
    path = tmp_path / "mask.png"
    legal = np.zeros((20, 30), np.uint8)
    legal[:3], legal[3:5], legal[5] = 1, 2, 255
    write_mask(path, legal)
    assert mask_problems(image, path) == []
    legal[7, 7], legal[8, 8] = 3, 254
    write_mask(path, legal)
    (problem,) = mask_problems(image, path)
    assert "mask.png: values 3, 254 are neither 0..2 nor 255" in problem


def test_mask_of_another_size(tmp_path, image):
    write_mask(tmp_path / "mask.png", np.zeros((30, 20)))
    assert "is 20x30, its image 30x20" in mask_problems(image, tmp_path / "mask.png")[0]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_mask_of_another_mode(tmp_path, image, mode):
    array = {
        "RGB": PIXELS,
        "RGBA": np.dstack([PIXELS, PIXELS[..., :1]]),
        "I;16": PIXELS[..., 0].astype(np.uint16),
    }
    Image.fromarray(array[mode]).save(tmp_path / "mask.png")
    (problem,) = mask_problems(image, tmp_path / "mask.png")
    assert "mask.png" in problem and mode[0] in problem


@pytest.mark.parametrize("name", ["truncated.png", "empty.jpg", "missing.jpg"])
def test_broken_masks_are_named(tmp_path, image, name):
    BROKEN[name](tmp_path / name)
    assert name in mask_problems(image, tmp_path / name)[0]


def test_saliency(tmp_path, image):
    path = tmp_path / "sal.png"
    row = Row("x", TRAIN, image, ("cat",), None, None, path)
    assert "missing saliency map" in file_problems([row], 1)[0]
    Image.fromarray(PIXELS).save(path)
    assert "mode RGB" in file_problems([row], 1)[0]
    Image.fromarray(PIXELS[:9, :, 0]).save(path)
    assert "is 30x9, its image 30x20" in file_problems([row], 1)[0]
    Image.fromarray(PIXELS[..., 0]).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a readable saliency map" in file_problems([row], 1)[0]
    Image.fromarray(PIXELS[..., 0]).save(path)
    assert file_problems([row], 1) == []
    np.testing.assert_array_equal(read_saliency(path), PIXELS[..., 0])



def test_an_image_may_have_all_labels(tmp_path, image):
    classes = [f"c{k}" for k in range(254)]
    rows = [Row("x", TRAIN, image, tuple(classes))]
    validate(rows, classes)
    dataset = write_manifest(tmp_path / "out", name="own", root=tmp_path, classes=classes, rows=rows)
    assert dataset.multi_hot(dataset.records[0]).sum() == 254


def test_unwritable_folder_is_one_clear_line(tmp_path, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_manifest(
            tmp_path / "file/out",
            name="own",
            root=tmp_path,
            classes=["cat"],
            rows=[Row("x", TRAIN, image, ("cat",))],
        )


STRANGE = {
    "p.mp4": (b"\0\0\0\x18ftypmp42" + bytes(40), "is a video"),
    "p.jpg": (b"\0\0\0\x14ftypqt  " + bytes(40), "is a video"),
    "p.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(40), "is a video"),
    "p.webm": (b"\x1aE\xdf\xa3" + bytes(40), "is a video"),
    "p.cr3": (b"\0\0\0\x18ftypcrx " + bytes(40), "is a raw photo"),
    "q.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "r.jpg": (b"\n<!DOCTYPE html><html>Log in</html>", "is a web page"),
    "s.png": (b'<?xml version="1.0"?><svg></svg>', "save it as PNG"),
    "t.jpg": (b"%PDF-1.7", "is a document"),
    "u.jpg": (b"some text", "not a readable image"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_photo_is_called_by_its_name(tmp_path, name):
    content, words = STRANGE[name]
    (tmp_path / name).write_bytes(content)
    (problem,) = file_problems([Row("x", TRAIN, tmp_path / name, ("cat",))], 1)
    assert f"{name}: " in problem and words in problem and problem.endswith("take it out of the list")
