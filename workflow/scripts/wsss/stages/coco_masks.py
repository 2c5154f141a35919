"""Stage `coco_masks`: ground-truth label maps of COCO, painted from the instance annotations."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss.data.coco_instances import Instances, read_instances
from wsss.data.coco_labels import SPLITS, coco_id
from wsss.data.coco_paint import CROWDS, RULE, TOLERANCE_PX, Region, examine, paint
from wsss.data.table import listing
from wsss.data.user_files import coco_annotations
from wsss.engine.atomic import read_json
from wsss.engine.per_image import run_images, shard_records
from wsss.engine.task import Task
from wsss.engine.workers import in_processes
from wsss.errors import UserError
from wsss.io.masks import write_mask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An image of the JSON by the id its mask gets."""

    id: str
    number: int
    source: Instances

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) as the JSON has it."""
        entry = self.source.images[self.number]
        return entry.height, entry.width

    def regions(self) -> list[Region]:
        """The annotations; a copy of each outline, so that a worker gets its own image's and no more."""
        return [
            Region(a.id, self.source.class_of[a.category_id], a.area, bool(a.iscrowd), bytes(a.segmentation))
            for a in self.source.of(self.number)
        ]


def run(task: Task) -> None:
    """Write `{id}.png` for every image of both instances files, those without annotations included."""
    year, crowd = task.settings["year"], task.settings["crowd"]
    found = (
        Picture(coco_id(split, year, number), number, source)
        for split, path in annotation_files(task, year).items()
        for source in [read_instances(path)]
        for number in source.images
    )
    pictures = shard_records(task, found)
    check_outlines(pictures)

    def work(todo: set[str]) -> Iterator[str]:
        jobs = ((p.id, p.size_hw, p.regions(), crowd, task.folder) for p in pictures if p.id in todo)
        yield from in_processes(make_mask, jobs, task.threads)

    run_images(task, [p.id for p in pictures], [".png"], work, year=year, crowd=crowd, rule=f"{RULE}, {CROWDS[crowd]}")


def annotation_files(task: Task, year: int) -> dict[str, Path]:
    """Split -> instances JSON: the user's, which are inputs themselves, or those below the downloaded folder."""
    if "path" not in task.inputs:
        return {split: Path(task.inputs[split]) for split in SPLITS}
    note = Path(task.inputs["path"])
    return coco_annotations(note.parent / read_json(note)["folder"], year)


def check_outlines(pictures: Sequence[Picture]) -> None:
    """Look at every outline before the first mask is painted, which takes seconds.

    Raises:
        UserError: every annotation that cannot be painted.
    """
    problems, reaching = [], []
    for picture in pictures:
        for region in picture.regions():
            faults, overhang = examine(region, picture.size_hw)
            where = f"{picture.source.path.name}: annotation {region.id} (image {picture.number})"
            problems += [f"{where}: {fault}" for fault in faults]
            if overhang > TOLERANCE_PX:
                reaching.append(f"{where}: {overhang:.1f} px")
    if problems:
        raise UserError(
            listing("coco: bad outlines; take the official file, or mend these annotations", problems)
        )
    if reaching:
        log.warning(
            listing("polygons that reach out of their image are cut at its border", reaching, limit=10)
        )


def make_mask(
    image_id: str, size_hw: tuple[int, int], regions: list[Region], crowd: str, folder: Path
) -> str:
    """Paint and write one image's mask; returns its id."""
    write_mask(folder / f"{image_id}.png", paint(regions, size_hw, crowd))
    return image_id
