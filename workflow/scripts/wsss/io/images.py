"""Reading photos: whatever the file holds, (H, W, 3) uint8 RGB comes out, or an error naming the file."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from wsss.errors import UserError

# Pillow goes by content, not by suffix, and hands PostScript in a .jpg to Ghostscript: nothing but pictures is opened.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
# What Pillow raises on damaged files, by format and by what is damaged.
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, EOFError, RuntimeError)
UNREADABLE += (struct.error, zlib.error, Image.DecompressionBombError)
Image.MAX_IMAGE_PIXELS = 200_000_000  # a photo beyond this is a mistake or an attack
_SWAPPED = {5, 6, 7, 8}  # EXIF orientations that exchange height and width


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 RGB, EXIF orientation applied; gray, CMYK, 16-bit, RGBA, palette too.

    Raises:
        UserError: the file is missing, empty, truncated, or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing image; restore it or take it out of the list") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable image ({error}); replace it or take it out of the list") from error


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of an image after EXIF orientation, from the header alone.

    Raises:
        UserError: the file is missing or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            swapped = image.getexif().get(0x0112) in _SWAPPED
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing image; restore it or take it out of the list") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable image ({error}); replace it or take it out of the list") from error
    return (width, height) if swapped else (height, width)


def scaled(size_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    """`size_hw` times `scale`, rounded as Python rounds, at least 1."""
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        # 16-bit files come as I;16 or I (0..65535); 8-bit values in a wide container stay as they are
        values = values / 257.0 if values.max(initial=0) > 255 else values
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(canvas, rgba)
    return image.convert("RGB")
