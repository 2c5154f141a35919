"""Colour jitter of training images: torchvision's ColorJitter with a draw of its own, on 8-bit images."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
NAMES = (*ENHANCERS, "hue")


@dataclass(frozen=True)
class Jitter:
    """Steps in the order in which they are done: (name, factor), for hue a shift in turns of the colour circle."""

    steps: tuple[tuple[str, float], ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the same, jittered."""
        picture = Image.fromarray(image)
        for name, factor in self.steps:
            picture = _shift_hue(picture, factor) if name == "hue" else ENHANCERS[name](picture).enhance(factor)
        return np.asarray(picture)


def draw_jitter(reach: dict[str, float], rng: np.random.Generator) -> Jitter:
    """Draw order and factors, each uniform within 1 +- reach, for hue within +- reach."""
    drawn = {name: rng.uniform(-reach[name], reach[name]) for name in NAMES if name in reach}
    order = [list(drawn)[i] for i in rng.permutation(len(drawn))]
    return Jitter(tuple((name, drawn[name] + (name != "hue")) for name in order))


def _shift_hue(picture: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    shifted = (np.asarray(hue).astype(np.int16) + int(turns * 255)) % 256
    parts = (Image.fromarray(shifted.astype(np.uint8)), saturation, value)
    return Image.merge("HSV", parts).convert("RGB")
