"""CAM files: `{id}.npy`, float16 (K, h, w) in [0, 1] on a stride-4 grid, rows in ascending class order.

One stored map serves seeds, CRF, walk and sweep through `cam_at` (image size) and `cam_on_grid`
(the walk's grid). `geometry` says how the grid lies on the image:

- ``pad16``: the grid covers the image padded to multiples of 16 at the bottom and right;
- ``stretch``: the grid is stretched over the image.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from wsss.errors import UserError
from wsss.io.atomic import atomic_path
from wsss.io.remake import mend

GEOMETRIES = ("pad16", "stretch")
NORMS = ("max", "none")
EPSILON = 1e-5
AGAIN = "run the cam stage again"
log = logging.getLogger(__name__)


def ceil16(n: int) -> int:
    """The next multiple of 16, as IRN counts it: ((n - 1) // 16 + 1) * 16."""
    return ((n - 1) // 16 + 1) * 16


def walk_grid(size_hw: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the stride-4 grid of IRN's walk for an image of `size_hw` pixels."""
    return (size_hw[0] - 1) // 4 + 1, (size_hw[1] - 1) // 4 + 1


def grid_size(size_hw: tuple[int, int], geometry: str) -> tuple[int, int]:
    """(gh, gw) of the stored CAM for an image of `size_hw` pixels."""
    if geometry == "pad16":
        return ceil16(size_hw[0]) // 4, ceil16(size_hw[1]) // 4
    return walk_grid(size_hw)


def write_cam(path: str | Path, cam: np.ndarray) -> None:
    """Write a CAM atomically as float16.

    Args:
        cam: (K, h, w) float in [0, 1]; K = 0 for an image without labels.
    """
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        np.save(handle, np.ascontiguousarray(cam, np.float16), allow_pickle=False)


def read_cam(path: str | Path) -> np.ndarray:
    """Read a CAM as (K, h, w) float32.

    Raises:
        UserError: missing, damaged, a pickle, or not a 3-d float array.
    """
    try:
        cam = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing CAM; {mend(path, AGAIN)}") from error
    except (ValueError, EOFError, OSError, MemoryError) as error:  # MemoryError: the shape in a damaged header
        raise UserError(f"{path}: not a CAM of this workflow ({error}); {mend(path, AGAIN)}") from error
    if not isinstance(cam, np.ndarray) or cam.ndim != 3 or cam.dtype != np.float16:
        raise UserError(f"{path}: a CAM is a float16 array (K, h, w); {mend(path, AGAIN)}")
    return cam.astype(np.float32)


@dataclass(frozen=True)
class CamFolder:
    """The CAMs beside an index, read as the index says they are stored.

    `scale` is what maps were multiplied with before they were stored, 1 for all of this workflow; a folder of
    another origin may say 0.5 (CPN's released code halves them), and is read at full height.
    """

    folder: Path
    geometry: str
    norm: str
    scale: float = 1.0

    @classmethod
    def of(cls, path: str | Path, index: dict[str, Any]) -> "CamFolder":
        """Of the index read from `path`.

        Raises:
            UserError: the index names no geometry, norm or scale that is known here.
        """
        for key, known in (("geometry", GEOMETRIES), ("norm", NORMS)):
            if index.get(key) not in known:
                raise UserError(
                    f"{path}: CAMs of {key} {index.get(key)!r} cannot be read, only {' or '.join(known)}; "
                    "make them with the cam stage, or put in the index how they are stored"
                )
        scale = index.get("scale", 1.0)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 1:
            raise UserError(f"{path}: CAMs of scale {scale!r} cannot be read; it must be above 0 and at most 1")
        if scale != 1:
            log.warning("%s: its CAMs are stored at %g of their height; they are divided by it", path, scale)
        return cls(Path(path).parent, index["geometry"], index["norm"], float(scale))

    def at(self, item_id: str, size_hw: tuple[int, int]) -> np.ndarray:
        """`cam_at` of an image."""
        return cam_at(self._stored(item_id), size_hw, self.geometry, self.norm)

    def on_grid(self, item_id: str, size_hw: tuple[int, int]) -> np.ndarray:
        """`cam_on_grid` of an image."""
        return cam_on_grid(self._stored(item_id), size_hw, self.geometry, self.norm)

    def _stored(self, item_id: str) -> np.ndarray:
        cam = read_cam(self.folder / f"{item_id}.npy")
        return cam if self.scale == 1 else np.minimum(cam / self.scale, 1.0)


def cam_at(cam: np.ndarray, size_hw: tuple[int, int], geometry: str, norm: str = "max") -> np.ndarray:
    """The CAM at image size.

    Args:
        cam: (K, gh, gw) float32 as stored.
        size_hw: (H, W) of the image.
        norm: ``max`` divides each class by its maximum after resizing (as published for CAM, EPS);
            ``none`` leaves the values (AMN, whose scale is meaningful).

    Returns:
        (K, H, W) float32 in [0, 1].
    """
    height, width = size_hw
    target = (cam.shape[1] * 4, cam.shape[2] * 4) if geometry == "pad16" else size_hw
    return _normalise(_resize(cam, target)[:, :height, :width], norm)


def cam_on_grid(cam: np.ndarray, size_hw: tuple[int, int], geometry: str, norm: str = "max") -> np.ndarray:
    """The CAM on the walk's stride-4 grid, (K, h, w) float32 in [0, 1].

    A `pad16` map is stretched whole, as IRN resizes the network's map to the walk's grid.
    """
    grid = walk_grid(size_hw)
    resized = cam if cam.shape[1:] == grid else _resize(cam, grid)
    return _normalise(resized, norm)


def _resize(cam: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    if len(cam) == 0:
        return np.zeros((0, *target), np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(cam, np.float32))[None]
    return F.interpolate(tensor, size=target, mode="bilinear", align_corners=False)[0].numpy()


def _normalise(cam: np.ndarray, norm: str) -> np.ndarray:
    if norm == "max" and len(cam):
        return cam / (cam.max(axis=(1, 2), keepdims=True) + EPSILON)
    return np.ascontiguousarray(cam)
