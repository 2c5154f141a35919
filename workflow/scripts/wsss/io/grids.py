"""The grids that CAMs are read on, and a label as packed bits."""

import numpy as np


def ceil16(n: int) -> int:
    """The next multiple of 16, as IRN counts it: ((n - 1) // 16 + 1) * 16."""
    return ((n - 1) // 16 + 1) * 16


def walk_grid(size_hw: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the stride-4 grid of IRN's walk for an image of `size_hw` pixels."""
    return (size_hw[0] - 1) // 4 + 1, (size_hw[1] - 1) // 4 + 1


def nearest_centre(values: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """(H, W) -> `target`, the pixel at each cell's centre, as PIL's nearest picks it."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(target, values.shape, strict=True))
    return values[rows][:, columns]


def pack_foreground(label: np.ndarray) -> np.ndarray:
    """(H, W) uint8 label -> (H, ceil(W / 8)) uint8: where it is not background, as packed bits."""
    return np.packbits(label != 0, axis=1)


def unpack_foreground(bits: np.ndarray, width: int) -> np.ndarray:
    """The way back: (H, width) bool."""
    return np.unpackbits(bits, axis=1, count=width).astype(bool)
