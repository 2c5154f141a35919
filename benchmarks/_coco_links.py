"""A COCO made of links: photos, labels and masks of a few images under as many ids as the real one has."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from wsss.data.coco_instances import read_instances
from wsss.data.coco_labels import COCO_CLASSES
from wsss.data.coco_paint import Region, paint
from wsss.data.manifest import Row
from wsss.digest import fingerprint
from wsss.engine.index import write_index
from wsss.io.cams import write_cam
from wsss.io.grids import ceil16
from wsss.io.masks import write_mask

SCALES = [1.0, 0.5, 1.5, 2.0]
SPLITS = {"train": ("train", "trainaug"), "val": ("val",)}


class World:
    """Ids, labels and files of a COCO of the wanted size; `results` is its folder of results."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, self.results = folder, options, folder / "results/coco14"
        self.sizes = {"train": options.train, "val": options.val, "both": options.train + options.val}
        (folder / "templates").mkdir()
        self.templates = list(make_templates(folder / "templates"))
        self.linked = False

    def ids(self, split: str) -> list[str]:
        return [f"COCO_{split}2014_{number:012d}" for number in range(self.sizes[split])]

    def rows(self) -> list[Row]:
        """As a builder makes them; image n is the template n modulo their number."""
        return [
            Row(i, SPLITS[split], self.photo(split, i), self.of(n)[1], self.folder / f"masks/{i}.png")
            for split in SPLITS
            for n, i in enumerate(self.ids(split))
        ]

    def labels_digest(self) -> str:
        """As `wsss.data.labels.label_facts` makes it of a manifest."""
        numbers = {name: k for k, name in enumerate(COCO_CLASSES)}
        return fingerprint(sorted((row.id, sorted(numbers[n] for n in row.labels)) for row in self.rows() if "trainaug" in row.splits))

    def photo(self, split: str, item_id: str) -> Path:
        return self.folder / f"{split}2014/{item_id}.jpg"

    def of(self, number: int) -> tuple[Path, tuple[str, ...]]:
        """(path without its end, class names) of the template behind an image."""
        return self.templates[number % len(self.templates)]

    def link(self) -> None:
        """Put photos, masks, CAMs and IR labels under the ids they stand for, and index the latter two."""
        if self.linked:
            return
        made = {"results/coco14/cam/cam": ".npz", "results/coco14/cam/ir_labels": ".png"}
        places = {"train": {"train2014": ".jpg", "masks": ".png", **made}, "val": {"val2014": ".jpg", "masks": ".png"}}
        for split, ends in places.items():
            for name, end in ends.items():
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                for number, item_id in enumerate(self.ids(split)):
                    os.link(self.of(number)[0].with_suffix(end), self.folder / name / (item_id + end))
        digests = {item_id: ["0" * 64] for item_id in self.ids("train")}
        facts = {"form": "sum", "geometry": "pad16", "norm": "max", "scales": SCALES, "fingerprint": "0" * 64}
        facts |= {"classes": list(COCO_CLASSES), "labels": self.labels_digest()}
        write_index(self.results / "cam/cam", digests, [".npz"], **facts)
        write_index(self.results / "cam/ir_labels", digests, [".png"], fingerprint="0" * 64)
        self.linked = True


def make_templates(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Write photo, mask and CAM of each template; yields (path without its end, class names)."""
    for number, (image, mask, names) in enumerate(coco_mini() or noise()):
        path = folder / f"{number:04d}"
        if isinstance(image, Path):
            path.with_suffix(".jpg").write_bytes(image.read_bytes())
        else:
            Image.fromarray(image).save(path.with_suffix(".jpg"))
        write_mask(path.with_suffix(".png"), mask)
        classes = sorted(COCO_CLASSES.index(name) for name in names)
        write_cam(path.with_suffix(".npz"), classes, [maps_of(mask, classes, scale) for scale in SCALES])
        yield path, names


def coco_mini() -> list[tuple[Path, np.ndarray, tuple[str, ...]]]:
    """(photo, mask, class names) of the real images, none where there is no data."""
    if "WSSS_TEST_DATA" not in os.environ:
        print("WSSS_TEST_DATA is not set: noise in place of coco_mini's photos")
        return []
    source = Path(os.environ["WSSS_TEST_DATA"]) / "coco_mini"
    found = read_instances(source / "annotations/instances_train2017.json")
    images = []
    for number, entry in found.images.items():
        regions = [
            Region(a.id, found.class_of[a.category_id], a.area, bool(a.iscrowd), bytes(a.segmentation))
            for a in found.of(number)
        ]
        mask = paint(regions, (entry.height, entry.width))
        images.append((source / "train2017" / entry.file_name, mask, found.labels(number)))
    return [image for image in images if image[2]]


def noise(count: int = 20) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[str, ...]]]:
    """Boxes of three classes on noise of 480x640 pixels."""
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = np.zeros((480, 640), np.uint8)
        classes = sorted(rng.choice(80, 3, replace=False))
        for k in classes:
            y, x = rng.integers(0, 300), rng.integers(0, 400)
            mask[y : y + 150, x : x + 200] = k + 1
        yield rng.integers(0, 255, (480, 640, 3), np.uint8), mask, tuple(COCO_CLASSES[k] for k in classes)


def maps_of(mask: np.ndarray, classes: list[int], scale: float) -> np.ndarray:
    """(K, h, w): each class's pixels, blurred, on the grid of a network of stride 16 at that scale."""
    height, width = (ceil16(round(side * scale)) // 16 for side in mask.shape)
    blurred = [cv2.GaussianBlur((mask == k + 1).astype(np.float32), (0, 0), 16) for k in classes]
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in blurred])
