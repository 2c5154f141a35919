"""CPN's complementary pair: which part of a training crop the first view shows; the second shows the rest."""

from collections.abc import Mapping

import numpy as np
from skimage.segmentation import slic

from wsss.data.transforms import MEAN, STD

CELL_HIDDEN = 0.5  # probability of a grid cell


def draw_pair(image: np.ndarray, rng: np.random.Generator, options: Mapping) -> tuple[np.ndarray, np.float32]:
    """Draw the visible part of the first view.

    Args:
        image: (3, S, S) float32 normalised crop, padding 0.
        options: pair "superpixels" (with segments, compactness) | "grid" (with grid_sizes).

    Returns:
        (1, S, S) float32, 1 where visible, and the visible share, which weighs the first view's loss.
    """
    if options["pair"] == "superpixels":
        visible = superpixels(denormalised(image), options["segments"], options["compactness"], rng)
        return visible[None].astype(np.float32), np.float32(visible.mean())
    side = options["grid_sizes"][rng.integers(len(options["grid_sizes"]))]
    visible, share = grid(image.shape[-2:], side, rng)
    return visible[None].astype(np.float32), share


def denormalised(image: np.ndarray) -> np.ndarray:
    """(3, S, S) float32 normalised -> (S, S, 3) uint8 RGB; padding becomes the mean colour."""
    return np.rint((image.transpose(1, 2, 0) * STD + MEAN) * 255).clip(0, 255).astype(np.uint8)


def superpixels(image: np.ndarray, segments: int, compactness: float, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 -> (S, S) bool: what is left visible when random superpixels are hidden.

    Of n superpixels (numbered from 1) floor((n + 1) / 2) numbers are drawn out of 0..n with replacement, as
    published: 1 - exp(-1/2), 39 %, are hidden.
    """
    labels = slic(image, n_segments=segments, compactness=compactness, start_label=1)
    last = int(labels.max())
    shown = np.ones(last + 1, bool)
    shown[rng.integers(0, last + 1, size=(last + 1) // 2)] = False
    return shown[labels]


def grid(size: tuple[int, int], side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.float32]:
    """(S, S) bool of square cells, each hidden half of the time, and the share of visible CELLS, as published.

    A side that does not divide the crop leaves narrower cells at its end.
    """
    rows, columns = (-(-length // side) for length in size)
    shown = rng.random((rows, columns)) >= CELL_HIDDEN
    mask = shown.repeat(side, axis=0)[: size[0]].repeat(side, axis=1)[:, : size[1]]
    return mask, np.float32(shown.mean())
