"""Masks as one JSON in COCO's format, with compressed run lengths, as pycocotools, Detectron2, FiftyOne and CVAT read it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from wsss import __version__
from wsss.annotations.photos import MaskFolder


def as_coco(masks: MaskFolder) -> dict[str, Any]:
    """The file's content: an annotation for each class of each photo, `category_id` being its value in the mask.

    Regions of a class are one annotation, since a mask does not tell two dogs apart. Background and unsure pixels have none.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for photo, mask in masks.masks():
        images.append({"id": len(images) + 1, "file_name": photo.name, "height": mask.shape[0], "width": mask.shape[1]})
        for annotation in _of_image(mask, len(masks.names)):
            annotations.append({"id": len(annotations) + 1, "image_id": len(images), **annotation})
    return {
        "info": {"description": f"masks of {masks.index.parent}", "version": __version__},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(masks.names) if k],
    }


def _of_image(mask: np.ndarray, num_values: int) -> Iterator[dict[str, Any]]:
    for value in np.unique(mask).tolist():
        if 0 < value < num_values:
            code = coco_mask.encode(np.asfortranarray(mask == value, dtype=np.uint8))
            yield {
                "category_id": value,
                "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode("ascii")},
                "area": int(coco_mask.area(code)),
                "bbox": coco_mask.toBbox(code).tolist(),
                "iscrowd": 0,
            }
