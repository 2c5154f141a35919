"""How often a wrapper's pseudo-labels are right, where training photos have ground truth. It is looked at when the training is
over and feeds nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from wsss.data.digests import masks_digest
from wsss.data.forked_loader import forked_loader
from wsss.data.held_out import sample
from wsss.data.manifest import Dataset, Record
from wsss.data.torch_sets import TrainingSet
from wsss.engine.task import Task
from wsss.methods.base import Method
from wsss.sections.classifier import Classifier
from wsss.sections.section import typed
from wsss.train.device import autocast
from wsss.train.loop import to_device
from wsss.wrappers.base import Wrapper

MOST, BATCH = 100, 8


def pseudo_label_facts(
    task: Task, dataset: Dataset, records: tuple[Record, ...], learner: Method | Wrapper, device: torch.device
) -> dict[str, Any]:
    """{"photos", "ids", "masks", "uses": "ground truth", "accuracy": percent by kind of cell}; {} where no photo has a mask,
    or nothing makes pseudo-labels. `masks` is the digest of those of `ids`, which says later whether they are the same.

    Args:
        records: those that were trained on; of MOST of them that have masks, crops as in training are looked at.
        learner: trained, in evaluation mode.
    """
    if not isinstance(learner, Wrapper):
        return {}
    known = tuple(sample([r for r in records if r.mask is not None], MOST, task.params["seed"]))
    if not known:
        return {}
    hits: dict[str, int] = {}
    cells: dict[str, int] = {}
    for batch in _loader(task, dataset, known, learner):
        with torch.inference_mode(), autocast(device, task.params["compute"]["precision"]):
            found = learner.right_cells(to_device(batch, device))
        for name, (right, count) in found.items():
            hits[name], cells[name] = hits.get(name, 0) + int(right), cells.get(name, 0) + int(count)
    accuracy = {name: round(100 * hits[name] / count, 1) if count else None for name, count in cells.items()}
    ids = [record.id for record in known]
    return {"photos": len(known), "ids": ids, "masks": masks_digest(known), "uses": "ground truth", "accuracy": accuracy}


def _loader(task: Task, dataset: Dataset, records: tuple[Record, ...], learner: Wrapper) -> DataLoader:
    augmentation = typed(task.settings, Classifier).augmentation
    samples = TrainingSet(dataset, records, augmentation, _truth, None, learner.further_arrays())
    seeds = np.random.default_rng(task.params["seed"]).integers(0, 2**62, len(records))
    keys = [(index, int(seed)) for index, seed in enumerate(seeds)]
    batches = [keys[i : i + BATCH] for i in range(0, len(keys), BATCH)]
    return forked_loader(samples, task.loader_workers(len(records)), batch_sampler=batches)


def _truth(record: Record) -> Path:
    assert record.mask is not None  # the others are left out
    return record.mask
