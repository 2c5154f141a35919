"""PASCAL VOC 2012's public archive: fetched, checked, unpacked."""

from collections.abc import Sequence
from pathlib import Path

from wsss.data.archive import extract
from wsss.engine.download import download

ARCHIVE_NAME = "VOCtrainval_11-May-2012.tar"
URLS = (
    f"https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/{ARCHIVE_NAME}",
    f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{ARCHIVE_NAME}",
    f"https://pjreddie.com/media/files/{ARCHIVE_NAME}",
)
MD5 = "6cd6e144f989b92b3379bac3b3de84fd"  # as checked by torchvision.datasets.VOCSegmentation
WANTED = ("Annotations", "ImageSets/Segmentation", "JPEGImages", "SegmentationClass")


def fetch(
    folder: Path, urls: Sequence[str] = URLS, md5: str | None = MD5, lock_file: Path | None = None
) -> Path:
    """Download and unpack VOC 2012 trainval; return the VOC2012 folder. The archive stays in ``folder``.

    UserError: no mirror gives it, wrong checksum, damaged archive.
    """
    folder = Path(folder)
    download(urls, folder / ARCHIVE_NAME, md5=md5, lock_file=lock_file)
    wanted = tuple(f"VOCdevkit/VOC2012/{name}" for name in WANTED)
    return extract(folder / ARCHIVE_NAME, folder / "VOC2012", wanted, strip="VOCdevkit/VOC2012")
