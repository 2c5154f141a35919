"""Stage `segmentation`: train the recipe's DeepLab on pseudo-masks, or on ground truth for `full`."""

from pathlib import Path

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import label_files, training_records
from wsss.data.torch_sets import MapPath, TrainingSet
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.nets import segmenters
from wsss.nets.segmenter import SegmentationNet
from wsss.sections.section import typed
from wsss.sections.segmentation import BY_NET
from wsss.train.loop import Learner
from wsss.train.start import load_initial, start_devices
from wsss.train.training import train


def run(task: Task) -> None:
    """Train on every image of trainaug."""
    settings = typed(task.settings, BY_NET[task.params["network"]["net"]])
    device = start_devices(task, settings.batch_size)
    dataset = load_manifest(task.inputs["manifest"])
    records = training_records(dataset, labelled_only=False)
    label_path = _label_path(task, dataset, records)
    network = build_network(task, dataset.num_classes)
    load_initial(task, network, settings.backbone)
    samples = TrainingSet(dataset, records, settings.augmentation, label_path)
    train(task, settings, Learner(network, network.param_groups(), network.loss), samples, device, facts={"classes": list(dataset.classes)})


def build_network(task: Task, num_classes: int) -> SegmentationNet:
    """The recipe's segmentation network with random weights."""
    chosen = task.params["network"]
    family: type[SegmentationNet] = segmenters.get(chosen["net"])
    return family(num_classes, chosen["backbone"], chosen["options"])


def _label_path(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> MapPath:
    if "pseudo_masks" in task.inputs:
        return label_files(task, "pseudo_masks", records)
    missing = [r.id for r in records if ground_truth(r) is None]
    if missing:
        raise UserError(
            f"{dataset.name}: full supervision needs a mask for every training image; {len(missing)} have none "
            f"({', '.join(missing[:5])}). For VOC, make SegmentationClassAug (see docs/datasets.md)"
        )
    return _ground_truth


def _ground_truth(record: Record) -> Path:
    path = ground_truth(record)
    assert path is not None  # looked at for all records
    return path


def ground_truth(record: Record) -> Path | None:
    """The mask `full` trains on: SegmentationClassAug where there is one, else the scoring mask."""
    return record.mask_train or record.mask
