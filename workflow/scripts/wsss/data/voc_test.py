"""VOC's test images: the list and the pictures, which are all that is given out, and the archive that its server takes."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from wsss.data.user_files import voc_trees
from wsss.data.voc_lists import read_id_list
from wsss.engine.atomic import atomic_path
from wsss.errors import UserError

LIST, SHOWN = "ImageSets/Segmentation/test.txt", 3
# comp6: segmentation by a network that has seen other images than VOC's, as one from ImageNet weights has.
PLACE = "results/VOC2012/Segmentation/comp6_test_cls"


def find_images(folder: str, where: str) -> dict[str, str]:
    """The images of a VOC tree's test list; `where` the folder is named, for the message.

    Raises:
        UserError: there is no tree or no list, or images of the list are missing: one line.
    """
    tree = next(iter(voc_trees(folder)), None)
    if tree is None or not (tree / LIST).is_file():
        raise UserError(f"{folder}: no {LIST} here or in VOCdevkit/VOC2012; unpack VOC2012test.tar there, or mend `test` in {where}")
    found = {image_id: tree / "JPEGImages" / f"{image_id}.jpg" for image_id in read_id_list(tree / LIST)}
    missing = [image_id for image_id, path in found.items() if not path.is_file()]
    if missing:
        some = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise UserError(f"{tree}/JPEGImages: {len(missing)} of the {len(found)} test images not there ({some}); unpack VOC2012test.tar there again")
    return {image_id: str(path.absolute()) for image_id, path in found.items()}


def write_archive(path: str | Path, masks: Path, ids: Iterable[str]) -> None:
    """Write the tar that the server takes: PLACE/ID.png of each. Equal masks give equal bytes.

    masks: the folder of ID.png, palette PNGs of the images' sizes.
    """
    with atomic_path(path) as temp, tarfile.open(temp, "w", format=tarfile.USTAR_FORMAT) as archive:
        for image_id in ids:
            content = (masks / f"{image_id}.png").read_bytes()
            member = tarfile.TarInfo(f"{PLACE}/{image_id}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
