"""Photos and masks by what their files hold: read by their type, or refused with how to convert them."""

import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, features
from wsss.data.photos import find_photos
from wsss.errors import UserError
from wsss.io import depth, images
from wsss.io.images import image_size, read_image, read_photo
from wsss.io.masks import VOC_PALETTE, read_mask
from wsss.io.saliency import read_saliency

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 16), dtype=np.uint8)
LARGE = np.kron(GRAY, np.ones((4, 4), np.uint8))  # OpenCV writes no smaller JPEG 2000
MASK = (np.arange(12 * 16).reshape(12, 16) // 64).astype(np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def colours_16(path, values):
    """A PNG of 16 bits a channel, which Pillow reads and does not write."""
    import cv2

    cv2.imwrite(str(path), values)
    return path


UNKNOWN = {
    "floats.tif": lambda p: save(p, GRAY.astype(np.float32) / 255),
    "large_floats.tif": lambda p: save(p, GRAY.astype(np.float32)),
    "int32.tif": lambda p: save(p, GRAY.astype(np.int32) * 100),
    "int32_small.tif": lambda p: save(p, GRAY.astype(np.int32)),
    "signed.tif": lambda p: save(p, GRAY.astype(np.uint16) * 100, tiffinfo={339: 2}),
    "signed_8.tif": lambda p: save(p, GRAY, tiffinfo={339: 2}),
    "12_bits.png": lambda p: save(p, GRAY.astype(np.uint16) * 16),
    "12_bits.tif": lambda p: save(p, GRAY.astype(np.uint16) * 16),
    "14_bits.png": lambda p: save(p, GRAY.astype(np.uint16) * 64),
    "8_bits.png": lambda p: save(p, GRAY.astype(np.uint16)),
    "12_bits_rgb.png": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 16),
    "12_bits_rgb.tif": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 16),
    "12_bits_rgb.ppm": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 16),
    "12_bits_rgb.jp2": lambda p: colours_16(p, np.dstack([LARGE] * 3).astype(np.uint16) * 16),
    "8_bits_rgb.png": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16)),
    "12_bits_alpha.png": lambda p: colours_16(p, np.dstack([GRAY] * 3 + [np.full_like(GRAY, 255)]).astype(np.uint16) * np.array([16, 16, 16, 257], np.uint16)),
    "floats.pfm": lambda p: save(p, GRAY.astype(np.float32)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_no_photo_is_scaled_by_guess(tmp_path, name):
    path = UNKNOWN[name](tmp_path / name)
    with pytest.raises(UserError, match=r"8 bits a channel, with the range that is meant") as error:
        read_image(path)
    assert name in str(error.value)


KNOWN = {
    "full.png": lambda p: save(p, GRAY.astype(np.uint16) * 257),
    "full.tif": lambda p: save(p, GRAY.astype(np.uint16) * 257),
    "full_rgb.png": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 257),
    "full_rgb.tif": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 257),
    "full.jp2": lambda p: save(p, GRAY.astype(np.uint16) * 257),
    "maxval.pgm": lambda p: p.write_bytes(b"P5 16 12 4095\n" + np.round(GRAY * (4095 / 255)).astype(">u2").tobytes()) and p,
    "full_rgb.ppm": lambda p: colours_16(p, np.dstack([GRAY] * 3).astype(np.uint16) * 257),
    "maxval.ppm": lambda p: p.write_bytes(b"P6 16 12 4095\n" + np.round(np.dstack([GRAY] * 3) * (4095 / 255)).astype(">u2").tobytes()) and p,
    "plain.png": lambda p: save(p, GRAY),
    "plain.bmp": lambda p: save(p, np.dstack([GRAY] * 3)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_types_with_a_known_range_keep_their_values(tmp_path, name):
    read = read_image(KNOWN[name](tmp_path / name))
    assert np.abs(read.astype(int) - GRAY[..., None]).max() <= 1


def test_colours_of_16_bits_in_jpeg_2000_are_read(tmp_path):
    read = read_image(colours_16(tmp_path / "p.jp2", np.dstack([BLOCKS[..., 0]] * 3).astype(np.uint16) * 257))
    assert looks_like(read, BLOCKS[..., [0, 0, 0]])


def test_a_black_photo_is_black_at_any_depth(tmp_path):
    assert not read_image(save(tmp_path / "a.png", GRAY.astype(np.uint16) * 0)).any()
    assert not read_image(save(tmp_path / "b.png", GRAY * 0)).any()


def test_no_pixel_of_one_photo_decides_over_another(tmp_path):
    """Two 16-bit photos that share values show them alike, whatever their brightest pixel."""
    values = np.full((4, 4), 30000, np.uint16)
    brighter = values.copy()
    brighter[0, 0] = 65535
    one, two = (read_image(save(tmp_path / f"{n}.png", v)) for n, v in (("one", values), ("two", brighter)))
    assert one[1, 1, 0] == two[1, 1, 0] == round(30000 / 257)
    assert depth.DARK == 16384


FRAMES = [Image.fromarray(np.full((12, 16), 40 * n, np.uint8)) for n in (1, 2, 3)]


@pytest.mark.parametrize("name", ["pages.tif", "frames.gif", "frames.png", "frames.webp"])
@pytest.mark.parametrize("read", [read_image, read_mask, read_saliency])
def test_of_several_pictures_none_is_chosen(tmp_path, name, read):
    FRAMES[0].save(tmp_path / name, save_all=True, append_images=FRAMES[1:])
    with pytest.raises(UserError, match=name) as error:
        read(tmp_path / name)
    assert "holds 3 pictures" in str(error.value) or read is read_mask and name.endswith(("webp", "gif"))


def test_a_phone_s_photo_with_its_preview_is_one_photo(tmp_path):
    FRAMES[0].convert("RGB").save(tmp_path / "p.mpo", format="MPO", save_all=True, append_images=[FRAMES[1].convert("RGB")])
    assert np.abs(read_image(tmp_path / "p.mpo").astype(int) - 40).max() <= 2


LOSSY = {
    "mask.jpg": lambda p: save(p, MASK),
    "jpeg_inside.png": lambda p: save(p, MASK, format="JPEG"),
    "mask.jp2": lambda p: save(p, MASK),
    "jpeg_in.tif": lambda p: save(p, MASK, compression="jpeg"),
    "mask.webp": lambda p: save(p, np.dstack([MASK] * 3)),
}


@pytest.mark.parametrize("name", LOSSY)
def test_masks_in_lossy_formats_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="may change class ids at every edge") as error:
        read_mask(LOSSY[name](tmp_path / name))
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif", "m.pgm", "lzw.tif", "deflate.tif", "png_inside.jpg"])
def test_masks_in_lossless_formats_keep_their_ids(tmp_path, name):
    packing = {"lzw.tif": "tiff_lzw", "deflate.tif": "tiff_adobe_deflate"}.get(name)
    options = {"compression": packing} if packing else {"format": "PNG"} if name.endswith(".jpg") else {}
    np.testing.assert_array_equal(read_mask(save(tmp_path / name, MASK, **options)), MASK)


def gray_png(path, bits, rows):
    """A gray PNG of few bits, as Pillow does not write it."""
    packed = [b"\0" + sum(v << (8 - bits * (n + 1)) for n, v in enumerate(row)).to_bytes(1, "big") for row in rows]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"".join(packed))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


STRETCHED = {
    "4_bits.png": lambda p: gray_png(p, 4, [[0, 1], [2, 3]]),
    "2_bits.png": lambda p: gray_png(p, 2, [[0, 1, 2, 3], [3, 2, 1, 0]]),
    "maximum.pgm": lambda p: p.write_bytes(b"P5 2 2 3\n\0\1\2\3"),
    "text.pgm": lambda p: p.write_bytes(b"P2 2 2 3 0 1 2 3\n"),
    "inverted.tif": lambda p: save(p, MASK, tiffinfo={262: 0}),
}


@pytest.mark.parametrize("name", STRETCHED)
def test_masks_whose_ids_would_be_stretched_are_refused(tmp_path, name):
    STRETCHED[name](tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: mask has gray values that are stretched"):
        read_mask(tmp_path / name)


def test_palette_masks_keep_their_ids(tmp_path):
    image = Image.fromarray(MASK)
    image.putpalette(VOC_PALETTE.tobytes())
    for name in ("m.png", "m.tif", "m.bmp"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


def test_a_mask_turned_by_exif_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(MASK).save(tmp_path / "m.png", exif=exif)
    with pytest.raises(UserError, match=r"m.png: mask has EXIF orientation 6"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("value, found", [(6, 6), (1, 1), (0, 1), (99, 1)])
def test_orientation_of_photos(tmp_path, value, found):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(GRAY).save(tmp_path / "p.jpg", exif=exif)
    image, turned = read_photo(tmp_path / "p.jpg")
    assert turned == found and image.shape[:2] == ((16, 12) if found == 6 else (12, 16))


BLOCKS = np.kron(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))  # (48, 64, 3): even lossy files keep it


def turned(path, **options):
    """A photo on its side, saved with the EXIF orientation that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(BLOCKS).save(path, exif=exif.tobytes(), quality=95, **options)
    return path


def looks_like(image, wanted):
    return image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 12


@pytest.mark.parametrize("name", ["p.avif", "p.HEIC", "p.jfif", "p.jp2"])
def test_photos_as_phones_and_browsers_save_them(tmp_path, name):
    kind = name.rpartition(".")[2].lower()
    if kind == "heic":
        pytest.importorskip("pillow_heif", reason="pillow-heif, which nothing else needs, is not installed").register_heif_opener()
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    wanted = BLOCKS if kind == "jp2" else np.rot90(BLOCKS, -1)
    path = save(tmp_path / name, BLOCKS) if kind == "jp2" else turned(tmp_path / name, format={"heic": "HEIF", "avif": "AVIF", "jfif": "JPEG"}[kind])
    assert find_photos(tmp_path) == {"p": name} and image_size(path) == wanted.shape[:2]
    assert looks_like(read_image(path), wanted)


def heic_start(path):
    """The first bytes of a phone's photo."""
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(100))
    return path


@pytest.mark.parametrize("read", [read_image, image_size])
def test_heic_without_its_package_names_the_package(tmp_path, monkeypatch, read):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"p.jpg: is a HEIC photo, and the package pillow-heif is not installed; pip install pillow-heif"):
        read(heic_start(tmp_path / "p.jpg"))


def test_avif_without_pillow_s_part_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "FORMATS", ("JPEG", "PNG"))
    path = tmp_path / "p.avif"
    path.write_bytes(struct.pack(">I", 24) + b"ftypavif" + bytes(100))
    with pytest.raises(UserError, match="p.avif: is an AVIF photo, which the installed Pillow cannot read"):
        read_image(path)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
def test_avif_is_refused_where_it_is_cut_animated_or_a_mask(tmp_path):
    whole = turned(tmp_path / "p.avif").read_bytes()
    (tmp_path / "cut.avif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut.avif: not a readable image"):
        read_image(tmp_path / "cut.avif")
    FRAMES[0].save(tmp_path / "frames.avif", save_all=True, append_images=FRAMES[1:])
    with pytest.raises(UserError, match="holds 3 pictures"):
        read_image(tmp_path / "frames.avif")
    with pytest.raises(UserError, match="may change class ids at every edge"):
        read_mask(tmp_path / "p.avif")


def test_tiff_with_colours_apart(tmp_path):
    """8 bits are read; of 16 bits, unpacked, Pillow would make another picture and say nothing."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which scikit-image brings, is not installed")
    planes = np.moveaxis(BLOCKS, -1, 0)
    tifffile.imwrite(tmp_path / "8.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "8.tif"), BLOCKS)
    tifffile.imwrite(tmp_path / "16.tif", planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match=r"16.tif: has 16 bits a channel and its colours one after the other"):
        read_image(tmp_path / "16.tif")
    tifffile.imwrite(tmp_path / "packed.tif", planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate", compression="zlib")
    np.testing.assert_array_equal(read_image(tmp_path / "packed.tif"), BLOCKS)
