"""Stage `ir_labels`: merge confident and unsure seeds into the labels IRN and AMN learn from; 255 = unsure."""

from collections.abc import Iterator

from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import input_index
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.task import Task
from wsss.io.masks import CONFIDENT, UNSURE, read_mask, write_mask
from wsss.refine.ir_labels import merge
from wsss.score.self_report import about_masks


def run(task: Task) -> None:
    """Write `{id}.png` for every image of trainaug."""
    dataset = load_manifest(task.inputs["manifest"])
    all_records = dataset.split("trainaug")
    records = shard_records(task, all_records)
    ids = [r.id for r in records]
    seeds = task.inputs["seeds"]
    input_index(task, "seeds", records)

    def work(todo: set[str]) -> Iterator[str]:
        for item_id in (i for i in ids if i in todo):
            label = merge(*(read_mask(file_of(seeds, item_id, suffix)) for suffix in (CONFIDENT, UNSURE)))
            write_mask(task.folder / f"{item_id}.png", label)
            yield item_id

    run_images(task, ids, [".png"], work, diagnose=about_masks(task, records, dataset.classes), every=[r.id for r in all_records])
