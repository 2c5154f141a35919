"""The public archives of COCO 2014 and 2017: fetched, checked, unpacked into one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsss.data.archive import extract
from wsss.engine.download import download

# images.cocodataset.org answers https with Amazon's certificate, not its own; the same bucket under Amazon's name
# is trusted. The second address is plain http: what comes from there has to agree with the checksum as well.
HOSTS = ("https://s3.amazonaws.com/images.cocodataset.org", "http://images.cocodataset.org")

# As TensorFlow Datasets checks them (tensorflow_datasets/url_checksums/coco.txt, which has the sizes too);
# that of annotations_trainval2014.zip is also pinned by MLCommons (mlcommons/inference, pull request 2572).
SHA256 = {
    "zips/train2014.zip": "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    "zips/val2014.zip": "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    "annotations/annotations_trainval2014.zip": "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    "zips/train2017.zip": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    "zips/val2017.zip": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    "annotations/annotations_trainval2017.zip": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
}


def fetch(
    year: int,
    folder: Path,
    hosts: Sequence[str] = HOSTS,
    sha256: Mapping[str, str] = SHA256,
    lock_file: Path | None = None,
) -> Path:
    """Download and unpack train, val and their annotations; return the folder that holds them.

    Each archive stays in `folder` and may be deleted: what is unpacked is not fetched again.

    Raises:
        UserError: no address gives a file, a wrong checksum, a damaged archive.
    """
    root = Path(folder) / "coco"
    instances = tuple(f"annotations/instances_{split}{year}.json" for split in ("train", "val"))
    parts = {  # archive -> (members wanted, the folder they are in)
        f"annotations/annotations_trainval{year}.zip": (instances, "annotations"),
        f"zips/val{year}.zip": ((f"val{year}",), f"val{year}"),
        f"zips/train{year}.zip": ((f"train{year}",), f"train{year}"),
    }
    for name, (wanted, place) in parts.items():
        if (root / place).is_dir():  # moved there whole
            continue
        archive = Path(folder) / Path(name).name
        download([f"{host}/{name}" for host in hosts], archive, sha256=sha256.get(name), lock_file=lock_file)
        extract(archive, root / place, wanted, strip=place)
    return root
