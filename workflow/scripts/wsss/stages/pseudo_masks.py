"""Stage `pseudo_masks`: one mask per training image, by a random walk (IRN, AffinityNet), the CRF, or a threshold alone."""

from collections.abc import Callable, Iterator

from wsss.data.manifest import Record, load_manifest
from wsss.data.stage_inputs import input_index
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.task import Task
from wsss.found import cut_key, found_cut, settle_all
from wsss.io.images import image_size
from wsss.io.masks import CONFIDENT, read_mask, write_mask
from wsss.refine.background import argmax_labels, background
from wsss.refine.walks import Work
from wsss.score.cams_to_cut import cams_to_cut
from wsss.score.self_report import about_masks
from wsss.sections.pseudo_masks import CutMasks
from wsss.sections.section import typed


def run(task: Task) -> None:
    """Write `{id}.png` for every image of trainaug, as the recipe's `refine` says."""
    dataset = load_manifest(task.inputs["manifest"])
    all_records = dataset.split("trainaug")
    records = shard_records(task, all_records)
    refine = task.params["refine"]
    work, facts = way_of(refine)(task, records)
    cut = {"key": cut_key("pseudo_masks", refine), **facts["bg"]} if "bg" in facts else None
    diagnose = about_masks(task, records, dataset.classes, cut=cut)
    ids, every = [r.id for r in records], [r.id for r in all_records]
    run_images(task, ids, [".png"], work, diagnose=diagnose, every=every, refine=refine, **facts)


def way_of(refine: str) -> Callable[[Task, tuple[Record, ...]], Work]:
    """The function that makes masks for `refine`. Only a walk imports PyTorch, which is slow to load."""
    if refine == "crf":
        return by_crf
    if refine == "none":
        return by_threshold
    from wsss.refine.walked_masks import by_walk

    return by_walk


def by_crf(task: Task, records: tuple[Record, ...]) -> Work:
    """The confident seed as it is; its index says of it what the seeds' says."""
    seeds = input_index(task, "seeds", records)

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in records if r.id in todo):
            write_mask(task.folder / f"{record.id}.png", read_mask(file_of(task.inputs["seeds"], record.id, CONFIDENT)))
            yield record.id

    kept = {"bg": "confident", "crf_unary": "unary", "scales": "scales"}  # imported seeds have none of them
    return work, {name: seeds[key] for name, key in kept.items() if key in seeds}


def by_threshold(task: Task, records: tuple[Record, ...]) -> Work:
    """Argmax of the CAM beside the background score."""
    settings = typed(task.settings, CutMasks)
    cams = cams_to_cut(task, records, settings.bg)
    rules, facts = settle_all({"bg": settings.bg}, found_cut(task.inputs))

    def work(todo: set[str]) -> Iterator[str]:
        for record in (r for r in records if r.id in todo):
            cam, bg_map = cams.both_at(record, image_size(record.image))
            mask = argmax_labels(cam, background(cam, *rules["bg"], bg_map), record.labels)
            write_mask(task.folder / f"{record.id}.png", mask)
            yield record.id

    return work, {"scales": cams.form.scales, **facts}
