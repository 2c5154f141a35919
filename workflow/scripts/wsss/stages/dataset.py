"""Stage `dataset`: whatever the source, one validated manifest comes out."""

from pathlib import Path

from wsss.data import coco, demo, folder, voc
from wsss.engine.atomic import drop_temporaries, read_json
from wsss.engine.task import Task
from wsss.errors import UserError

BUILDERS = {"demo": demo.build, "voc": voc.build, "folder": folder.build, "coco": coco.build}


def run(task: Task) -> None:
    """Build manifest.csv and dataset.json from the dataset file's `kind` and `params`."""
    spec = task.params["dataset"]
    if spec["kind"] not in BUILDERS:
        raise UserError(f"dataset kind {spec['kind']} is unknown; known: {', '.join(BUILDERS)}")
    params = {**spec["params"], **unpacked(task), "name": task.params["name"]}
    dataset = BUILDERS[spec["kind"]](params, Path(task.outputs["manifest"]).absolute().parent)
    drop_temporaries(task.folder)
    task.write_record(images=len(dataset.records))


def unpacked(task: Task) -> dict[str, str]:
    """Folders that stages before this one filled: `path` (VOC or COCO tree), `sbd`, `mask_train`, `masks`.

    A download's note names the folder below it; the index of `masks` lies in the folder itself.
    """
    return {name: str(Path(note).absolute().parent / read_json(note).get("folder", "")) for name, note in task.inputs.items()}
