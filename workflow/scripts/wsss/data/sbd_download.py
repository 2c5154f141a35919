"""SBD's public archive: fetched, checked, unpacked."""

from collections.abc import Sequence
from pathlib import Path

from wsss.data.archive import extract
from wsss.data.sbd import DATASET_FOLDER
from wsss.engine.download import download

ARCHIVE_NAME = "benchmark.tgz"
URLS = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
)
MD5 = "82b4d87ceb2ed10f6038a1cba92111cb"  # as checked by torchvision.datasets.SBDataset


def fetch(
    folder: Path, urls: Sequence[str] = URLS, md5: str | None = MD5, lock_file: Path | None = None
) -> Path:
    """Download and unpack SBD's lists and class masks (not its images); return the folder that holds them.

    The archive stays in ``folder``. UserError: no mirror gives it, or it is not SBD.
    """
    folder = Path(folder)
    download(urls, folder / ARCHIVE_NAME, md5=md5, lock_file=lock_file)
    wanted = tuple(f"{DATASET_FOLDER}/{name}" for name in ("train.txt", "val.txt", "cls"))
    return extract(folder / ARCHIVE_NAME, folder / "SBD", wanted, strip=DATASET_FOLDER)
