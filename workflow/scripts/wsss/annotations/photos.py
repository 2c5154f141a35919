"""Which photo a mask belongs to: what annotation files name, and what they are matched by."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss.data.copies import Original, originals
from wsss.data.manifest import Dataset, load_manifest
from wsss.data.photos import find_photos
from wsss.data.transforms import resize_label
from wsss.engine.atomic import read_json
from wsss.engine.index import file_of, read_index
from wsss.engine.record import refuse_other_classes
from wsss.errors import UserError
from wsss.io.images import image_size
from wsss.io.masks import read_mask

STAGES = "pseudo_masks, predictions, ir_labels, seeds or predict/NAME"
NO_MASKS = ("saliency", "panels")  # stages whose .png files are something else
UNSURE, UNSURE_NAME = 255, "unsure"


@dataclass(frozen=True)
class Photo:
    """`name`: path below the photos' common folder, with `/`, as annotation files give it. `image` is the user's own file.

    `size`: (H, W) of a photo that stages work on in a smaller copy; masks are enlarged to it. None: masks have the photo's size.
    `seen`: that copy.
    """

    id: str
    name: str
    image: Path
    size: tuple[int, int] | None = None
    seen: Path | None = None

    def own_size(self, mask: np.ndarray) -> np.ndarray:
        """A stage's mask at the photo's size, (H, W) uint8."""
        return mask if self.size is None else resize_label(mask, self.size)


@dataclass(frozen=True)
class MaskFolder:
    """A finished folder of masks. `names`: name of each value, names[0] is "background".

    `predicted`: of predict/NAME, the folder in which every picture is a photo.
    """

    index: Path
    names: tuple[str, ...]
    photos: tuple[Photo, ...]
    predicted: Path | None = None

    def changed_photos(self) -> list[str]:
        """Ids of photos whose files were changed, or given their name or mode, after the masks were made: they may show something else now."""
        made = _times(self.index)
        return [photo.id for photo in self.photos if photo.image.is_file() and any(own > its for own, its in zip(_times(photo.image), made, strict=True))]

    def masks(self) -> Iterator[tuple[Photo, np.ndarray]]:
        """Each photo with its (H, W) uint8 mask, of the photo's own size; 255 = unsure.

        Raises:
            UserError: a mask that cannot be read, or a value without a name.
        """
        for photo in self.photos:
            path = file_of(self.index, photo.id, ".png")
            mask = read_mask(path)
            if wrong := [v for v in np.unique(mask).tolist() if len(self.names) <= v < UNSURE]:
                raise UserError(f"{path}: values {wrong[:5]} are no classes of {dataset_folder(self.index)}/dataset.json; run the stage again")
            own = photo.own_size(mask)
            _refuse_other_size(path, mask, photo.seen or photo.image)
            _refuse_other_size(path, own, photo.image)
            yield photo, own


def _times(path: Path) -> tuple[float, float]:
    """When a file was written, and when it got its name or its mode: a photo that takes another's name keeps the first."""
    status = path.stat()
    return status.st_mtime, status.st_ctime


def _refuse_other_size(path: Path, mask: np.ndarray, image: Path) -> None:
    """UserError where the image is there, and of another size than the mask: it was replaced, or `long_side` is another since."""
    if image.is_file() and (size := image_size(image)) != mask.shape:
        words = f"its mask is of {mask.shape[1]}x{mask.shape[0]}, and the photo {image} of {size[1]}x{size[0]}"
        raise UserError(f"{path}: {words}: the photo or the dataset's `long_side` is another since; run snakemake for this stage again")


def open_masks(folder: str | Path) -> MaskFolder:
    """The masks of results/DATASET/METHOD/STAGE.

    Raises:
        UserError: no finished folder of masks, or its photos are not where they were.
    """
    index = _index_of(folder)
    if not index.is_file():
        raise UserError(f"{folder}: no finished folder of masks; give results/DATASET/METHOD/STAGE, with {STAGES} as STAGE")
    facts, record = read_index(index, []), index.parent / "run.json"
    stage = read_json(record).get("stage") if record.is_file() else None
    if ".png" not in facts["suffixes"] or stage in NO_MASKS:
        raise UserError(f"{folder}: holds no masks; give results/DATASET/METHOD/STAGE, with {STAGES} as STAGE")
    root = dataset_folder(index)
    classes = read_json(root / "dataset.json")["classes"]
    if record.is_file():
        refuse_other_classes(record, read_json(record), classes, root / "dataset.json")
    names = ("background", *classes)
    predicted = _predicted_folder(index.parent) if index.parent.parent.name == "predict" else None
    photos = _photos_in(predicted) if predicted else photos_of(load_manifest(root / "manifest.csv"), root)
    ids = set(facts["ids"])
    read_index(index, facts["ids"])  # every file is there
    found = tuple(photo for photo in photos if photo.id in ids)
    if lost := sorted(ids - {photo.id for photo in found}):
        raise UserError(f"{folder}: {len(lost)} masks have no photo any more ({', '.join(lost[:5])}); run the stage again")
    return MaskFolder(index, names, found, predicted)


def _index_of(folder: str | Path) -> Path:
    """As it is written: `results` may be a link to another disk, and photos lie where the link does. Else where links lead."""
    written = Path(os.path.abspath(folder), "index.json")
    return written if _dataset_above(written) else written.resolve()


def _dataset_above(index: Path) -> Path | None:
    return next((folder for folder in index.parents[:5] if (folder / "dataset.json").is_file()), None)


def dataset_folder(index: Path) -> Path:
    """results/DATASET, in which the masks of `index` lie.

    Raises:
        UserError: there is none.
    """
    if found := _dataset_above(index):
        return found
    raise UserError(f"{index}: no dataset.json in the folders above, so the classes have no names. If the stage dataset failed, mend what logs/DATASET/dataset.log says and run snakemake again. If these are copied results, copy results/DATASET/dataset.json too")


def photos_of(dataset: Dataset, folder: Path) -> list[Photo]:
    """All photos of the dataset in `folder` (results/DATASET), named from the folder that they have in common."""
    copied = originals(folder, dataset)
    own = [copied.get(record.id, Original(record.image, None)) for record in dataset.records]
    top = os.path.commonpath([photo.image.parent for photo in own]) if own else ""
    return [Photo(r.id, Path(os.path.relpath(photo.image, top)).as_posix(), photo.image, photo.size, r.image if photo.size else None) for r, photo in zip(dataset.records, own, strict=True)]


def _predicted_folder(folder: Path) -> Path:
    top = Path(read_json(folder / "run.json")["params"]["photos"]["folder"])
    if not top.is_dir():
        raise UserError(f"{top}: the photos of {folder} are not there; give the command in the project's folder, or run the stage again")
    return top


def _photos_in(top: Path) -> list[Photo]:
    return [Photo(i, name, (top / name).absolute()) for i, name in find_photos(top).items()]


def find_photo(photos: Iterable[Photo]) -> dict[str, Photo]:
    """What an annotation file may call a photo -> the photo: id, name, and, where only one has it, the name's last part with and without suffix."""
    photos = list(photos)
    found: dict[str, Photo | None] = {}
    for photo in photos:
        for key in (Path(photo.name).name, Path(photo.name).stem):
            found[key] = None if key in found else photo
    exact = {photo.id: photo for photo in photos} | {photo.name: photo for photo in photos}
    return {key: photo for key, photo in found.items() if photo} | exact
