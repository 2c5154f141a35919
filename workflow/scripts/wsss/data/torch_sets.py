"""Torch datasets over manifest records: training samples and images for inference."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from wsss.data.draw import draw_colours, draw_geometry
from wsss.data.forked_loader import Samples
from wsss.data.further import FurtherArrays, View, tensors
from wsss.data.manifest import Dataset, Record
from wsss.data.randaugment import erase
from wsss.data.transforms import normalise, resize_image
from wsss.errors import UserError
from wsss.io.images import read_image, scaled
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.sections.training import Augmentation

MapPath = Callable[[Record], Path]  # of the label, or the saliency map, that belongs to an image


class TrainingSet(Samples):
    """Augmented training samples; `self[(index, seed)]` is a pure function of record and seed.

    Gives dict(image (3, S, S) float32, y (C,) float32, id); with `label_path` label (S, S) uint8
    (255 = ignore); with `saliency_path` saliency (1, S, S) float32 in [0, 1], 0 in padding; and what `further` makes of
    the sample's View, by its own names. Geometry is drawn first, then colours, then the erased box, then what `further` draws.
    """

    def __init__(
        self,
        dataset: Dataset,
        records: tuple[Record, ...],
        augmentation: Augmentation,
        label_path: MapPath | None = None,
        saliency_path: MapPath | None = None,
        further: FurtherArrays | None = None,
    ) -> None:
        self.dataset, self.records, self.augmentation = dataset, records, augmentation
        self.label_path, self.saliency_path, self.further = label_path, saliency_path, further
        self._shapes: dict[str, torch.Size] | None = None  # of the first sample's further arrays, which all must have

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        index, seed = key
        record = self.records[index]
        image = read_image(record.image)
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(image.shape[:2], self.augmentation, rng)
        crop = geometry.image(image, draw_colours(self.augmentation, rng))
        if self.augmentation.erasing:
            crop = erase(crop, self.augmentation.erasing, rng)
        sample: dict[str, Any] = {
            "id": record.id,
            "image": torch.from_numpy(crop),
            "y": torch.from_numpy(self.dataset.multi_hot(record)),
        }
        if self.label_path is not None:
            label = _same_size(read_mask(self.label_path(record)), image, self.label_path(record))
            sample["label"] = torch.from_numpy(geometry.label(label))
        if self.saliency_path is not None:
            path = self.saliency_path(record)
            saliency = _same_size(read_saliency(path), image, path)
            sample["saliency"] = torch.from_numpy(geometry.soft_map(saliency))
        if self.further is not None:
            arrays = tensors(self.further(View(image, geometry, crop), rng))
            self._require_alike(record, {name: value.shape for name, value in arrays.items()})
            sample |= arrays
        return sample

    def _require_alike(self, record: Record, shapes: dict[str, torch.Size]) -> None:
        """UserError where a sample has other further arrays than the one before it: no batch can hold both."""
        if self._shapes is None:
            self._shapes = shapes
        if shapes != self._shapes:
            these, those = ({name: tuple(shape) for name, shape in some.items()} for some in (shapes, self._shapes))
            raise UserError(f"further_arrays: gives {these} for {record.image}, and {those} for another image; names and shapes must be those of every sample")


class InferenceSet(TorchDataset):
    """Whole images at several scales.

    `self[i]` gives dict(id, index, size (H, W), scales: one (3, h, w) float32 normalised a scale).
    """

    def __init__(self, dataset: Dataset, records: tuple[Record, ...], scales: Sequence[float]) -> None:
        self.dataset, self.records, self.scales = dataset, records, scales

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        image = read_image(record.image)
        size = image.shape[:2]
        return {
            "id": record.id,
            "index": index,
            "size": tuple(size),
            "y": torch.from_numpy(self.dataset.multi_hot(record)),
            "scales": [torch.from_numpy(normalise(resize_image(image, scaled(size, s)))) for s in self.scales],
        }


def _same_size(values: np.ndarray, image: np.ndarray, path: Path) -> np.ndarray:
    if values.shape != image.shape[:2]:
        raise UserError(
            f"{path}: size {values.shape} differs from its image's {image.shape[:2]} (height, width); make it again"
        )
    return values
