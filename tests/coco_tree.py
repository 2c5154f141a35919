"""Small COCO folders for tests: what the official ones hold, with a few gray images of 20x30."""

import json

import numpy as np
from PIL import Image
from wsss.data.coco_labels import COCO_CLASSES
from wsss.engine.atomic import write_json
from wsss.io.masks import write_mask

SPARSE = [
    n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
]  # official category ids
HEIGHT, WIDTH = 20, 30


def box(x, y, width, height):
    """A rectangle as COCO writes polygons."""
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def runs(x, y, width, height):
    """The same as an uncompressed run-length mask: column by column, beginning with zeros."""
    cells = [int(x <= c < x + width and y <= r < y + height) for c in range(WIDTH) for r in range(HEIGHT)]
    counts, current = [0], 0
    for cell in cells:
        if cell != current:
            counts.append(0)
            current = cell
        counts[-1] += 1
    return {"counts": counts, "size": [HEIGHT, WIDTH]}


def annotation(number, image, category, segmentation, area, crowd=0):
    keys = ("id", "image_id", "category_id", "segmentation", "area", "iscrowd", "bbox")
    return dict(zip(keys, (number, image, category, segmentation, area, crowd, [0, 0, 1, 1]), strict=True))


def instances(images, annotations, name="{:012d}.jpg"):
    """The content of an instances file over images of these numbers."""
    entries = [{"id": n, "file_name": name.format(n), "height": HEIGHT, "width": WIDTH} for n in images]
    categories = [
        {"id": k, "name": c, "supercategory": "x"} for k, c in zip(SPARSE, COCO_CLASSES, strict=True)
    ]
    return {"info": {}, "images": entries, "annotations": annotations, "categories": categories[::-1]}


def coco_folder(root, year=2017):
    """Train: 9 (stop sign, and a crowd of persons), 25 (toothbrush), 30 (nothing); val: 42 (person), 73 (nothing)."""
    names = {
        split: f"COCO_{split}2014_{{:012d}}.jpg" if year == 2014 else "{:012d}.jpg"
        for split in ("train", "val")
    }
    train = [
        annotation(1, 9, 13, box(2, 2, 6, 6), 36.0),
        annotation(2, 9, 1, runs(0, 0, 20, 10), 200.0, crowd=1),
        annotation(3, 25, 90, box(5, 5, 10, 10), 100.0),
    ]
    parts = {
        "train": ([9, 25, 30], train),
        "val": ([42, 73], [annotation(4, 42, 1, box(0, 0, 30, 20), 600.0)]),
    }
    for split, (numbers, annotations) in parts.items():
        save(root, split, year, instances(numbers, annotations, names[split]))
        (root / f"{split}{year}").mkdir(parents=True)
        for number in numbers:
            image = Image.new("L" if number == 25 else "RGB", (WIDTH, HEIGHT), 99)
            image.save(root / f"{split}{year}" / names[split].format(number))
    return root


def annotation_path(root, split, year=2017):
    return root / "annotations" / f"instances_{split}{year}.json"


def load(root, split="train", year=2017):
    return json.loads(annotation_path(root, split, year).read_text())


def save(root, split, year, content):
    write_json(annotation_path(root, split, year), content)


def empty_masks(folder, ids):
    """What the stage coco_masks leaves behind, all background."""
    for image_id in ids:
        write_mask(folder / f"{image_id}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    facts = {"crowd": "class", "rule": "painter", "digest": "d" * 64, "suffixes": [".png"]}
    write_json(folder / "index.json", {**facts, "ids": sorted(ids)})
    return folder
