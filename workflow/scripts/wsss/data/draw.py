"""What is drawn for a training sample: geometry first, then colours, so that two views of a sample can share the one and not
the other."""

import numpy as np

from wsss.data.jitter import draw_jitter
from wsss.data.randaugment import draw_randaugment
from wsss.data.transforms import Colours, Geometry
from wsss.sections.section import plain
from wsss.sections.training import Augmentation, Resize

WINDOW_RATIO, WINDOW_TRIES = (3 / 4, 4 / 3), 10  # width over height of a random-resized crop, and draws until one fits


def draw_geometry(size_hw: tuple[int, int], settings: Augmentation, rng: np.random.Generator) -> Geometry:
    """Draw size, flip and window for a photo of `size_hw`."""
    if settings.resize.area:
        return _draw_window(size_hw, settings, settings.resize.area, rng)
    target = _draw_size(size_hw, settings.resize, rng)
    flip = bool(rng.random() < settings.flip)
    top, left = (_draw_offset(side, settings.crop, rng) for side in target)
    return Geometry(target, flip, settings.crop, (top, left), settings.padding)


def _draw_window(size_hw: tuple[int, int], settings: Augmentation, shares: tuple[float, float], rng: np.random.Generator) -> Geometry:
    """A random-resized crop: a window of a share of the photo's area, 3:4 to 4:3 in shape, stretched over the crop."""
    flip, crop = bool(rng.random() < settings.flip), settings.crop
    for _ in range(WINDOW_TRIES):
        area = rng.uniform(*shares) * size_hw[0] * size_hw[1]
        ratio = np.exp(rng.uniform(*np.log(WINDOW_RATIO)))
        height, width = round(float(np.sqrt(area / ratio))), round(float(np.sqrt(area * ratio)))
        if 0 < height <= size_hw[0] and 0 < width <= size_hw[1]:
            top, left = (int(rng.integers(side - part + 1)) for side, part in zip(size_hw, (height, width), strict=True))
            break
    else:  # of very long photos the middle, of the shape nearest to theirs that is allowed
        low, high = WINDOW_RATIO
        height = min(size_hw[0], max(1, round(size_hw[1] / low)))
        width = min(size_hw[1], max(1, round(size_hw[0] * high)))
        top, left = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    return Geometry((crop, crop), flip, crop, (0, 0), window=(top, left, height, width))


def draw_colours(settings: Augmentation, rng: np.random.Generator) -> Colours:
    """Draw colour changes, where wanted: `hsv`, `jitter`, `randaugment`.

    Those of a sample are drawn after its geometry, which so does not depend on them.
    """
    shift = None
    if settings.hsv:
        hue, saturation, value = (int(s) for s in rng.integers(-settings.hsv, settings.hsv + 1, 3))
        shift = hue, saturation, value
    reach = plain(settings.jitter) if settings.jitter else {}  # a name that is left out is not drawn, not even as 0
    jitter = draw_jitter(reach, rng) if reach else None
    chosen = settings.randaugment
    return Colours(shift, jitter, draw_randaugment(chosen.count, chosen.magnitude, chosen.std, rng) if chosen else None)


def _draw_size(size_hw: tuple[int, int], resize: Resize, rng: np.random.Generator) -> tuple[int, int]:
    if resize.long_side:
        low, high = resize.long_side
        factor = int(rng.integers(low, high + 1)) / max(size_hw)
    elif resize.scale:
        factor = rng.uniform(*resize.scale)
    else:
        return size_hw
    return max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))


def _draw_offset(side: int, crop: int, rng: np.random.Generator) -> int:
    """Window origin: uniform inside a larger image; minus a uniform margin for a smaller one."""
    spare = side - crop
    return int(rng.integers(0, spare + 1)) if spare >= 0 else -int(rng.integers(0, -spare + 1))
