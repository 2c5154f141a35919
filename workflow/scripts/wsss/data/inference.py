"""Whole images for inference: batched by equal size, decoded in worker processes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from wsss.data.forked_loader import forked_loader
from wsss.data.manifest import Dataset, Record
from wsss.data.torch_sets import InferenceSet
from wsss.engine.task import Task
from wsss.engine.threads import threaded
from wsss.io.images import image_size


def equal_size_batches(records: tuple[Record, ...], size: int) -> list[list[int]]:
    """Indices grouped by image size, at most `size` a group.

    Composed over all records whatever is already done, and whatever the stage is split into: a batch of
    other company may round otherwise, and the bytes must stay the same.
    """
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image_hw in enumerate(threaded(lambda record: image_size(record.image), records)):
        groups[image_hw].append(index)
    return [group[i : i + size] for _, group in sorted(groups.items()) for i in range(0, len(group), size)]


def shard_batches(task: Task, records: tuple[Record, ...], batch_size: int) -> list[list[int]]:
    """The batches that are this task's to do: all, or those whose first image belongs to its shard."""
    batches = equal_size_batches(records, batch_size)
    return [b for b in batches if task.shard is None or task.shard.holds(records[b[0]].id)]


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
    task: Task,
    dataset: Dataset,
    records: tuple[Record, ...],
    batches: list[list[int]],
    todo: set[str],
    device: torch.device,
    scales: Sequence[float],
) -> DataLoader:
    """Those of `batches` (indices of `records`) that hold at least one id of `todo`."""
    batches = [b for b in batches if any(records[i].id in todo for i in b)]
    return forked_loader(
        InferenceSet(dataset, records, scales),
        task.loader_workers(len(batches)),
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
    )
