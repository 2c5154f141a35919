"""SegmentationClassAug."""

import json

import numpy as np
import pytest
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.masks import write_mask
from wsss.stages import aug_masks


def test_aug_masks_take_the_datasets_counts(tmp_path):
    """VOC train + SBD of another size than the official 10,582, which expected_counts allows."""
    for name, ids in {"voc/ImageSets/Segmentation/train": "a", "voc/ImageSets/Segmentation/val": "v"}.items():
        (tmp_path / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"{ids}\n")
    (tmp_path / "voc/Annotations").mkdir()
    for item_id in "abv":
        xml = "<annotation><object><name>cat</name></object></annotation>"
        (tmp_path / f"voc/Annotations/{item_id}.xml").write_text(xml)
    for name, ids in {"train": "b", "val": "v"}.items():
        (tmp_path / "sbd").mkdir(exist_ok=True)
        (tmp_path / f"sbd/{name}.txt").write_text(f"{ids}\n")
    for item_id in "ab":
        write_mask(tmp_path / f"sbd/{item_id}.png", np.ones((4, 6), np.uint8))
    params = {"folders": {"path": str(tmp_path / "voc"), "sbd": str(tmp_path / "sbd")}}
    out = {"done": str(tmp_path / "out/aug_masks.json")}
    with pytest.raises(UserError, match="not 10582"):
        aug_masks.run(Task("aug_masks", {}, out, params, {}))
    aug_masks.run(Task("aug_masks", {}, out, {**params, "expected_counts": {"trainaug": 2}}, {}))
    assert len(list((tmp_path / "out/SegmentationClassAug").iterdir())) == 2
    assert json.loads((tmp_path / "out/run.json").read_text())["images"] == 2
