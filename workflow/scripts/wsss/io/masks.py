"""Label masks: 8-bit palette PNG in the VOC palette, 0 = background, 255 = ignore."""

from pathlib import Path

import numpy as np
from PIL import Image

from wsss.errors import UserError
from wsss.io.atomic import atomic_path
from wsss.io.images import FORMATS, UNREADABLE
from wsss.io.remake import mend

RESTORE = "restore it, or run the stage that writes it again"


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


def read_mask(path: str | Path) -> np.ndarray:
    """Read a label map as (H, W) uint8.

    Raises:
        UserError: missing, unreadable, or not a single-channel 8-bit PNG (RGB colours are not class ids).
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.mode not in ("P", "L"):
                raise UserError(
                    f"{path}: mask has mode {image.mode}; it must be an 8-bit single-channel or palette PNG of class ids"
                )
            return np.array(image)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing mask; {mend(path, RESTORE)}") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable mask ({error}); {mend(path, RESTORE)}") from error
