"""COCO's instances JSON, read once and checked as a whole; polygons stay unparsed until they are painted.

instances_train2017.json has 448 MB and 860,001 annotations. As Python objects its polygons take several
gigabytes; here each annotation keeps its segmentation as a slice of the file's own bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wsss.data.coco_labels import COCO_CLASSES
from wsss.data.table import listing
from wsss.errors import UserError
from wsss.io.images import size_fault


class Image(msgspec.Struct, gc=False):
    """One entry of `images`."""

    id: int
    file_name: str
    height: int
    width: int


class Annotation(msgspec.Struct, gc=False):
    """One entry of `annotations`; `segmentation` is JSON text."""

    id: int
    image_id: int
    category_id: int
    area: float
    segmentation: msgspec.Raw
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[Image]
    annotations: list[Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class Instances:
    """A checked instances file.

    Attributes:
        images: image number -> entry, in ascending order.
        annotations: image number -> its annotations, in ascending order of their ids.
        class_of: category id -> class, 1..80 in the order of ascending category ids; 0 is background.
    """

    path: Path
    images: dict[int, Image]
    annotations: dict[int, list[Annotation]]
    class_of: dict[int, int]

    def of(self, number: int) -> list[Annotation]:
        """Annotations of an image, maybe none."""
        return self.annotations.get(number, [])

    def labels(self, number: int, crowds: bool = True) -> tuple[str, ...]:
        """Class names of an image's annotations, in class order."""
        found = {self.class_of[a.category_id] for a in self.of(number) if crowds or not a.iscrowd}
        return tuple(COCO_CLASSES[c - 1] for c in sorted(found))


def read_instances(path: str | Path) -> Instances:
    """Read and check `instances_*.json`.

    Raises:
        UserError: missing, cut off, or another kind of file; else every doubled image or annotation, every
            annotation of an unknown image or category, and every file name that is a path.
    """
    path = Path(path)
    content = _decode(path)
    class_of = _classes(path, content.categories)
    problems = [*_image_problems(content.images), *_annotation_problems(content, class_of)]
    if problems:
        raise UserError(listing(f"{path}: bad entries; take the official file, or mend these", problems))
    images = {image.id: image for image in sorted(content.images, key=lambda image: image.id)}
    grouped: dict[int, list[Annotation]] = {}
    for annotation in sorted(content.annotations, key=lambda annotation: annotation.id):
        grouped.setdefault(annotation.image_id, []).append(annotation)
    return Instances(path, images, grouped, class_of)


def _decode(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); the dataset's `path` must hold it, or be null to download"
        ) from error
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path}: not an instances file ({error}); captions and keypoints are other files: "
            "unpack annotations_trainval again"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not whole JSON ({error}), perhaps cut off; unpack annotations_trainval again"
        ) from error


def _classes(path: Path, categories: Sequence[_Category]) -> dict[int, int]:
    ordered = sorted(categories, key=lambda category: category.id)
    if tuple(category.name for category in ordered) != COCO_CLASSES:
        found = ", ".join(category.name for category in ordered[:5])
        raise UserError(
            f"{path}: its {len(ordered)} categories ({found} ...) are not COCO's 80; "
            "for other classes make masks and a CSV of labels, and use `kind: folder`"
        )
    return {category.id: k for k, category in enumerate(ordered, 1)}


def _image_problems(images: Sequence[Image]) -> list[str]:
    problems = [f"image {number} is listed {n} times" for number, n in _repeated(i.id for i in images)]
    problems += [f"file {name} is listed {n} times" for name, n in _repeated(i.file_name for i in images)]
    for image in images:
        if fault := size_fault((image.height, image.width)):
            problems.append(f"image {image.id}: {fault}")
        if Path(image.file_name).name != image.file_name or "\\" in image.file_name:
            problems.append(f"image {image.id}: file_name {image.file_name!r} is not a plain file name")
        if not 0 <= image.id < 10**12:
            problems.append(f"image {image.id}: ids have 12 digits at most")
    return problems


def _annotation_problems(content: _File, class_of: dict[int, int]) -> list[str]:
    known = {image.id for image in content.images}
    problems = [
        f"annotation {i} is listed {n} times" for i, n in _repeated(a.id for a in content.annotations)
    ]
    for a in content.annotations:
        if a.image_id not in known:
            problems.append(f"annotation {a.id}: unknown image {a.image_id}")
        if a.category_id not in class_of:
            problems.append(f"annotation {a.id} (image {a.image_id}): unknown category {a.category_id}")
    return problems


def _repeated(values: Iterable) -> list[tuple]:
    values = list(values)
    if len(set(values)) == len(values):
        return []
    return [(value, n) for value, n in Counter(values).items() if n > 1]
