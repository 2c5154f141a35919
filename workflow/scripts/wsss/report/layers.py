"""What a page lays over a photo: label maps and CAMs of one image, as arrays on disk and as pictures with a clear background."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from wsss.engine.atomic import atomic_path
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.archives import NotAnArchive, read_arrays
from wsss.io.masks import VOC_PALETTE
from wsss.report.panels import COLUMNS, UNSURE, edges

SUFFIX, PHOTO = ".npz", "photo"
LONGEST = 480  # pixels of a side: sharp on a page, and small enough for hundreds of pictures in one folder
SHADES = 64  # of a CAM
EDGE = 254  # a palette entry that no class has


def write_layers(path: Path, image: np.ndarray, columns: dict) -> None:
    """Write an image and what there is of `wsss.report.panels.COLUMNS`, no side longer than LONGEST.

    image: (H, W, 3) uint8; columns: labels (H, W) uint8, 255 = unsure; "cam" (K, H, W) or (H, W) float in [0, 1], of
    which the maximum over classes is kept.
    """
    height, width = image.shape[:2]
    share = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    arrays = {PHOTO: np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))}
    for name in (name for name in COLUMNS if columns.get(name) is not None):
        value, how = columns[name], Image.Resampling.NEAREST
        if name == "cam":
            score = value if value.ndim == 2 else value.max(axis=0, initial=0.0)
            value, how = np.rint(255 * score.clip(0, 1)).astype(np.uint8), Image.Resampling.BILINEAR
        arrays[name] = np.array(Image.fromarray(np.asarray(value, np.uint8)).resize(size, how))
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


def read_layers(path: Path) -> dict[str, np.ndarray]:
    """What `write_layers` wrote. UserError where the file is missing or damaged."""
    try:
        found = read_arrays(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {remedy(path)}") from error
    except NotAnArchive as error:
        raise UserError(f"{path}: damaged ({error}); {remedy(path)}") from error
    shape = found[PHOTO].shape[:2] if PHOTO in found else None
    if not all(array.dtype == np.uint8 and array.shape[:2] == shape for array in found.values()):
        raise UserError(f"{path}: holds no layers of one size; {remedy(path)}")
    return found


def photo_jpeg(photo: np.ndarray) -> bytes:
    """(h, w, 3) uint8 as JPEG."""
    data = io.BytesIO()
    Image.fromarray(photo).save(data, "JPEG", quality=88)
    return data.getvalue()


def layer_png(name: str, layer: np.ndarray) -> bytes:
    """One layer, (h, w) uint8, as a palette PNG to lay over the photo: what says nothing is clear."""
    return _heat_png(layer) if name == "cam" else _label_png(layer)


def _label_png(label):
    """Classes in VOC's colours, outlined in white; background clear; unsure hatched."""
    shown = label.copy()
    shown[edges(label)] = EDGE
    stripe = (np.add.outer(*map(np.arange, label.shape)) // 4) % 2 == 0
    shown[(label == 255) & stripe] = 0
    palette = VOC_PALETTE.copy()
    palette[EDGE], palette[255] = 255, UNSURE
    alpha = np.full(256, 255, np.uint8)
    alpha[0] = 0
    return _palette_png(shown, palette, alpha)


def _heat_png(cam):
    """Scores in the colours of turbo, clearer the lower they are."""
    level = np.arange(SHADES) / (SHADES - 1)
    palette, alpha = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    palette[:SHADES] = np.rint(255 * matplotlib.colormaps["turbo"](level)[:, :3])
    alpha[:SHADES] = np.rint(255 * (0.2 + 0.8 * level))
    return _palette_png(np.rint(cam / 255 * (SHADES - 1)).astype(np.uint8), palette, alpha)


def _palette_png(indices, palette, alpha):
    picture, data = Image.fromarray(indices), io.BytesIO()
    picture.putpalette(palette.tobytes())
    picture.save(data, "PNG", optimize=True, transparency=alpha.tobytes())
    return data.getvalue()
