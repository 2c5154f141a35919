"""The command behind `workflow/scripts/import_masks.py`: a folder of label PNGs becomes seeds, IR labels or pseudo-masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsss.constants import IGNORE
from wsss.data.copies import Original, copy_words, originals
from wsss.data.labels import import_facts
from wsss.data.manifest import Dataset, Record
from wsss.data.transforms import resize_label
from wsss.engine.atomic import read_json
from wsss.engine.index import are_words
from wsss.errors import UserError
from wsss.imports.command_line import Target, dataset_of, find_files, parser, run
from wsss.io.images import image_size
from wsss.io.masks import read_mask, write_mask

STAGES = ("seeds", "ir_labels", "pseudo_masks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    made = parser("Import a folder of label PNGs: 8-bit, 0 background, k the k-th class, 255 unsure.")
    made.add_argument("source", type=Path, help="folder of ID.png files")
    made.add_argument("--name", required=True, help="what recipes call the import: `STAGE: {import: NAME}`")
    made.add_argument("--stage", choices=STAGES, required=True, help="as which stage they enter")
    return run(lambda o: import_masks(o.source, o.dataset, o.name, o.stage), made.parse_args(arguments))


def import_masks(source: Path, dataset: str, name: str, stage: str) -> str:
    """Fill `imports/DATASET/NAME/STAGE`; returns what was done, in words.

    Raises:
        UserError: images without a file, and all files that are no masks of their image.
    """
    held = dataset_of(dataset)
    records, copied = held.split("trainaug"), originals(Path("results", dataset), held)
    refuse_told_classes(source, held)
    sources = find_files(source, records, ".png")
    target = Target(dataset, name, stage, source)
    refuse_other_list(target, held)
    strangers: list[str] = []
    objects: list[bool] = []  # of each mask with any: whether one of its image's labels is among them
    bare: list[str] = []  # no class, though the image has labels

    def convert(record: Record) -> None:
        mask = checked(sources[record.id], image_size(record.image), held.num_classes, copied.get(record.id))
        there, labels = set(np.unique(mask).tolist()) - {0, IGNORE}, {k + 1 for k in record.labels}
        if there - labels:
            strangers.append(record.id)
        if labels and not there:
            bare.append(record.id)
        if there and labels:
            objects.append(bool(there & labels))
        write_mask(target.making / f"{record.id}.png", mask)

    target.fill(records, convert)
    if objects.count(False) > len(objects) / 2:
        what = f"{objects.count(False)} of {len(objects)} masks hold none of their image's labels"
        raise target.refused(f"{source}: {what}, so they are numbered by another list than {shown(held)}; number them by it")
    if bare and not objects:
        what = "none of the masks holds a class, only background (0) and unsure (255)"
        raise target.refused(f"{source}: {what}, so nothing could be learned; give masks in which k is the k-th class of {shown(held)}")
    sha256 = target.seal([r.id for r in records], sources, ".png", "label PNGs", **import_facts(held))
    lines = [f"{source}: {len(records)} masks"]
    if bare:
        lines.append(f"note: {len(bare)} masks hold no class, though their images have labels ({', '.join(sorted(bare)[:5])})")
    if strangers:
        some = ", ".join(sorted(strangers)[:5])
        lines.append(f"note: {len(strangers)} masks hold classes that are not among their image's labels ({some})")
    return target.told(sha256, *lines)


def refuse_told_classes(source: Path, dataset: Dataset) -> None:
    """UserError where the folder is of a stage, or an import, and says that its masks are by another class list."""
    for name in ("run.json", "index.json"):
        facts = read_json(source / name, "give another folder") if (source / name).is_file() else {}
        classes = facts.get("classes") if isinstance(facts, dict) else None
        if not are_words(classes):
            continue  # somebody else's file of that name
        if classes[classes[:1] == ["background"] :] != list(dataset.classes):
            told = ", ".join(classes)
            raise UserError(f"{source / name}: its masks are by the classes {told}; {dataset.name} has {shown(dataset)}; give masks of {dataset.name}")


def refuse_other_list(target: Target, dataset: Dataset) -> None:
    """UserError where masks of that name are by another class list: those of today may be too, and no mask says so."""
    classes = target.former().get("classes", list(dataset.classes))
    if classes != list(dataset.classes):
        raise UserError(
            f"{target.folder}: what is imported there is by the classes {', '.join(classes)}; {dataset.name} has {shown(dataset)} now, "
            f"and the numbers in {target.source} may still be the former ones. Where they are by today's list, delete {target.folder}, "
            "or give another --name"
        )


def shown(dataset: Dataset) -> str:
    """The class list, with the numbers of masks."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(dataset.classes, 1))


def checked(path: Path, size: tuple[int, int], num_classes: int, original: Original | None = None) -> np.ndarray:
    """A mask (H, W) uint8 of `size`.

    Args:
        original: the photo that the image is a smaller copy of; a mask of its size is made smaller too.

    Raises:
        UserError: not a label PNG, of another size than its image, or with values that are no classes.
    """
    mask = read_mask(path)
    if original and mask.shape == original.size:
        mask = resize_label(mask, size)
    if mask.shape != size:
        raise UserError(f"{path}: is {mask.shape}, its image {size} (height, width){copy_words(original)}")
    wrong = [value for value in np.unique(mask).tolist() if num_classes < value < IGNORE]
    if wrong:
        raise UserError(f"{path}: values {wrong[:5]} are neither 0..{num_classes} nor 255")
    return mask
