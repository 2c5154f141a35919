"""Downloads of public datasets: archives checked, resumed, unpacked safely; a small JSON says what came."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from wsss.data import coco_download, sbd_download, voc_download
from wsss.engine.atomic import write_json
from wsss.engine.checksums import LOCK_FILE
from wsss.engine.task import Task

FETCHERS: dict[str, Callable[..., Path]] = {
    "voc12": voc_download.fetch,
    "sbd": sbd_download.fetch,
    "coco14": partial(coco_download.fetch, 2014),
    "coco17": partial(coco_download.fetch, 2017),
}


def run(task: Task) -> None:
    """Fetch the archive of `params.archive` and write the declared JSON with the folder it was unpacked to."""
    target = Path(task.outputs["done"])
    folder = FETCHERS[task.params["archive"]](target.parent, lock_file=LOCK_FILE)
    write_json(target, {"archive": task.params["archive"], "folder": folder.name})
    task.write_record()
