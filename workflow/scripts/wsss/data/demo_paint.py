"""Colours of the demo: background textures, body materials and class marks, all (H, W, 3) float64 in 0..255.

Arithmetic is float64 and free of BLAS and of SIMD-dependent float32: rounded pixels are the same anywhere.
"""

import numpy as np

# mean colour and noise cell (height, width in px) of each background texture
BACKGROUNDS = {
    "grass": ((92, 128, 62), (3, 2)),
    "sand": ((196, 172, 122), (5, 7)),
    "water": ((72, 112, 150), (3, 18)),
    "soil": ((112, 84, 60), (5, 5)),
    "sky": ((158, 186, 210), (18, 34)),
    "foliage": ((56, 84, 50), (9, 9)),
}
# bodies of all classes draw from the same colours: the colour of a body gives no class away
BODY_COLOURS = (
    (196, 190, 182),
    (128, 122, 118),
    (150, 118, 104),
    (104, 112, 128),
    (214, 200, 168),
    (78, 74, 78),
)
MATERIALS = ("planks", "panels", "plaster")
DARK = (46, 42, 44)


def noise(rng: np.random.Generator, size_hw: tuple[int, int], cell_hw: tuple[float, float]) -> np.ndarray:
    """Bilinear value noise, (H, W), about zero mean; `cell_hw` is the distance of its grid points in px."""
    (h, w), (cell_h, cell_w) = size_hw, cell_hw
    grid = rng.uniform(-1, 1, (int(h / cell_h) + 3, int(w / cell_w) + 3))
    y, x = np.arange(h) / cell_h + rng.random(), np.arange(w) / cell_w + rng.random()
    row, column = y.astype(int), x.astype(int)
    fy, fx = (y - row)[:, None], (x - column)[None]
    lines = grid[row] * (1 - fy) + grid[row + 1] * fy
    return lines[:, column] * (1 - fx) + lines[:, column + 1] * fx


def background(rng: np.random.Generator, size_hw: tuple[int, int], kind: str) -> np.ndarray:
    """One background texture over the whole frame."""
    mean, (cell_h, cell_w) = BACKGROUNDS[kind]
    fine = noise(rng, size_hw, (cell_h, cell_w))
    coarse = noise(rng, size_hw, (cell_h * 4, cell_w * 4))
    tint = rng.uniform(-14, 14, 3)
    shade = 22 * fine + 20 * coarse + 6 * rng.uniform(-1, 1, size_hw)
    return np.asarray(mean, float) + tint + shade[..., None]


def gravel(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """The bed under rails."""
    shade = 30 * noise(rng, size_hw, (2, 2)) + 10 * noise(rng, size_hw, (12, 12))
    return np.asarray((136.0, 124.0, 116.0)) + shade[..., None]


def body(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, colour: tuple[int, ...], material: str
) -> np.ndarray:
    """A body surface; `u`, `v` are (H, W) object coordinates in px."""
    shade = 8 * noise(rng, u.shape, (10, 10)) + 5 * rng.uniform(-1, 1, u.shape) + 0.25 * np.clip(-v, -60, 60)
    if material in ("planks", "panels"):
        shade = shade - 22 * (v % 7 < 1.4)
    if material == "panels":
        shade = shade - 22 * (u % 10 < 1.4)
    return np.asarray(colour, float) + rng.uniform(-12, 12, 3) + shade[..., None]


def mark(rng: np.random.Generator, u: np.ndarray, v: np.ndarray, unit: float, pattern: str) -> np.ndarray:
    """The part that gives the class away. `u`, `v`: (H, W) px from its centre; `unit`: object's half, px."""
    radius, step = np.sqrt(u * u + v * v), max(3.0, 0.11 * unit)
    first, second, chosen = {
        "stripes": ((206, 44, 48), (240, 236, 230), v % (2 * step) < step),
        "eye": ((238, 186, 34), (28, 24, 30), radius > max(2.5, 0.1 * unit)),
        "checker": ((42, 76, 190), (232, 232, 238), (u % (2 * step) < step) ^ (v % (2 * step) < step)),
        "hazard": ((244, 206, 30), (30, 28, 30), (u + v) % (2 * step) < step),
        "rings": ((136, 46, 150), (244, 236, 244), radius % (2 * step) < step),
        "spokes": ((32, 150, 92), (20, 40, 34), _spokes(u, v, step)),
    }[pattern]
    tint = rng.uniform(-16, 16, 3) + 6 * rng.uniform(-1, 1, u.shape)[..., None]
    return np.where(chosen[..., None], np.asarray(first, float), np.asarray(second, float)) + tint


def _spokes(u: np.ndarray, v: np.ndarray, step: float) -> np.ndarray:
    width = step / 3
    on_spoke = (np.abs(u) < width) | (np.abs(v) < width) | (np.abs(u - v) < width) | (np.abs(u + v) < width)
    return ~on_spoke


def plain(rng: np.random.Generator, size_hw: tuple[int, int], colour: tuple[int, ...]) -> np.ndarray:
    """A nearly even dark surface: masts, legs, posts, wheels."""
    return np.asarray(colour, float) + rng.uniform(-10, 10, 3) + 6 * rng.uniform(-1, 1, (*size_hw, 1))


def soften(image: np.ndarray, weight: float) -> np.ndarray:
    """Blur (H, W, 3) by the kernel (w, 1 - 2w, w) along both axes: the softness of a lens."""
    for axis in (0, 1):
        pad = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
        n = image.shape[axis]
        image = (1 - 2 * weight) * image + weight * (
            pad.take(range(n), axis) + pad.take(range(2, n + 2), axis)
        )
    return image
