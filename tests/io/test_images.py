"""Photos as they are read."""

import time
import warnings

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.io import images, masks

GRADIENT = np.stack(np.meshgrid(np.arange(0, 240, 10), np.arange(0, 160, 10)), -1).astype(np.uint8)
RGB = np.concatenate([GRADIENT, np.full((16, 24, 1), 77, np.uint8)], axis=2)


def saved(tmp_path, image, name="i.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_rgb_comes_back_as_it_is(tmp_path):
    assert np.array_equal(images.read_image(saved(tmp_path, Image.fromarray(RGB))), RGB)


def test_gray_is_repeated(tmp_path):
    read = images.read_image(saved(tmp_path, Image.fromarray(RGB[..., 0])))
    assert np.array_equal(read, np.repeat(RGB[..., :1], 3, axis=2))


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path, Image.fromarray(RGB).convert("CMYK"), "i.jpg", quality=100)
    read = images.read_image(path)
    assert read.shape == RGB.shape and np.abs(read.astype(int) - RGB).max() < 12


def ycck(rgb):
    """CMYK whose JPEG holds, where its marker says so, what Photoshop writes: colours inverted, in luma and chroma."""
    cmyk = np.array(Image.fromarray(rgb).convert("CMYK"))
    luma_chroma = np.array(Image.fromarray(cmyk[..., :3]).convert("YCbCr"))
    return Image.fromarray(np.dstack([255 - luma_chroma, cmyk[..., 3]]), "CMYK")  # Pillow inverts what it writes


@pytest.mark.parametrize("transform", [0, 2])
def test_colours_of_a_printer_s_jpeg_are_not_inverted(tmp_path, transform):
    colours = np.kron(np.array([[[220, 30, 30], [30, 200, 40], [30, 40, 210], [250, 250, 250]]], np.uint8), np.ones((16, 16, 1), np.uint8))
    path = saved(tmp_path, ycck(colours) if transform else Image.fromarray(colours).convert("CMYK"), "i.jpg", quality=95)
    data = bytearray(path.read_bytes())
    data[data.index(b"Adobe") + 11] = transform  # 0: CMYK, 2: YCCK
    path.write_bytes(data)
    assert np.abs(images.read_image(path).astype(int) - colours).max() < 12


def test_rgba_lies_on_white(tmp_path):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[0, 0, 3] = 0
    read = images.read_image(saved(tmp_path, Image.fromarray(rgba)))
    assert (read[0, 0] == 255).all() and np.array_equal(read[1:], RGB[1:])


def test_palette_and_bilevel(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8))
    palette.putpalette(masks.VOC_PALETTE.tobytes())
    assert images.read_image(saved(tmp_path, palette))[0, 1].tolist() == [128, 0, 0]
    assert images.read_image(saved(tmp_path, Image.new("1", (2, 2), 1)))[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    deep = (RGB[..., 0].astype(np.uint16) * 257)[:, ::-1].copy()
    read = images.read_image(saved(tmp_path, Image.fromarray(deep), f"i.{suffix}"))
    assert np.array_equal(read[..., 0], RGB[:, ::-1, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_image_and_size(tmp_path, orientation):
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    path = saved(tmp_path, image, exif=exif)
    turned = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1), 7: np.rot90(RGB, 2).transpose(1, 0, 2), 8: np.rot90(RGB),
    }  # fmt: skip
    assert np.array_equal(images.read_image(path), turned[orientation])
    assert images.image_size(path) == turned[orientation].shape[:2]


@pytest.mark.parametrize("is_behind", [False, True])
def test_the_size_of_a_png_decodes_pixels_only_for_exif_behind_them(tmp_path, monkeypatch, is_behind):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(RGB), exif=exif)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    if is_behind:
        last = content.index(b"IEND") - 4
        path.write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    decoded, load = [], PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: decoded.append(1) or load(image))
    assert images.image_size(path) == RGB.shape[1::-1] and bool(decoded) == is_behind


@pytest.mark.parametrize("large", [10, RGB[..., 0].size])
def test_of_large_photos_one_is_held_at_a_time(tmp_path, monkeypatch, large):
    monkeypatch.setattr(images, "LARGE", large)
    path, held, most = saved(tmp_path, Image.fromarray(RGB)), [], []

    def hold(_):
        with images.room_to_decode(path):
            held.append(1)
            most.append(len(held))
            time.sleep(0.02)
            held.pop()

    list(threaded(hold, range(8)))
    assert (max(most) == 1) == (large == 10)
    with images.room_to_decode(tmp_path / "none.png"):
        pass


def test_a_size_beyond_any_photo_is_refused_before_decoding(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB[..., 0].size - 1)
    for read in (images.read_image, images.image_size):
        with pytest.raises(UserError, match="i.png.*no photo's size.*smaller"), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            read(path)


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000), (2000, 1)])
def test_odd_sizes(tmp_path, size_hw):
    path = saved(tmp_path, Image.new("RGB", size_hw[::-1], (1, 2, 3)))
    assert images.read_image(path).shape == (*size_hw, 3) and images.image_size(path) == size_hw


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_image(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), f"i.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"i.{suffix}.*not a readable image"):
        images.read_image(path)


@pytest.mark.parametrize("read", [images.read_image, images.image_size])
def test_empty_missing_and_foreign_files(tmp_path, read):
    with pytest.raises(UserError, match="none.jpg: missing image"):
        read(tmp_path / "none.jpg")
    for name, content in {"empty.jpg": b"", "text.jpg": b"not a photo"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.*not a readable image"):
            read(tmp_path / name)


def test_a_missing_image_whose_name_is_there_in_capitals(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "A.JPG")
    with pytest.raises(UserError, match="a.jpg: missing image, but there is 'A.JPG', in other letters; rename it to 'a.jpg'"):
        images.read_image(tmp_path / "a.jpg")


def test_a_folder_in_an_images_place(tmp_path):
    with pytest.raises(UserError, match="not a readable image"):
        images.read_image(tmp_path)
