"""Stage `seeds`: two CRF-refined label maps a CAM — the confident one (the refined seed) and the unsure one.

With `probabilities: true` also what the CRF says before the argmax, from which AffinityNet makes its labels. With `fill_from`
classes that these CAMs leave out come from another recipe's seeds.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wsss.data.labels import cams_of
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import input_index
from wsss.engine.index import file_of
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.task import Task
from wsss.engine.workers import in_processes
from wsss.errors import UserError
from wsss.found import NOT_FILLED, cut_key, found_cut, is_found, refuse_reversed, settle_all
from wsss.io.cams import CamFolder
from wsss.io.images import read_image
from wsss.io.masks import CONFIDENT, UNSURE, read_mask, write_mask
from wsss.io.probs import SUFFIX, write_probs
from wsss.refine.background import to_class_ids
from wsss.refine.crf import CrfParams, on_device, prepare, to_labels
from wsss.refine.fill import class_areas, filled, left_out
from wsss.refine.seeds import seed_marginals
from wsss.score.cams_to_cut import SAMPLE, cams_to_cut, labelled_sample
from wsss.score.self_report import about_masks
from wsss.sections.background import Rule
from wsss.sections.section import plain, typed
from wsss.sections.seeds import Seeds

log = logging.getLogger(__name__)


class Fill(NamedTuple):
    """The classes, from 0, whose pixels come from the seeds of another recipe; `source` is their index."""

    classes: tuple[int, ...]
    source: str


def run(task: Task) -> None:
    """Write `{id}.png` (confident), `{id}.unsure.png` and where asked for `{id}.npz` for every image of trainaug."""
    dataset = load_manifest(task.inputs["manifest"])
    all_records = dataset.split("trainaug")
    records = shard_records(task, all_records)
    settings = typed(task.settings, Seeds)
    cams = cams_to_cut(task, records, settings.confident, settings.unsure)
    rules, facts = settle_all({"confident": settings.confident, "unsure": settings.unsure}, found_cut(task.inputs))
    if is_found(settings.confident) != is_found(settings.unsure):  # two found ones, or two numbers, were compared when the recipe was read
        refuse_reversed(rules["confident"], rules["unsure"], "seeds")

    fill = filling(task, dataset, records, settings) if settings.fill_from else None
    params = CrfParams(**plain(settings.crf_params))
    if params.backend == "torch":
        params = on_device(params, pick_torch_device(task))
    prepare(params)
    processes = 1 if params.backend == "torch" else task.threads  # its threads, or a GPU, serve one photo at a time

    make = partial(make_seed, cams=cams, settings=settings, rules=rules, params=params, folder=task.folder, fill=fill)

    def work(todo: set[str]) -> Iterator[str]:
        yield from in_processes(make, ((r,) for r in records if r.id in todo), processes)

    suffixes = [CONFIDENT, UNSURE] + [SUFFIX] * settings.probabilities
    run_images(
        task,
        [r.id for r in records],
        suffixes,
        work,
        diagnose=about_masks(task, records, dataset.classes, CONFIDENT, {"key": cut_key("seeds", ""), **facts["confident"]}),
        every=[r.id for r in all_records],
        unary=settings.unary,
        scales=cams.form.scales,
        **facts,
        **({} if fill is None else {"filled": [dataset.classes[c] for c in fill.classes]}),
    )


def pick_torch_device(task: Task) -> str:
    """PyTorch's name of the job's device, which the run record gets too."""
    # Only here: PyTorch takes seconds, and the other backends need none.
    from wsss.train.device import EXACT, note_device, pick_device

    device = pick_device(task.runtime["device"], task.threads)
    note_device(task, device, EXACT)
    return str(device)


def filling(task: Task, dataset: Dataset, records: tuple[Record, ...], settings: Seeds) -> Fill:
    """Which classes the recipe `fill_from` stands in for, found on the CAMs of both.

    Raises:
        UserError: a file of either is missing or damaged; the CAMs have a background map of their own, or hold one score only.
    """
    input_index(task, "fill", records)
    sample, areas = labelled_sample(dataset, SAMPLE), []
    for name in ("cam", "fill_cam"):
        cams = cams_of(task.inputs[name], sample, dataset)
        if cams.form.bg_map:
            raise UserError(f"{task.inputs[name]}: seeds.fill_from: these CAMs {NOT_FILLED}")
        areas.append(class_areas(cams, sample, dataset.num_classes, task.inputs[name]))
    own, other = areas
    classes = left_out(own, other, settings.fill_below)
    for c in classes:
        log.info("%s: covers %.3f of its photos here, %.3f with %s, which fills it up", dataset.classes[c], own[c], other[c], settings.fill_from)
    return Fill(classes, task.inputs["fill"])


def make_seed(record: Record, cams: CamFolder, settings: Seeds, rules: dict[str, Rule], params: CrfParams, folder: Path, fill: Fill | None = None) -> str:
    """Write both seeds of one image; `rules` are its backgrounds `confident` and `unsure` with numbers. Returns the id."""
    image = read_image(record.image)
    cam, bg_map = cams.both_at(record, image.shape[:2])
    passes = seed_marginals(image, cam, rules["confident"], rules["unsure"], params, bg_map, unary=settings.unary)
    if settings.probabilities:
        write_probs(folder / f"{record.id}{SUFFIX}", *passes)
    for marginals, suffix in zip(passes, (CONFIDENT, UNSURE), strict=True):
        mask = to_class_ids(to_labels(marginals), record.labels)
        if fill is not None and fill.classes:
            mask = filled(mask, read_mask(file_of(fill.source, record.id, suffix)), fill.classes)
        write_mask(folder / f"{record.id}{suffix}", mask)
    return record.id
