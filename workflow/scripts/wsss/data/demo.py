"""The embedded demo dataset: generated scenes in VOC layout, read by the very code that reads VOC."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from PIL import Image

from wsss.data.demo_scene import Scene, make_scene
from wsss.data.demo_shapes import CLASSES
from wsss.data.manifest import Dataset, write_manifest
from wsss.data.validate import validate
from wsss.engine.atomic import explain_os_errors
from wsss.errors import UserError
from wsss.io.masks import VOC_PALETTE

GENERATOR_VERSION = "1"
FOLDERS = ("JPEGImages", "SegmentationClass", "SALImages", "Annotations", "ImageSets/Segmentation")
_SPLIT_CODE = {"train": 0, "val": 1}

__all__ = ["CLASSES", "GENERATOR_VERSION", "build", "generate", "saliency_map", "scenes"]


def build(params: dict[str, Any], out_dir: str | Path) -> Dataset:
    """Generate the tree `out_dir/VOC2012` and write `out_dir/manifest.csv` and `dataset.json`.

    Args:
        params: `seed`, `train` and `val` (numbers of images), `size` (mean side in px), `version` (of the
            generator), and optionally `name` (default: the name of `out_dir`).

    Raises:
        UserError: another generator version is asked for, or the folder cannot be written.
    """
    from wsss.data.voc import read_voc_tree

    root = Path(out_dir) / "VOC2012"
    name = params.get("name") or Path(out_dir).resolve().name
    generate(root, params)
    rows = read_voc_tree(root, CLASSES, trainaug_list=root / "ImageSets/Segmentation/train_aug.txt")
    validate(rows, CLASSES, root=root, name=name)
    info = {key: params[key] for key in ("seed", "train", "val", "size", "version")}
    return write_manifest(
        out_dir, name=name, root=root, classes=CLASSES, rows=rows, builder={"kind": "demo", **info}
    )


def generate(root: str | Path, params: dict[str, Any]) -> None:
    """Write the VOC tree at `root` (replaced as a whole once complete); see `build` for `params`.

    Raises:
        UserError: another generator version is asked for, or the folder cannot be written.
    """
    if str(params["version"]) != GENERATOR_VERSION:
        raise UserError(
            f"demo: this generator is version {GENERATOR_VERSION}, the config asks for {params['version']}; "
            f"set `version` in the dataset's config"
        )
    root = Path(root)
    temp = root.parent / f".{root.name}.{os.getpid()}.tmp"
    with explain_os_errors(root):
        try:
            _write_tree(temp, params)
            shutil.rmtree(root, ignore_errors=True)
            os.replace(temp, root)
        finally:
            shutil.rmtree(temp, ignore_errors=True)


def scenes(params: dict[str, Any], split: str) -> Iterator[tuple[str, Scene, np.ndarray]]:
    """Yield (id, scene, saliency map (H, W) uint8) of `train` or `val`; an image has its own generator."""
    for number in range(params[split]):
        rng = np.random.default_rng([params["seed"], _SPLIT_CODE[split], number])
        scene = make_scene(rng, params["size"])
        yield f"{split}_{number:04d}", scene, saliency_map(rng, scene.owner)


def saliency_map(rng: np.random.Generator, owner: np.ndarray) -> np.ndarray:
    """What a mediocre saliency detector would give for objects `owner` (H, W): (H, W) uint8, 255 = salient.

    Objects are missed at times or found in part, boundaries grow, shrink and blur, and false blobs appear.
    """
    h, w = owner.shape
    total = np.zeros((h, w), np.float32)
    for number in range(1, int(owner.max()) + 1):
        total = np.maximum(total, _detected(rng, (owner == number).astype(np.uint8)))
    for _ in range(int(rng.choice((0, 1, 2), p=(0.6, 0.3, 0.1)))):
        total = np.maximum(total, _false_blob(rng, (h, w)))
    blurred = cv2.GaussianBlur(total, (0, 0), float(rng.uniform(1.2, 2.5)))
    return np.clip(np.rint(255 * blurred), 0, 255).astype(np.uint8)


def _detected(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """One object as found: grown or shrunk, a bite taken out, and now and then too faint."""
    h, w = inside.shape
    radius = max(1, round(0.05 * float(inside.sum()) ** 0.5 * rng.uniform(0.2, 1.5)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    found = (cv2.erode if rng.random() < 0.5 else cv2.dilate)(inside, kernel).astype(np.float32)
    ys, xs = np.nonzero(inside)
    bite = np.zeros_like(inside)
    if len(ys) and rng.random() < 0.35:
        k = int(rng.integers(len(ys)))
        axes = (int(0.22 * np.ptp(xs)) + 1, int(0.22 * np.ptp(ys)) + 1)
        cv2.ellipse(bite, (int(xs[k]), int(ys[k])), axes, 0, 0, 360, 1, -1)
    strength = rng.uniform(0.1, 0.4) if rng.random() < 0.1 else rng.uniform(0.75, 1.0)
    return np.float32(strength) * found * (1 - bite)


def _false_blob(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    h, w = size_hw
    blob = np.zeros(size_hw, np.uint8)
    centre = (int(rng.integers(w)), int(rng.integers(h)))
    axes = (int(w * rng.uniform(0.05, 0.12)), int(h * rng.uniform(0.05, 0.12)))
    cv2.ellipse(blob, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return blob.astype(np.float32) * np.float32(rng.uniform(0.6, 1.0))


def _write_tree(root: Path, params: dict[str, Any]) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        ids = []
        for image_id, scene, saliency in scenes(params, split):
            ids.append(image_id)
            Image.fromarray(scene.image).save(root / f"JPEGImages/{image_id}.jpg", quality=95)
            _palette(scene.label_map).save(root / f"SegmentationClass/{image_id}.png")
            Image.fromarray(saliency).save(root / f"SALImages/{image_id}.png")
            (root / f"Annotations/{image_id}.xml").write_bytes(_annotation(image_id, scene))
        lists = {"train": ("train", "train_aug"), "val": ("val",)}[split]
        for name in lists:
            (root / f"ImageSets/Segmentation/{name}.txt").write_text("".join(f"{i}\n" for i in ids), "utf-8")


def _palette(label_map: np.ndarray) -> Image.Image:
    image = Image.fromarray(label_map)
    image.putpalette(VOC_PALETTE.tobytes())
    return image


def _annotation(image_id: str, scene: Scene) -> bytes:
    """VOC's XML of an image: size, and name and box (1-based, inclusive) of every object."""
    top = ElementTree.Element("annotation")
    ElementTree.SubElement(top, "filename").text = f"{image_id}.jpg"
    size = ElementTree.SubElement(top, "size")
    h, w, depth = scene.image.shape
    for key, value in (("width", w), ("height", h), ("depth", depth)):
        ElementTree.SubElement(size, key).text = str(value)
    for number, label in enumerate(scene.labels, 1):
        _annotate_object(top, CLASSES[label], *np.nonzero(scene.owner == number))
    ElementTree.indent(top)
    return ElementTree.tostring(top)


def _annotate_object(top: ElementTree.Element, name: str, ys: np.ndarray, xs: np.ndarray) -> None:
    entry = ElementTree.SubElement(top, "object")
    ElementTree.SubElement(entry, "name").text = name
    box = ElementTree.SubElement(entry, "bndbox")
    corners = {"xmin": xs.min() + 1, "ymin": ys.min() + 1, "xmax": xs.max() + 1, "ymax": ys.max() + 1}
    for key, value in corners.items():
        ElementTree.SubElement(box, key).text = str(int(value))
