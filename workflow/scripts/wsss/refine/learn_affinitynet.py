"""AffinityNet in the stage `affinity`: features learn from the CRF's probabilities which cells belong together."""

from collections.abc import Mapping
from typing import Any

from wsss.data.affinity_set import AffinitySet
from wsss.data.manifest import Dataset, Record
from wsss.data.stage_inputs import input_index
from wsss.engine.index import file_of
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.probs import SUFFIX
from wsss.refine.affinity_net import AffinityNet
from wsss.refine.affinitynet import cell_labels
from wsss.sections.affinity import Affinity


def network(settings: Mapping[str, Any]) -> AffinityNet:
    """AffinityNet with random weights."""
    return AffinityNet(**settings)


def samples(task: Task, settings: Affinity, dataset: Dataset, records: tuple[Record, ...]) -> AffinitySet:
    """Images with labels of their cells, made of the two CRF passes.

    Raises:
        UserError: the seeds were made without probabilities.
    """
    path = task.inputs["seeds"]
    if SUFFIX not in input_index(task, "seeds", records)["suffixes"]:
        raise UserError(f"{path}: holds no CRF probabilities; set `seeds: {{probabilities: true}}` in the recipe that makes it")
    return AffinitySet(records, settings.augmentation, lambda r: file_of(path, r.id, SUFFIX), cell_labels)
