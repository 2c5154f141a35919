"""Saliency maps: 8-bit gray PNG, 255 = salient."""

from pathlib import Path

import numpy as np
from PIL import Image

from wsss.engine.atomic import atomic_path
from wsss.engine.explain import for_people
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.images import FORMATS, UNREADABLE, orientation, refuse_frames

MEND = for_people("save it as 8-bit gray (with Pillow: image.convert('L') where it is gray stored as colour; 16-bit values divided by 257)")


def write_saliency(path: str | Path, values: np.ndarray) -> None:
    """Write an (H, W) uint8 map atomically."""
    with atomic_path(path) as temp:
        Image.fromarray(np.ascontiguousarray(values, np.uint8)).save(temp, format="PNG")


def read_saliency(path: str | Path) -> np.ndarray:
    """Read a saliency map as (H, W) uint8, 255 = salient.

    Raises:
        UserError: missing, unreadable, not 8-bit gray (RGB, 16-bit and palette files are not guessed at), or turned by EXIF.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            refuse_frames(image, path)
            if image.mode != "L":
                raise UserError(f"{path}: saliency map has mode {image.mode}, not 8-bit gray (L); {MEND}")
            if (turned := orientation(image)) != 1:
                raise UserError(f"{path}: saliency map has EXIF orientation {turned}, which maps do not follow; save it upright, without EXIF")
            return np.array(image)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing saliency map; {remedy(path, 'make it again or leave the column empty')}") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable saliency map ({error}); {remedy(path, 'make it again')}") from error
