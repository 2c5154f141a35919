"""The strong view of a training sample: the same pixels in colours of their own, blurred, and through RandAugment.

Values are those of FSAE's predecessor (PixMatch): RandAugment (Cubuk et al., 2020) without operations that move pixels,
drawn with replacement. Nothing here changes geometry, so a cell of the one view is the same cell of the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from wsss.data.further import View
from wsss.data.jitter import Jitter, draw_jitter

FACTORS = (0.05, 0.95)  # of an enhancer: below 1, so it takes away; a part of the original always stays
ERASED_SHARE, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)  # area and shape of an erased box, torchvision's


def _enhance(enhancer: Callable) -> Callable[[Image.Image, float], Image.Image]:
    return lambda picture, factor: enhancer(picture).enhance(factor)


# name: (how the value is drawn, what is done with it)
OPERATIONS: dict[str, tuple[Callable[[np.random.Generator], float], Callable[[Image.Image, Any], Image.Image]]] = {
    "autocontrast": (lambda rng: 0, lambda picture, _: ImageOps.autocontrast(picture)),
    "brightness": (lambda rng: rng.uniform(*FACTORS), _enhance(ImageEnhance.Brightness)),
    "colour": (lambda rng: rng.uniform(*FACTORS), _enhance(ImageEnhance.Color)),
    "contrast": (lambda rng: rng.uniform(*FACTORS), _enhance(ImageEnhance.Contrast)),
    "sharpness": (lambda rng: rng.uniform(*FACTORS), _enhance(ImageEnhance.Sharpness)),
    "equalize": (lambda rng: 0, lambda picture, _: ImageOps.equalize(picture)),
    "identity": (lambda rng: 0, lambda picture, _: picture),
    "posterize": (lambda rng: int(rng.integers(4, 9)), ImageOps.posterize),  # bits that stay
    "solarize": (lambda rng: int(rng.integers(0, 257)), ImageOps.solarize),  # from this value on inverted
}


@dataclass(frozen=True)
class StrongColours:
    """One draw: jitter, blur (side of the kernel, sigma), then the operations by name and value, in order."""

    jitter: Jitter | None = None
    blur: tuple[int, float] | None = None
    operations: tuple[tuple[str, float], ...] = ()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the same, strongly changed."""
        if self.jitter is not None:
            image = self.jitter(image)
        if self.blur is not None:
            image = blurred(image, *self.blur)
        picture = Image.fromarray(image)
        for name, value in self.operations:
            picture = OPERATIONS[name][1](picture, value)
        return np.asarray(picture)


def blurred(image: np.ndarray, kernel: int, sigma: float) -> np.ndarray:
    """(H, W, 3) uint8 -> the same under a Gaussian of `kernel` pixels a side (odd), borders mirrored."""
    reach = kernel // 2
    weights = np.exp(-(np.arange(-reach, reach + 1, dtype=np.float32) ** 2) / np.float32(2 * sigma**2))
    weights /= weights.sum()
    wide = image.astype(np.float32)
    for axis in (0, 1):
        length = wide.shape[axis]
        padded = np.pad(wide, [(reach, reach) if a == axis else (0, 0) for a in range(3)], "symmetric")
        wide = sum(w * padded.take(range(i, i + length), axis) for i, w in enumerate(weights))
    return np.rint(wide).astype(np.uint8)


def draw_strong(options: Mapping, rng: np.random.Generator) -> StrongColours:
    """Draw the colours of one strong view, the size of the blur's kernel among them.

    Args:
        options: jitter (reach by name, or None), blur ([low, high] of sigma, or None), blur_kernels (sides, odd, of
            which one is drawn), randaugment (number of operations).
    """
    jitter = draw_jitter(options["jitter"], rng) if options["jitter"] else None
    blur = None
    if options["blur"]:
        kernel = options["blur_kernels"][rng.integers(len(options["blur_kernels"]))]
        blur = int(kernel), float(rng.uniform(*options["blur"]))
    names = list(OPERATIONS)
    chosen = [names[i] for i in rng.integers(len(names), size=options["randaugment"])]
    return StrongColours(jitter, blur, tuple((name, OPERATIONS[name][0](rng)) for name in chosen))


def strong_view(view: View, rng: np.random.Generator, options: Mapping) -> np.ndarray:
    """(3, S, S) float32 normalised: the sample's pixels seen strongly; options as in `draw_strong`, and erasing.

    erasing: probability that a box of the crop is blank (the mean colour).
    """
    crop = view.geometry.image(view.photo, draw_strong(options, rng))
    if options["erasing"] and rng.random() < options["erasing"]:
        top, left, height, width = draw_box(crop.shape[-1], rng)
        crop[:, top : top + height, left : left + width] = 0.0
    return crop


def draw_box(side: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height, width of a box inside a square of `side` pixels."""
    area, ratio = rng.uniform(*ERASED_SHARE) * side**2, np.exp(rng.uniform(*np.log(ERASED_RATIO)))
    height, width = (min(side, max(1, round(float(np.sqrt(area * r))))) for r in (ratio, 1 / ratio))
    return int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1)), height, width
