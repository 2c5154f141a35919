"""The command behind `workflow/scripts/export_cams.py`: our CAMs as the pickled dicts that other code of the field reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsss.data.labels import cams_of
from wsss.data.manifest import Record
from wsss.engine.atomic import atomic_path
from wsss.engine.threads import threaded
from wsss.errors import UserError
from wsss.imports.command_line import dataset_of, parser, run
from wsss.io.cams import CamFolder
from wsss.io.images import image_size

LAYOUTS = ("keys", "classes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    note = "the files are pickles: who reads them must trust you"
    made = parser("Export CAMs, one pickled dict ID.npy an image, for other code of the field.", note)
    made.add_argument("source", type=Path, help="index.json of the CAMs, results/DATASET/METHOD/cam/index.json")
    made.add_argument("target", type=Path, help="folder to write ID.npy files into")
    made.add_argument(
        "--layout", choices=LAYOUTS, default="keys", help="keys: keys, cam, high_res (IRN); classes: {class: map} (EPS, SEAM)"
    )
    made.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return run(lambda o: export_cams(o.source, o.target, o.dataset, o.layout, o.overwrite), made.parse_args(arguments))


def export_cams(source: Path, target: Path, dataset: str, layout: str = "keys", overwrite: bool = False) -> str:
    """Write a file for every image of trainaug that has labels; returns what was done, in words.

    Raises:
        UserError: CAMs are missing, or the target holds them, or files of those names.
    """
    if source.is_dir():
        source = source / "index.json"
    if target.resolve() == source.parent.resolve():
        raise UserError(f"{target}: holds the CAMs themselves; give another folder")
    held = dataset_of(dataset)
    records = [r for r in held.split("trainaug") if r.labels]
    if not source.is_file():
        raise UserError(f"{source}: no such file; give results/{dataset}/METHOD/cam/index.json")
    is_own = Path("results", dataset).resolve() in source.resolve().parents
    cams = cams_of(source, records, held, None if is_own and source.parent.name == "cam" else f"give results/{dataset}/METHOD/cam/index.json")
    if cams.form.bg_map:
        raise UserError(f"{source}: has a background map beside its classes, which these layouts have no place for; export CAMs of another net")
    there = [f"{r.id}.npy" for r in records if (target / f"{r.id}.npy").exists()]
    if there and not overwrite:
        raise UserError(f"{target}: {len(there)} files are there ({', '.join(there[:5])}); give another folder, or say --overwrite")

    def write(record: Record) -> None:
        table = as_dict(cams, record, layout)
        with atomic_path(target / f"{record.id}.npy") as temp, open(temp, "wb") as handle:
            np.save(handle, np.array(table, dtype=object), allow_pickle=True)

    for _ in threaded(write, records):
        pass
    return f"{target}: {len(records)} files, layout {layout}; classes count from 0, without background"


def as_dict(cams: CamFolder, record: Record, layout: str) -> dict[Any, Any]:
    """One image in a layout of the field.

    keys: {"keys" (K,) int64, "cam" (K, h, w) float32 tensor on the stride-4 grid, "high_res" (K, H, W) float32};
    classes: {class: (H, W) float32}.
    """
    size = image_size(record.image)
    high = cams.at(record, size)
    if layout == "classes":
        return dict(zip(record.labels, high, strict=True))
    cam = torch.from_numpy(cams.on_grid(record, size))
    return {"keys": np.array(record.labels, np.int64), "cam": cam, "high_res": high}
