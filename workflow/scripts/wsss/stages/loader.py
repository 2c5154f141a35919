"""Whole images for inference: batched by equal size, decoded in worker processes."""

from collections import defaultdict
from typing import Any

import torch
from torch.utils.data import DataLoader

from wsss.data.manifest import Dataset, Record
from wsss.data.torch_sets import InferenceSet
from wsss.io.images import image_size
from wsss.stages.task import Task
from wsss.train.workers import quiet_worker


def equal_size_batches(records: tuple[Record, ...], size: int) -> list[list[int]]:
    """Indices grouped by image size, at most `size` a group.

    Composed over all records whatever is already done: a batch of other company may round otherwise,
    and a resumed run must give the same bytes.
    """
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[image_size(record.image)].append(index)
    return [group[i : i + size] for _, group in sorted(groups.items()) for i in range(0, len(group), size)]


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack images of equal size, scale by scale."""
    scales = zip(*(s["scales"] for s in samples), strict=True)
    return {
        "id": [s["id"] for s in samples],
        "index": [s["index"] for s in samples],
        "size": samples[0]["size"],
        "y": torch.stack([s["y"] for s in samples]),
        "scales": [torch.stack(images) for images in scales],
    }


def inference_loader(
    task: Task, dataset: Dataset, records: tuple[Record, ...], todo: set[str], device: torch.device
) -> DataLoader:
    """Batches of equal-size images that hold at least one id of `todo`."""
    batches = equal_size_batches(records, task.settings["batch_size"])
    batches = [b for b in batches if any(records[i].id in todo for i in b)]
    workers = min(task.runtime["workers"], task.threads, len(batches))
    return DataLoader(
        InferenceSet(dataset, records, task.settings["scales"]),
        batch_sampler=batches,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        collate_fn=collate,
        worker_init_fn=quiet_worker,
        pin_memory=device.type == "cuda",
    )
