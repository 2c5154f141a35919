"""SBD (Semantic Boundaries Dataset, Hariharan et al., ICCV 2011): from VOC train to trainaug."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.io

from wsss.data.voc_lists import read_id_list
from wsss.errors import UserError
from wsss.io.masks import read_mask, write_mask

TRAINAUG_IMAGES = 10_582
DATASET_FOLDER = "benchmark_RELEASE/dataset"
LARGEST_CLASS = 20


def locate(path: Path) -> Path:
    """The SBD folder with train.txt and val.txt: ``path`` or a usual place below it. UserError if none."""
    places = ("", "dataset", DATASET_FOLDER, f"benchmark/{DATASET_FOLDER}", "SBD")
    candidates = [Path(path) / place for place in places]
    for candidate in candidates:
        if (candidate / "train.txt").is_file() and (candidate / "val.txt").is_file():
            return candidate
    tried = ", ".join(map(str, candidates))
    raise UserError(
        f"{path}: no SBD here (train.txt and val.txt looked for in {tried}); unpack benchmark.tgz there"
    )


def trainaug_ids(
    path: Path, voc_train: Sequence[str], voc_val: Sequence[str], expected: int | None = TRAINAUG_IMAGES
) -> tuple[str, ...]:
    """VOC train, then SBD train and val, without VOC val and repeats (10,582 ids with the official lists).

    UserError where the count is not ``expected`` (None: not checked).
    """
    root = locate(path)
    val = set(voc_val)
    union = dict.fromkeys([*voc_train, *read_id_list(root / "train.txt"), *read_id_list(root / "val.txt")])
    ids = tuple(image_id for image_id in union if image_id not in val)
    if expected is not None and len(ids) != expected:
        raise UserError(
            f"{root}: VOC train + SBD train and val - VOC val gives {len(ids)} ids, not {expected}; "
            "take train.txt and val.txt from SBD's benchmark.tgz (not train_noval.txt), and VOC 2012's; "
            "or set expected_counts: {trainaug: null}"
        )
    return ids


def read_sbd_mat(path: Path) -> np.ndarray:
    """``GTcls.Segmentation`` of one of SBD's cls/*.mat files: (H, W) uint8, 0 to 20 in VOC order."""
    try:
        content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=["GTcls"])
        label = np.asarray(content["GTcls"].Segmentation)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; unpack SBD's cls folder there") from error
    except Exception as error:  # scipy raises many kinds on damaged files
        raise UserError(f"{path}: not a class mask of SBD ({error}); unpack benchmark.tgz again") from error
    if label.ndim != 2 or label.dtype.kind not in "uif" or not np.isin(label, range(LARGEST_CLASS + 1)).all():
        raise UserError(
            f"{path}: GTcls.Segmentation is not an (H, W) map of 0..{LARGEST_CLASS}; unpack it again"
        )
    return label.astype(np.uint8)


def write_masks(ids: Sequence[str], source: Path, voc_root: Path, out_dir: Path) -> list[Path]:
    """Write SegmentationClassAug: one palette PNG per id; return the paths.

    ``source`` is SBD (its ``cls/*.mat``) or a folder of ready PNGs. With SBD, images that VOC itself has
    labelled keep VOC's finer mask with its 255 border (from ``voc_root/SegmentationClass``).

    Raises:
        UserError: every id without a readable mask, at once.
    """
    found = {image_id: _reader(image_id, Path(source), Path(voc_root)) for image_id in ids}
    missing = [image_id for image_id in ids if found[image_id] is None]
    if missing:
        raise UserError(
            f"{source}: no mask (.mat or .png) for {len(missing)} of {len(ids)} ids "
            f"({', '.join(missing[:5])} ...); "
            "give SBD's dataset folder or a SegmentationClassAug folder"
        )
    problems, paths = [], [Path(out_dir) / f"{image_id}.png" for image_id in ids]
    for path, image_id in zip(paths, ids, strict=True):
        reader = found[image_id]
        assert reader is not None  # none is missing
        try:
            write_mask(path, reader())
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems[:50]))
    return paths


def _reader(image_id: str, source: Path, voc_root: Path) -> Callable[[], np.ndarray] | None:
    places = [source / f"{image_id}.png", voc_root / "SegmentationClass" / f"{image_id}.png"]
    mats = [
        source / place / f"{image_id}.mat" for place in ("cls", "dataset/cls", f"{DATASET_FOLDER}/cls", "")
    ]
    png = next((path for path in places if path.is_file()), None)
    if png is not None:
        return lambda: read_mask(png)
    mat = next((path for path in mats if path.is_file()), None)
    return (lambda: read_sbd_mat(mat)) if mat is not None else None
