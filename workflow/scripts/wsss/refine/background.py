"""Background scores beside class activation maps, and hard labels from both."""

from collections.abc import Sequence

import numpy as np

KINDS = ("const", "power", "map")


def background(cam: np.ndarray, kind: str, value: float, bg_map: np.ndarray | None = None) -> np.ndarray:
    """The background score of every pixel.

    Args:
        cam: (K, H, W) float32 in [0, 1]; K = 0 for an image without classes.
        kind: ``const``: the threshold `value` everywhere; ``power``: (1 - max over classes)^value
            (PSA, SEAM); ``map``: `value` times the method's own background map (SIPE).
        bg_map: (H, W) float32, for ``map`` only.

    Returns:
        (H, W) float32; ones where there are no classes.

    Raises:
        ValueError: unknown kind, or ``map`` without a map.
    """
    shape = cam.shape[1:]
    if kind not in KINDS:
        raise ValueError(f"background kind {kind!r}: must be one of {', '.join(KINDS)}")
    if len(cam) == 0:
        return np.ones(shape, np.float32)
    if kind == "const":
        return np.full(shape, value, np.float32)
    if kind == "power":
        return np.clip(1.0 - cam.max(axis=0), 0.0, 1.0).astype(np.float32) ** np.float32(value)
    if bg_map is None:
        raise ValueError("background kind 'map': this method has no background map; use const or power")
    return (np.float32(value) * bg_map).astype(np.float32)


def argmax_index(cam: np.ndarray, bg: np.ndarray) -> np.ndarray:
    """(K, H, W) maps, (H, W) background -> (H, W) int64: 0 background (ties too), k + 1 for row k."""
    return np.concatenate([bg[None], cam]).argmax(axis=0)


def to_class_ids(index: np.ndarray, keys: Sequence[int]) -> np.ndarray:
    """Row numbers as of `argmax_index` -> (H, W) uint8 mask values, for rows of foreground classes `keys`."""
    table = np.array([0, *(key + 1 for key in keys)], np.uint8)
    return table[index]


def argmax_labels(cam: np.ndarray, bg: np.ndarray, keys: Sequence[int]) -> np.ndarray:
    """Hard labels of an image.

    Args:
        cam: (K, H, W) float32.
        bg: (H, W) background scores.
        keys: 0-based foreground classes of the K rows.

    Returns:
        (H, W) uint8: 0 background, key + 1 elsewhere; ties go to background.
    """
    return to_class_ids(argmax_index(cam, bg), keys)
