"""Training geometry: resize, flip and crop of one sample, applied alike to image and maps; its colours; and all that they are
made of. `wsss.data.draw` draws them.

Order as published: resize (bicubic for images, nearest for labels), flip, colour changes, normalise, crop. A crop
larger than the image places it at a random offset in the canvas. Padding is `fill` for maps; for images it is 0 after
normalisation, the mean colour, or with `padding: black` 0 before it (AffinityNet).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wsss.data.jitter import Jitter
from wsss.data.randaugment import RandAugment
from wsss.io.images import scaled

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def normalise(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32 with ImageNet mean and deviation taken out."""
    return np.ascontiguousarray(((image.astype(np.float32) / 255.0 - MEAN) / STD).transpose(2, 0, 1))


def resize_image(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Bicubic (PIL) resize of (H, W[, 3]) uint8."""
    if image.shape[:2] == tuple(size_hw):
        return image
    return np.asarray(Image.fromarray(image).resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC))


def shrunk_size(size_hw: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) with no side longer than `long_side`; smaller ones as they are."""
    factor = long_side / max(size_hw)
    return size_hw if factor >= 1 else scaled(size_hw, factor)


def resize_label(label: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Nearest (PIL) resize of (H, W) uint8; at 1/s it picks source pixel s*i + s/2."""
    if label.shape == tuple(size_hw):
        return label
    return np.asarray(Image.fromarray(label).resize((size_hw[1], size_hw[0]), Image.Resampling.NEAREST))


def shifted_hsv(image: np.ndarray, shift: tuple[int, int, int]) -> np.ndarray:
    """(H, W, 3) uint8 RGB with hue (in steps of 2 degrees, a circle), saturation and value (0 to 255, cut) shifted."""
    hsv = np.asarray(Image.fromarray(image).convert("HSV")).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + round(shift[0] * 256 / 180)) % 256
    hsv[..., 1:] = np.clip(hsv[..., 1:] + np.array(shift[1:], np.int16), 0, 255)
    size_wh = image.shape[1], image.shape[0]
    return np.asarray(Image.frombytes("HSV", size_wh, hsv.astype(np.uint8).tobytes()).convert("RGB"))


@dataclass(frozen=True)
class Colours:
    """One draw of the colour changes."""

    shift_hsv: tuple[int, int, int] | None = None  # hue in steps of 2 degrees, saturation, value
    jitter: Jitter | None = None
    randaugment: RandAugment | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the same, shifted, then jittered, then through RandAugment."""
        if self.shift_hsv is not None:
            image = shifted_hsv(image, self.shift_hsv)
        image = image if self.jitter is None else self.jitter(image)
        return image if self.randaugment is None else self.randaugment(image)


@dataclass(frozen=True)
class Geometry:
    """One draw of the geometry: size after resize, flip, and where the crop window lies."""

    size_hw: tuple[int, int]
    flip: bool
    crop: int
    offset_yx: tuple[int, int]  # window's origin in the resized image; negative: the image lies inside the canvas
    padding: str = "mean"  # colour around an image that is smaller than the crop: "mean" | "black"
    window: tuple[int, int, int, int] | None = None  # top, left, height, width of all of the photo that is looked at

    def image(self, image: np.ndarray, colours: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """(H, W, 3) uint8 -> (3, crop, crop) float32 normalised, padded with the mean colour or with black.

        colours: what is done to the resized and flipped image, (h, w, 3) uint8 to the same; `Colours` or any other.
        """
        resized = self._flipped(resize_image(self._seen(image), self.size_hw))
        if colours is not None:
            resized = colours(resized)
        if self.padding == "black":
            return normalise(self._crop(resized.transpose(2, 0, 1), 0).transpose(1, 2, 0))
        return self._crop(normalise(resized), 0.0)

    def label(self, label: np.ndarray, fill: int = 255) -> np.ndarray:
        """(H, W) uint8 -> (crop, crop) uint8, nearest, padding `fill`."""
        return self._crop(self._flipped(resize_label(self._seen(label), self.size_hw))[None], fill)[0]

    def soft_map(self, values: np.ndarray) -> np.ndarray:
        """(H, W) uint8 map (saliency) -> (1, crop, crop) float32 in [0, 1], bicubic, padding 0."""
        resized = self._flipped(resize_image(self._seen(values), self.size_hw))
        return self._crop(resized[None].astype(np.float32) / 255.0, 0.0)

    def valid(self) -> np.ndarray:
        """(1, crop, crop) float32: 1 where the image is, 0 in padding."""
        return self._crop(np.ones((1, *self.size_hw), np.float32), 0.0)

    def _seen(self, array: np.ndarray) -> np.ndarray:
        if self.window is None:
            return array
        top, left, height, width = self.window
        return array[top : top + height, left : left + width]

    def _flipped(self, array: np.ndarray) -> np.ndarray:
        return array[:, ::-1] if self.flip else array

    def _crop(self, array: np.ndarray, fill: float) -> np.ndarray:
        canvas = np.full((array.shape[0], self.crop, self.crop), fill, array.dtype)
        y, x = self.offset_yx
        top, left = max(-y, 0), max(-x, 0)
        part = array[:, max(y, 0) : y + self.crop, max(x, 0) : x + self.crop]
        canvas[:, top : top + part.shape[1], left : left + part.shape[2]] = part
        return canvas
