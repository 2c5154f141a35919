"""Label masks: 8-bit palette PNG in the VOC palette, 0 = background, 255 = ignore."""

from pathlib import Path

import numpy as np
from PIL import Image

from wsss.engine.atomic import atomic_path
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.depth import scales_values
from wsss.io.images import FORMATS, UNREADABLE, orientation, refuse_frames

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")  # as Pillow finds them in the file, not in its name
LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd")
CONFIDENT, UNSURE = ".png", ".unsure.png"  # of the two seeds of an image
DRAW_AGAIN = for_people("export it from its source again, as 8-bit PNG (a PNG made of this file has the same wrong ids)")
EIGHT = for_people("save it as PNG with 8 bits, whose values are the class ids")
RESTORE = for_people("restore it, or run the stage that writes it again")


def _voc_palette() -> np.ndarray:
    index = np.arange(256)
    channels = [
        sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)
    ]
    return np.stack(channels, axis=1).astype(np.uint8)


VOC_PALETTE = _voc_palette()
"""(256, 3) uint8 RGB: the bit-interleaved colour map of the VOC development kit."""


def write_mask(path: str | Path, label: np.ndarray) -> None:
    """Write a label map atomically.

    Args:
        label: (H, W) uint8, class ids, 255 = ignore.
    """
    image = Image.fromarray(np.ascontiguousarray(label, np.uint8))
    image.putpalette(VOC_PALETTE.tobytes())
    with atomic_path(path) as temp:
        image.save(temp, format="PNG")


def _refuse_form(image: Image.Image, path: str | Path) -> None:
    """Refuse what does not keep class ids exactly, or where it is not one picture as it lies there."""
    packing = image.info.get("compression", "raw") if image.format == "TIFF" else "raw"
    if image.format not in LOSSLESS or packing not in LOSSLESS_TIFF:
        how = image.format if image.format != "TIFF" else f"TIFF with {packing}"
        raise UserError(f"{path}: mask is a {how} file, which may change class ids at every edge; {DRAW_AGAIN}")
    refuse_frames(image, path)
    if image.mode == "L" and scales_values(image):
        raise UserError(f"{path}: mask has gray values that are stretched when read (2 or 4 bits, inverted, or a PGM's own maximum); {EIGHT}")
    if (turned := orientation(image)) != 1:
        raise UserError(f"{path}: mask has EXIF orientation {turned}, which masks do not follow; save it upright, without EXIF")


def read_mask(path: str | Path) -> np.ndarray:
    """Read a label map as (H, W) uint8.

    Raises:
        UserError: missing, unreadable, in a lossy format (by content, whatever its suffix), of several pictures or turned by
            EXIF, or not a single-channel 8-bit image (RGB colours are not class ids).
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _refuse_form(image, path)
            if image.mode not in ("P", "L"):
                raise UserError(
                    f"{path}: mask has mode {image.mode}; it must be an 8-bit single-channel or palette PNG of class ids (0 is background, k the k-th class), not of colours"
                )
            return np.array(image)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing mask; {remedy(path, RESTORE)}") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable mask ({error}); {remedy(path, RESTORE)}") from error
