"""Stage `report`: pages over all methods of a dataset."""

from pathlib import Path

from wsss.data.manifest import load_manifest
from wsss.engine.atomic import read_json
from wsss.engine.task import Task
from wsss.report import pages, plots
from wsss.report.layers import SUFFIX as LAYERS

SCORES = {"scores": "scores.json", "sweep": "sweep.csv", "per_image": "per_image.csv"}


def run(task: Task) -> None:
    """Write index.html, a page per method, plots, panels and summary.csv."""
    dataset = load_manifest(task.inputs["manifest"])
    methods = [gather(Path(entry["folder"]), entry) for entry in task.params["methods"]]
    target = Path(task.outputs["index"]).parent
    pages.build({"dataset": dataset.name, "classes": dataset.classes, "methods": methods}, target)
    if not (target / "curves.svg").exists():  # declared to Snakemake, but there is no seed (full, imported pseudo-masks)
        plots.curves(target / "curves.svg", {})
    if not (target / "per_class.svg").exists():  # nor any score
        plots.per_class(target / "per_class.svg", list(dataset.classes), {})
    task.write_record()


def gather(folder: Path, entry: dict) -> dict:
    """The files of one method for `wsss.report.pages.build`."""
    panels = entry.get("panels")  # only the first seed of a method has some
    ids = read_json(panels)["ids"] if panels else []
    scored = {name: folder / file for name, file in SCORES.items()} if entry["scored"] else {}
    return {
        "name": entry["name"],
        **scored,
        "diagnosis": folder / "diagnosis.json",
        "history": entry["history"],
        "chain": entry["chain"],
        "panels": {item_id: Path(panels).parent / f"{item_id}{LAYERS}" for item_id in ids} if panels else {},
    }
