"""The images of VOC's test server, of which only the names and pictures are given out. Jobs are about a row."""

import functools
from typing import TYPE_CHECKING

from wsss.data.user_files import folder_stamp
from wsss.data.voc_test import find_images
from wsss.errors import UserError
from wsss.plan import paths
from wsss.plan.row import Row

if TYPE_CHECKING:
    from wsss.plan.plan import Plan


@functools.cache  # inputs and stamp both ask
def images(plan: "Plan", row: Row) -> dict[str, str]:
    """Id -> path of every test image, in the list's order; see `find_images`."""
    spec = plan.config.dataset(row.dataset)
    where = f"config/datasets/{row.dataset}.yaml"
    if spec["kind"] != "voc":
        raise UserError(f"{where}: the test server is VOC's, this dataset is of kind {spec['kind']}; ask for {row.folder}/miou.txt")
    if not spec.get("test"):
        raise UserError(f"{where}: name the folder of VOC's test images, `test: FOLDER` (unpacked VOC2012test.tar, VOCdevkit/VOC2012)")
    return find_images(spec["test"], where)


def tree(plan: "Plan", row: Row) -> dict[str, str]:
    """{"folder": the user's, "where": the file that names it}."""
    return {"folder": plan.config.dataset(row.dataset)["test"], "where": f"config/datasets/{row.dataset}.yaml"}


def stamp(plan: "Plan", row: Row) -> str:
    """Changes whenever an image does."""
    return folder_stamp(images(plan, row).values())


def inputs(plan: "Plan", row: Row) -> dict[str, str]:
    """The trained network, and the facts of its dataset."""
    images(plan, row)  # what is missing ends here, before anything runs
    files = {name: path for name, path in paths.dataset_files(row.dataset).items() if name != "manifest"}
    return {**files, "model": plan.artefact(row, "segmentation", paths.MODEL)}
