"""One mask as a LabelMe file: polygons, which LabelMe and our way back paint one over the other."""

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsss.annotations.photos import Photo
from wsss.annotations.regions import paint, painted_regions, polygon_fault
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.io.images import UNREADABLE, size_fault

VERSION = "5.4.1"  # of the format; newer programs read it
SAVE_AGAIN = "save it with LabelMe again"


def as_labelme(photo: Photo, mask: np.ndarray, name_of: dict[int, str], folder: Path, tolerance: float) -> dict[str, Any]:
    """The content of one file in `folder`; `tolerance` as in `painted_regions`."""
    shapes = [
        {"label": name_of[value], "points": points.tolist(), "group_id": None, "description": "", "shape_type": "polygon", "flags": {}}
        for value, points in painted_regions(mask, tolerance)
    ]
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(os.path.relpath(photo.image, folder.absolute())).as_posix(),
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
    }


def read_labelme(path: Path) -> tuple[str, tuple[int, int], list[tuple[str, np.ndarray]]]:
    """What the photo is called, (H, W), and (label, points (N, 2) of x, y or (H, W) bool) in the order in which they are painted.

    Raises:
        UserError: no LabelMe file, or it holds other shapes than polygons, rectangles and masks.
    """
    content = read_json(path, SAVE_AGAIN)
    try:
        size = int(content["imageHeight"]), int(content["imageWidth"])
        shapes = [(str(s["label"]), str(s["shape_type"]), np.array(s["points"], np.float64), s.get("mask")) for s in content["shapes"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a LabelMe file ({type(error).__name__}: {error}); {SAVE_AGAIN}") from error
    if fault := size_fault(size):
        raise UserError(f"{path}: {fault}; open the photo in LabelMe and save it again")
    found = []
    for number, (label, kind, points, picture) in enumerate(shapes, 1):
        if kind not in ("polygon", "rectangle", "mask"):
            raise UserError(f"{path}: shape {number} ({label!r}) is a {kind}; only polygons, rectangles and masks are read: draw it as a polygon")
        if kind == "rectangle" and points.ndim == 2 and points.shape[1] == 2 and len(points) > 1:
            (x0, y0), (x1, y1) = points.min(0), points.max(0)
            points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        corners = np.repeat(points[:1], 3, 0) if kind == "mask" else points  # a mask has its place alone
        if fault := polygon_fault(corners, size):
            raise UserError(f"{path}: shape {number} ({label!r}), a {kind}, {fault}; draw it again")
        if kind == "mask":
            try:
                points = _placed(picture, points[0], size)
            except UNREADABLE as error:
                raise UserError(f"{path}: shape {number} ({label!r}) is a mask without a picture of its place ({error}); draw it again") from error
        found.append((label, points))
    return str(content.get("imagePath") or path.name).replace("\\", "/"), size, found


def _placed(picture: str, left_top: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a shape of LabelMe's brush or its networks: `picture` is a PNG in base64, which lies where the shape's first point is."""
    inside = np.array(Image.open(io.BytesIO(base64.b64decode(picture)), formats=("PNG",))).astype(bool)
    left, top = left_top.astype(int)
    whole = np.zeros(size_hw, bool)
    place = whole[max(top, 0) : top + inside.shape[0], max(left, 0) : left + inside.shape[1]]
    if place.shape != inside.shape:
        raise ValueError(f"{inside.shape[1]}x{inside.shape[0]} at {left}, {top} reaches out of the photo")
    place[:] = inside
    return whole


def drawn(size_hw: tuple[int, int], shapes: list[tuple[str, np.ndarray]], value_of: dict[str, int]) -> np.ndarray:
    """(H, W) uint8: the shapes of known labels, the later over the earlier."""
    canvas = np.zeros(size_hw, np.uint8)
    for label, shape in shapes:
        if shape.dtype == bool:
            canvas[shape] = value_of[label]
        else:
            paint(canvas, [(value_of[label], shape)])
    return canvas
