"""Stage `seeds`: two CRF-refined label maps a CAM — the confident one (the refined seed) and the unsure one.

With `probabilities: true` also what the CRF says before the argmax, from which AffinityNet makes its labels.
"""

from collections.abc import Iterator
from pathlib import Path

from wsss.data.cams_to_cut import cams_to_cut
from wsss.data.manifest import Record, load_manifest
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.task import Task
from wsss.engine.workers import in_processes
from wsss.found import refuse_reversed, settled
from wsss.io.cams import CamFolder
from wsss.io.images import read_image
from wsss.io.masks import CONFIDENT, UNSURE, write_mask
from wsss.io.probs import SUFFIX, write_probs
from wsss.refine.background import to_class_ids
from wsss.refine.crf import CrfParams, on_device, prepare, to_labels
from wsss.refine.ir_labels import seed_marginals
from wsss.score.self_report import about_masks
from wsss.sections.background import Rule
from wsss.sections.section import plain, typed
from wsss.sections.seeds import Seeds


def run(task: Task) -> None:
    """Write `{id}.png` (confident), `{id}.unsure.png` and where asked for `{id}.npz` for every image of trainaug."""
    dataset = load_manifest(task.inputs["manifest"])
    every = dataset.split("trainaug")
    records = shard_records(task, every)
    settings = typed(task.settings, Seeds)
    cams = cams_to_cut(task, records, settings.confident, settings.unsure)
    rules, found = settled({"confident": settings.confident, "unsure": settings.unsure}, task.inputs)
    refuse_reversed(rules["confident"], rules["unsure"], "seeds")  # where one of them is found

    params = CrfParams(**plain(settings.crf_params))
    if params.backend == "torch":
        params = on_device(params, pick_torch_device(task))
    prepare(params)
    processes = 1 if params.backend == "torch" else task.threads  # its threads, or a GPU, serve one photo at a time

    def work(todo: set[str]) -> Iterator[str]:
        jobs = ((r, cams, settings, rules, params, task.folder) for r in records)
        yield from in_processes(make_seed, (job for job in jobs if job[0].id in todo), processes)

    suffixes = [CONFIDENT, UNSURE] + [SUFFIX] * settings.probabilities
    told = about_masks(task, records, dataset.classes, CONFIDENT, {"key": "seeds.confident", **rules["confident"]._asdict()})
    ids, all_ids = [r.id for r in records], [r.id for r in every]
    run_images(task, ids, suffixes, work, told, all_ids, unary=settings.unary, **found)


def pick_torch_device(task: Task) -> str:
    """PyTorch's name of the job's device, which the run record gets too."""
    # Only here: PyTorch takes seconds, and the other backends need none.
    from wsss.train.device import EXACT, note_device, pick_device

    device = pick_device(task.runtime["device"], task.threads, EXACT)
    note_device(task, device, EXACT)
    return str(device)


def make_seed(record: Record, cams: CamFolder, settings: Seeds, rules: dict[str, Rule], params: CrfParams, folder: Path) -> str:
    """Write both seeds of one image; `rules` are its backgrounds `confident` and `unsure` with numbers. Returns the id."""
    image = read_image(record.image)
    cam, bg_map = cams.both_at(record, image.shape[:2])
    passes = seed_marginals(image, cam, rules["confident"], rules["unsure"], params, bg_map, unary=settings.unary)
    if settings.probabilities:
        write_probs(folder / f"{record.id}{SUFFIX}", *passes)
    for marginals, suffix in zip(passes, (CONFIDENT, UNSURE), strict=True):
        write_mask(folder / f"{record.id}{suffix}", to_class_ids(to_labels(marginals), record.labels))
    return record.id
