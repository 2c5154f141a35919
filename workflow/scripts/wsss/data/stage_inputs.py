"""The inputs of a stage, checked before hours of work: indexes, CAMs, label and saliency files, training images."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wsss.data.labels import cams_of, refuse_other_labels, refuse_other_photos, same_labels
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.table import listing
from wsss.engine.explain import for_people
from wsss.engine.index import file_of, read_index
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.cams import CamFolder


def input_index(task: Task, name: str, records: Iterable[Record]) -> dict[str, Any]:
    """The index that is input `name`, checked to hold every record and, where imported, to be of the dataset's labels.

    Raises:
        UserError: ids or files are missing, or of other labels or photos; names the command that makes them again.
    """
    records = list(records)
    index = read_index(task.inputs[name], [r.id for r in records])
    if "imported" in index and not same_labels(task.inputs[name], index, load_manifest(task.inputs["manifest"])):
        refuse_other_labels(task.inputs[name])
    refuse_other_photos(task.inputs[name], index, records)
    return index


def cam_folder(task: Task, records: Iterable[Record]) -> CamFolder:
    """The CAMs that are input `cam`, checked by `cams_of`."""
    import torch  # noqa: F401  reading CAMs needs it: once, before processes are forked

    return cams_of(task.inputs["cam"], records, load_manifest(task.inputs["manifest"]))


def label_files(task: Task, name: str, records: tuple[Record, ...]) -> Callable[[Record], Path]:
    """Label paths from the per-image stage whose index is input `name`; checked before any training."""
    input_index(task, name, records)
    return lambda record: file_of(task.inputs[name], record.id, ".png")


def saliency_files(task: Task, dataset: Dataset, records: tuple[Record, ...]) -> Callable[[Record], Path]:
    """Paths of saliency maps: those the stage `saliency` made where it is an input, else the dataset's own.

    Raises:
        UserError: images without a map, all at once and before any training.
    """
    if "saliency" in task.inputs:
        return label_files(task, "saliency", records)
    missing = [for_people(f"{r.id}: {r.saliency or 'none in the manifest'}") for r in records if not _is_file(r.saliency)]
    if missing:
        raise UserError(
            listing(
                f"{dataset.name}: of {len(records)} training images these have no saliency map; add them, or let maps be "
                "made for all: `saliency: {make: robust_background}` in the dataset's file (docs/saliency.md)",
                missing,
            )
        )
    return _own_map


def _own_map(record: Record) -> Path:
    assert record.saliency is not None  # looked at for all records
    return record.saliency


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()


def training_records(dataset: Dataset, *, labelled_only: bool) -> tuple[Record, ...]:
    """The images to train on; those without a label are of use only where labels of pixels teach, background all over.

    Raises:
        UserError: none is left.
    """
    records = tuple(r for r in dataset.split("trainaug") if r.labels or not labelled_only)
    if not records:
        raise UserError(f"{dataset.name}: no training image with a label; mend the dataset's list")
    return records


def prediction_records(dataset: Dataset) -> tuple[Record, ...]:
    """val where it exists and has ground truth, else every image of the dataset."""
    val = dataset.split("val")
    return val if any(r.mask is not None for r in val) else dataset.split("all")
