"""SegmentationClassAug from SBD: the masks that full supervision on trainaug needs, and nothing else does."""

from pathlib import Path

from wsss.data import sbd, voc
from wsss.data.voc_lists import VOC_CLASSES
from wsss.engine.atomic import write_json
from wsss.engine.task import Task
from wsss.stages.dataset import unpacked


def run(task: Task) -> None:
    """Write one palette PNG per image of trainaug, and the declared JSON naming their folder."""
    target = Path(task.outputs["done"])
    folders = {**task.params["folders"], **unpacked(task)}
    root, source = voc.locate(folders["path"]), Path(folders["sbd"])
    trainaug = Path(folders["trainaug"]) if folders.get("trainaug") else None
    counts = task.params.get("expected_counts")
    labels = Path(folders["labels"]) if folders.get("labels") else None
    rows = voc.read_voc_tree(root, VOC_CLASSES, trainaug, sbd=source, labels=labels, expected_counts=counts)
    ids = [row.id for row in rows if "trainaug" in row.splits]
    sbd.write_masks(ids, source, root, target.parent / "SegmentationClassAug")
    write_json(target, {"archive": "SegmentationClassAug", "folder": "SegmentationClassAug"})
    task.write_record(images=len(ids))
