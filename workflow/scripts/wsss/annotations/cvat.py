"""Masks as one XML "CVAT for images 1.1", and back: `<mask>` elements with run lengths, exact, each region for CVAT's brush."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from wsss.annotations.photos import MaskFolder
from wsss.annotations.regions import polygon_fault
from wsss.data.voc_lists import XML_FAULTS
from wsss.errors import UserError
from wsss.io.images import size_fault
from wsss.io.masks import VOC_PALETTE


def as_cvat(masks: MaskFolder, name_of: dict[int, str]) -> bytes:
    """The file's content: a `<mask>` for each connected region of each class; background has none."""
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    for value, name in name_of.items():
        if value:
            label = ET.SubElement(labels, "label")
            ET.SubElement(label, "name").text = name
            ET.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*VOC_PALETTE[value].tolist())
            ET.SubElement(label, "type").text = "any"
            ET.SubElement(label, "attributes")
    for number, (photo, mask) in enumerate(masks.masks()):
        height, width = mask.shape
        image = ET.SubElement(root, "image", id=str(number), name=photo.name, width=str(width), height=str(height))
        for value, box, inside in _pieces(mask):
            left, top, w, h = box
            ET.SubElement(
                image, "mask", label=name_of[value], source="auto", occluded="0", z_order="0", rle=", ".join(map(str, run_lengths(inside))),
                left=str(left), top=str(top), width=str(w), height=str(h),
            )
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _pieces(mask: np.ndarray) -> Iterator[tuple[int, tuple[int, int, int, int], np.ndarray]]:
    """Value, (left, top, width, height) and (height, width) bool of each connected region that is no background."""
    for value in np.unique(mask[mask > 0]).tolist():
        count, numbers, stats, _ = cv2.connectedComponentsWithStats((mask == value).astype(np.uint8), connectivity=8)
        for k in range(1, count):
            left, top, w, h, _ = stats[k].tolist()
            yield value, (left, top, w, h), numbers[top : top + h, left : left + w] == k


def run_lengths(inside: np.ndarray) -> list[int]:
    """Lengths of runs, row by row, of False and True by turns, False first (0 where the first pixel is True)."""
    flat = np.concatenate([[False], inside.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()


def from_run_lengths(runs: list[int], size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, the way back.

    Raises:
        ValueError: a run is negative, or the runs are not of that many pixels.
    """
    if min(runs) < 0:
        raise ValueError(f"a run of {min(runs)} pixels in its rle; runs are 0 or more")
    if sum(runs) != size_hw[0] * size_hw[1]:  # before anything of that size is made
        raise ValueError(f"{sum(runs)} pixels in its rle, {size_hw[1]}x{size_hw[0]} in its box")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size_hw)


def read_cvat(path: Path, value_of: dict[str, int]) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Name, (H, W) uint8 mask, and whether anything is drawn, of each image; shapes of higher `z_order`, then later ones, lie on top.

    Raises:
        UserError: no such XML, a label that is no class, or a shape without a mask (points, lines, ellipses).
    """
    try:
        root = ET.parse(path).getroot()
    except (*XML_FAULTS, OSError) as error:
        raise UserError(f"{path}: not readable as XML ({error}); export 'CVAT for images 1.1' and unpack annotations.xml") from error
    images = root.findall("image")
    if root.tag != "annotations" or not images:
        raise UserError(f"{path}: holds no <image>; export as 'CVAT for images 1.1' ('for video' has another form)")
    for image in images:
        name = image.get("name", "")
        try:
            size_hw = int(image.attrib["height"]), int(image.attrib["width"])
            if fault := size_fault(size_hw):
                raise ValueError(fault)
            canvas = np.zeros(size_hw, np.uint8)
            shapes = [shape for shape in image.findall("*") if shape.tag != "tag"]
            for shape in sorted(shapes, key=lambda s: int(s.get("z_order", 0))):
                _draw(canvas, shape, value_of)
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: image {name!r}: {error}; mend it in CVAT and export again") from error
        yield name, canvas, bool(shapes)


def _draw(canvas: np.ndarray, shape: ET.Element, value_of: dict[str, int]) -> None:
    label = shape.get("label", "")
    if label not in value_of:
        raise ValueError(f"label {label!r} is no class ({', '.join(value_of)})")
    if shape.tag == "mask":
        left, top, w, h = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        if min(left, top) < 0 or min(w, h) < 1 or top + h > canvas.shape[0] or left + w > canvas.shape[1]:
            raise ValueError(f"a mask of {label!r} reaches out of the image")
        inside = from_run_lengths([int(n) for n in shape.attrib["rle"].split(",")], (h, w))
        canvas[top : top + h, left : left + w][inside] = value_of[label]
    elif shape.tag == "polygon":
        pairs = [[float(v) for v in point.split(",")] for point in shape.attrib["points"].split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"a polygon of {label!r} has a point without x or y")
        points = np.array(pairs)
        if fault := polygon_fault(points, (canvas.shape[0], canvas.shape[1])):
            raise ValueError(f"a polygon of {label!r} {fault}")
        # As CVAT's own exports do: it counts from a pixel's corner, not from its centre.
        canvas[coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([points.ravel().tolist()], *canvas.shape))).astype(bool)] = value_of[label]
    else:
        raise ValueError(f"a {shape.tag} of {label!r} has no mask; draw it as a mask or polygon")
