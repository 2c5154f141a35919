"""Reading photos: whatever the file holds, (H, W, 3) uint8 RGB comes out, or an error naming the file."""

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.depth import deep_bits, refuse_dark, refuse_planes, refuse_unknown_range

# Pillow goes by content, not by suffix, and hands PostScript in a .jpg to Ghostscript: nothing but pictures is opened.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
FORMATS += ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()  # since Pillow 11.3
AVIF_BRANDS, HEIF_BRANDS = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# What Pillow raises on damaged files, by format and by what is damaged.
UNREADABLE: tuple[type[Exception], ...] = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, EOFError, RuntimeError)
UNREADABLE += (struct.error, zlib.error, Image.DecompressionBombError)
Image.MAX_IMAGE_PIXELS = 200_000_000  # a photo beyond this is a mistake or an attack; Pillow itself refuses twice as many
LARGE = 24_000_000  # pixels; decoding takes seven bytes each for a moment, so eight threads need 1.3 GB for photos of that size
_ONE_LARGE = threading.Lock()
_SWAPPED = {5, 6, 7, 8}  # EXIF orientations that exchange height and width


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, EXIF orientation applied; gray, CMYK, 16-bit, RGBA, palette too.

    Raises:
        UserError: the file is missing, empty, truncated, no image, several (pages, frames), or of a type of pixel
            whose range nothing tells (floats, 12 bits in 16), or transparent all over.
    """
    return read_photo(path)[0]


def read_photo(path: str | Path) -> tuple[np.ndarray, int]:
    """`read_image`, and the EXIF orientation that was applied (1: as it lies in the file)."""
    try:
        with open_image(path) as image:
            refuse_frames(image, path)
            refuse_planes(image, path)
            refuse_unknown_range(image, path)
            is_deep = deep_bits(image)
            image.load()
            if is_deep:
                refuse_dark(image, path)
            refuse_unseen(image, path)
            turned = orientation(image)
            # Where nothing is to be done both steps would copy, which takes as long as decoding half the photo.
            ImageOps.exif_transpose(image, in_place=True)
            return np.array(_to_rgb(image)), turned
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: str | Path, error: Exception) -> UserError:
    """What to say of an image that was not read. A photo that a stage made (a demo scene, a smaller copy) can be made again."""
    if isinstance(error, FileNotFoundError):
        if twin := _other_letters(Path(path)):
            return UserError(f"{path}: missing image, but there is {twin!r}, in other letters; rename it to {Path(path).name!r}")
        return UserError(f"{path}: missing image; {remedy(path, 'restore it or take it out of the list')}")
    if isinstance(error, PermissionError):
        return UserError(f"{path}: no permission to read it; change its mode or owner, or take it out of the list")
    return UserError(f"{path}: not a readable image ({error}); {remedy(path, 'replace it or take it out of the list')}")


def _other_letters(path: Path) -> str | None:
    """A file beside the missing `path` whose name has small letters for capitals, or the other way round."""
    try:
        return next((name for name in os.listdir(path.parent) if name.casefold() == path.name.casefold() and name != path.name), None)
    except OSError:
        return None


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image after EXIF orientation. Pixels are not decoded, but in a PNG that may have its EXIF behind them.

    Raises:
        UserError: the file is missing or no image.
    """
    try:
        with open_image(path) as image:
            width, height = image.size
            if image.format == "PNG" and not _says_more_behind_pixels(path):
                exif = Image.Image.getexif(image)  # Pillow's own for PNG decodes all pixels first
            else:
                exif = image.getexif()
            swapped = _turn(exif) in _SWAPPED
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return (width, height) if swapped else (height, width)


@contextmanager
def room_to_decode(path: str | Path) -> Iterator[None]:
    """For threads that each read a photo: of those of more than LARGE pixels one is held at a time."""
    try:
        height, width = image_size(path)
    except UserError:  # who reads it says why
        height = width = 0
    with _ONE_LARGE if height * width > LARGE else nullcontext():
        yield


def open_image(path: str | Path) -> Image.Image:
    """A photo, opened and not yet loaded, by what is in the file. HEIC goes through pillow-heif, which is looked for when first wanted.

    Raises:
        UserError: the package for its kind is missing, or it is larger than any photo.
        OSError and others of UNREADABLE: as Pillow says it.
    """
    image = _opened(path)
    if fault := size_fault(image.size[::-1]):
        image.close()
        raise UserError(f"{path}: {fault}; save it smaller, or take it out of the list")
    return image


def _opened(path: str | Path) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except Image.UnidentifiedImageError:
        with open(path, "rb") as handle:
            start = handle.read(12)
        brand = start[8:] if start[4:8] == b"ftyp" else b""
        if brand in AVIF_BRANDS and ("AVIF" not in FORMATS or not features.check("avif")):
            raise UserError(f"{path}: is an AVIF photo, which the installed Pillow cannot read; pip install -U pillow, or save it as JPEG") from None
        if brand not in HEIF_BRANDS:
            raise
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise UserError(f"{path}: is a HEIC photo, and the package pillow-heif is not installed; pip install pillow-heif, or save it as JPEG") from None
    register_heif_opener()
    return Image.open(path, formats=("HEIF",))


def refuse_frames(image: Image.Image, path: str | Path) -> None:
    """UserError for a file of several pictures: nothing says which of them is meant. A phone's MPO has one photo first."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise UserError(f"{path}: holds {frames} pictures (pages or frames); save the one that is meant as a file of its own")


def refuse_unseen(image: Image.Image, path: str | Path) -> None:
    """UserError for a loaded image that shows nothing: every pixel is transparent, so it would be white."""
    if image.has_transparency_data and not image.mode.startswith("I") and not _opacity(image).getextrema()[1]:
        raise UserError(f"{path}: every pixel is transparent, so nothing would be seen; save it without its alpha channel, or replace it")


def _opacity(image: Image.Image) -> Image.Image:
    """The alpha channel; that of a palette's entries, or of the one colour that counts as transparent, where those say it."""
    return (image if image.mode in ("RGBA", "LA") else image.convert("RGBA")).getchannel("A")


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that means anything."""
    return _turn(image.getexif())


def _turn(exif: Image.Exif) -> int:
    found = exif.get(0x0112, 1)
    return found if found in range(1, 9) else 1


def _says_more_behind_pixels(path: str | Path) -> bool:
    """Whether a PNG has EXIF, or text that may hold it, behind its pixels; also where its chunks end too early."""
    with open(path, "rb") as handle:
        handle.seek(8)
        has_pixels = False
        while len(head := handle.read(8)) == 8:
            kind = head[4:]
            if kind == b"IEND":
                return False
            if has_pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            has_pixels |= kind == b"IDAT"
            handle.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return True


def scaled(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    """`size_hw` times `scale`, rounded as Python rounds, at least 1."""
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image, np.float64) / 257.0  # 16 bits, as I;16 or I (0..65535); others were refused
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def size_fault(size_hw: tuple[int, int]) -> str | None:
    """Why no photo has that size, or None. Asked before a canvas of it is made."""
    height, width = size_hw
    if min(size_hw) > 0 and height * width <= (Image.MAX_IMAGE_PIXELS or 0):
        return None
    return for_people(f"says {width}x{height}, which is no photo's size")
