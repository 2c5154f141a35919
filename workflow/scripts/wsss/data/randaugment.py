"""RandAugment (Cubuk et al., 2020) as timm's "rand-m9-mstd0.5-inc1" has it, and random erasing (Zhong et al., 2020).

The operations move pixels too, so they are for nets that learn from image labels alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

HIGHEST = 10.0  # magnitude at which an operation is strongest
CHANCE = 0.5  # that a chosen operation is done
MEAN_COLOUR = (124, 116, 104)  # ImageNet's, around what is moved
ERASED_SHARE, ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)  # area and shape of an erased box, timm's
TRIES = 10  # for a box that fits


def _moved(matrix: Callable[[float, Image.Image], tuple]) -> Callable[[Image.Image, float], Image.Image]:
    def move(picture: Image.Image, value: float) -> Image.Image:
        place = matrix(value, picture)
        return picture.transform(picture.size, Image.Transform.AFFINE, place, Image.Resampling.BICUBIC, fillcolor=MEAN_COLOUR)

    return move


def _rotate(picture: Image.Image, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=MEAN_COLOUR)


def _enhanced(enhancer: Callable) -> Callable[[Image.Image, float], Image.Image]:
    return lambda picture, change: enhancer(picture).enhance(max(0.1, 1.0 + change))


def _posterize(picture: Image.Image, fewer: float) -> Image.Image:
    return ImageOps.posterize(picture, max(1, 4 - int(fewer)))  # of 0 bits nothing stays, and Pillow refuses


def _solarize(picture: Image.Image, lower: float) -> Image.Image:
    return ImageOps.solarize(picture, 256 - int(lower))


def _solarize_add(picture: Image.Image, added: float) -> Image.Image:
    return picture.point([min(255, i + int(added)) if i < 128 else i for i in range(256)] * 3)


# name: (value at the highest magnitude, whether its sign is drawn, what is done with the value)
OPERATIONS: dict[str, tuple[float, bool, Callable[[Image.Image, float], Image.Image]]] = {
    "autocontrast": (0, False, lambda picture, _: ImageOps.autocontrast(picture)),
    "equalize": (0, False, lambda picture, _: ImageOps.equalize(picture)),
    "invert": (0, False, lambda picture, _: ImageOps.invert(picture)),
    "rotate": (30, True, _rotate),  # degrees
    "posterize": (4, False, _posterize),  # bits that go, of 4
    "solarize": (256, False, _solarize),  # inverted from 256 less this on
    "solarize_add": (110, False, _solarize_add),  # added to what is below 128
    "colour": (0.9, True, _enhanced(ImageEnhance.Color)),
    "contrast": (0.9, True, _enhanced(ImageEnhance.Contrast)),
    "brightness": (0.9, True, _enhanced(ImageEnhance.Brightness)),
    "sharpness": (0.9, True, _enhanced(ImageEnhance.Sharpness)),
    "shear_x": (0.3, True, _moved(lambda v, _: (1, v, 0, 0, 1, 0))),
    "shear_y": (0.3, True, _moved(lambda v, _: (1, 0, 0, v, 1, 0))),
    "translate_x": (0.45, True, _moved(lambda v, picture: (1, 0, v * picture.width, 0, 1, 0))),  # of the side
    "translate_y": (0.45, True, _moved(lambda v, picture: (1, 0, 0, 0, 1, v * picture.height))),
}


@dataclass(frozen=True)
class RandAugment:
    """One draw: operations by name and value, in order."""

    operations: tuple[tuple[str, float], ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the same size."""
        picture = Image.fromarray(image)
        for name, value in self.operations:
            picture = OPERATIONS[name][2](picture, value)
        return np.asarray(picture)


def draw_randaugment(count: int, magnitude: float, std: float, rng: np.random.Generator) -> RandAugment:
    """Draw the operations of one sample, with replacement.

    Args:
        count: of operations chosen, each done with probability CHANCE.
        magnitude: 0 to HIGHEST.
        std: of the normal noise on it.
    """
    names, drawn = list(OPERATIONS), []
    for index in rng.integers(len(names), size=count):
        done, negative = rng.random(2) < (CHANCE, 0.5)
        level = float(np.clip(rng.normal(magnitude, std), 0, HIGHEST)) / HIGHEST
        highest, signed, _ = OPERATIONS[names[index]]
        if done:
            drawn.append((names[index], -highest * level if signed and negative else highest * level))
    return RandAugment(tuple(drawn))


def erase(crop: np.ndarray, chance: float, rng: np.random.Generator) -> np.ndarray:
    """(3, S, S) float32 normalised -> the same; with probability `chance` one box is normal noise."""
    if rng.random() >= chance:
        return crop
    side = crop.shape[-1]
    for _ in range(TRIES):
        area, ratio = rng.uniform(*ERASED_SHARE) * side**2, np.exp(rng.uniform(*np.log(ERASED_RATIO)))
        height, width = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
        if 0 < height < side and 0 < width < side:
            top, left = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
            crop = crop.copy()
            crop[:, top : top + height, left : left + width] = rng.standard_normal((3, height, width), np.float32)
            break
    return crop
