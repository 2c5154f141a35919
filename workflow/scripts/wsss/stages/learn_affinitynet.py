"""AffinityNet in the stage `affinity`: features learn from the CRF's probabilities which cells belong together."""

from collections.abc import Mapping
from typing import Any

import torch

from wsss.data.affinity_set import AffinitySet
from wsss.data.manifest import Dataset, Record
from wsss.errors import UserError
from wsss.io.probs import SUFFIX
from wsss.refine.affinitynet import AffinityNet, cell_labels
from wsss.stages.images import file_of, input_index
from wsss.stages.task import Task


def network(settings: Mapping[str, Any]) -> AffinityNet:
    """AffinityNet with random weights."""
    return AffinityNet(**settings)


def samples(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> AffinitySet:
    """Images with labels of their cells, made of the two CRF passes.

    Raises:
        UserError: the seeds were made without probabilities.
    """
    path = task.inputs["seeds"]
    if SUFFIX not in input_index(task, "seeds", records)["suffixes"]:
        raise UserError(f"{path}: holds no CRF probabilities; set `seeds: {{probabilities: true}}` in the recipe that makes it")
    return AffinitySet(records, task.settings["augmentation"], lambda r: file_of(path, r.id, SUFFIX), cell_labels)


def finish(task: Task, network: AffinityNet, dataset: Dataset, device: torch.device) -> None:
    """Nothing remains to be done."""
    return None
