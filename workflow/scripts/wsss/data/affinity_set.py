"""Training samples of AffinityNet: images, and labels of cells made of the CRF's probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from wsss.data.draw import draw_colours, draw_geometry
from wsss.data.forked_loader import Samples
from wsss.data.manifest import Record
from wsss.data.torch_sets import MapPath
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.probs import read_probs
from wsss.sections.training import Augmentation


class AffinitySet(Samples):
    """`self[(index, seed)]` is a pure function of record and seed.

    Gives dict(id, image (3, S, S) float32, label (s, s) uint8, 255 = ignore), `cell_labels` having made the label of
    the probabilities (2, K+1, S, S) under the image's own resize, flip and crop, 0 in padding.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        augmentation: Augmentation,
        probs_path: MapPath,
        cell_labels: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.records, self.augmentation = records, augmentation
        self.probs_path, self.cell_labels = probs_path, cell_labels

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        index, seed = key
        record = self.records[index]
        image = read_image(record.image)
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(image.shape[:2], self.augmentation, rng)
        colours = draw_colours(self.augmentation, rng)
        probs = self._probs(record, image.shape[:2])
        cropped = np.stack([geometry.soft_map(row)[0] for rows in probs for row in rows])
        label = self.cell_labels(cropped.reshape(*probs.shape[:2], *cropped.shape[1:]))
        return {
            "id": record.id,
            "image": torch.from_numpy(geometry.image(image, colours)),
            "label": torch.from_numpy(label),
        }

    def _probs(self, record: Record, size_hw: tuple[int, int]) -> np.ndarray:
        path = self.probs_path(record)
        probs, wanted = read_probs(path), (len(record.labels) + 1, *size_hw)
        if probs.shape[1:] != wanted:
            raise UserError(
                f"{path}: shape {probs.shape[1:]} differs from {wanted}, background and classes, height and width of "
                f"the image; {remedy(path)}"
            )
        return probs
