"""Pixels of more than 8 bits: which files say how to read them. A photo's own brightest value never scales it."""

import numpy as np
from PIL import Image, ImageFile

from wsss.engine.explain import for_people
from wsss.errors import UserError

DARK = 1 << 14  # 14 bits and fewer lie in 16-bit files unscaled; a 16-bit photo without a brighter pixel is rare
CONVERT = for_people(
    "save it as 8 bits a channel, with the range that is meant (NumPy, Pillow: "
    "Image.fromarray((values * (255 / largest)).clip(0, 255).astype('uint8')), the same `largest` for all photos)"
)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF tags
_WHITE_IS_ZERO, _APART, _UNSIGNED = 0, 2, 1
_CODESTREAM, _DEPTH_AT = b"\xff\x4f\xff\x51", 42  # of JPEG 2000: how its pixels begin, and where the bits of the first channel are told


def deep_bits(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image holds 16 bits a channel, of which Pillow may keep the upper 8."""
    deep = image.mode.startswith("I") or any(";16" in name for name in _layouts(image)) or _says_16_bits(image)
    return deep and image.format != "BMP"  # whose 16 bits are three colours


def _says_16_bits(image: Image.Image) -> bool:
    """Whether a colour PPM or JPEG 2000, whose layout in Pillow's words tells no depth, says 65535 is white. Where it says 4095, it is right."""
    if image.format == "JPEG2000" and isinstance(image, ImageFile.ImageFile) and image.fp:
        image.fp.seek(0)
        content = image.fp.read()  # small beside what decoding takes
        start = content.find(_CODESTREAM)
        return start >= 0 and content[start + _DEPTH_AT : start + _DEPTH_AT + 1] in (b"\x0f", b"\x8f")  # bits less one; 0x80: signed
    return any(tile[0].startswith("ppm") and tile[3][-1] == 65535 for tile in _tiles(image))


def scales_values(image: Image.Image) -> bool:
    """Whether Pillow will stretch or invert the values of an opened gray image: 2 and 4 bits, white as zero, a PGM's own maximum."""
    return any(name != image.mode for name in _layouts(image)) or any(tile[0].startswith("ppm") for tile in _tiles(image))


def _layouts(image: Image.Image) -> list[str]:
    """How the pixels lie in an opened, not yet loaded file, in Pillow's words (L;4, RGB;16B)."""
    return [str(tile[3] if isinstance(tile[3], str) else (tile[3] or [""])[0]) for tile in _tiles(image)]


def _tiles(image: Image.Image) -> list:
    """(codec, box, offset, arguments) of each part of a file; none where the image comes from elsewhere."""
    return image.tile if isinstance(image, ImageFile.ImageFile) else []


def refuse_unknown_range(image: Image.Image, path: object) -> None:
    """Refuse types of pixel whose black and white nothing tells: floats, 32 bits, signed, 12 of 16 bits.

    Raises:
        UserError: says how to convert the file.
    """
    tags = getattr(image, "tag_v2", {})
    bits, signs = tags.get(_BITS_PER_SAMPLE, (8,)), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
    kind = "floating-point" if image.mode == "F" else f"{bits[0]}-bit" if image.mode.startswith("I") and bits[0] not in (8, 16) else ""
    if not kind and set(signs) != {_UNSIGNED}:
        kind = for_people(f"signed {bits[0]}-bit")  # Pillow takes those of 8 bits for unsigned
    if not kind and image.mode.startswith("I") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        kind = for_people("inverted 16-bit")
    if kind:
        raise UserError(f"{path}: holds {kind} values, and nothing says which of them is white; {CONVERT}")


def refuse_planes(image: Image.Image, path: object) -> None:
    """Refuse an opened TIFF of 16 bits whose colours lie apart and unpacked: Pillow takes each byte for a pixel.

    Raises:
        UserError: says how to convert the file.
    """
    tags = getattr(image, "tag_v2", {})
    is_apart = tags.get(_PLANES) == _APART and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8
    if is_apart and any(tile[0] == "raw" for tile in _tiles(image)):
        raise UserError(f"{path}: has 16 bits a channel and its colours one after the other (PlanarConfiguration 2), which would be misread; {CONVERT}")


def refuse_dark(image: Image.Image, path: object) -> None:
    """Refuse a loaded image of 16 bits a channel that has no pixel brighter than 14 bits.

    Raises:
        UserError: says how to convert the file.
    """
    bands = image.mode.rstrip("A") or image.mode
    values = np.asarray(image)
    colours = values[..., : len(bands)] if values.ndim == 3 else values
    largest = int(colours.max(initial=0)) * (1 if image.mode.startswith("I") else 256)
    if 0 < largest < DARK or (largest == 0 and values.dtype == np.uint8):
        raise UserError(
            f"{path}: has 16 bits a channel and no value above {largest or 255} of 65535, as 8, 10, 12 or 14 bits have in a wide "
            f"file: it would be almost black; {CONVERT}"
        )
