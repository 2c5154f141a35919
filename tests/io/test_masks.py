"""Masks as palette PNGs."""

import numpy as np
import pytest
from PIL import Image
from wsss.errors import UserError
from wsss.io import masks


def test_voc_palette_is_the_published_one():
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: tuple(map(int, masks.VOC_PALETTE[i])) for i in known} == known
    assert len(np.unique(masks.VOC_PALETTE, axis=0)) == 256


@pytest.mark.parametrize("shape", [(1, 1), (33, 200), (64, 3)])
def test_mask_round_trip(tmp_path, shape):
    label = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    masks.write_mask(tmp_path / "m.png", label)
    assert np.array_equal(masks.read_mask(tmp_path / "m.png"), label)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P" and np.array_equal(np.array(image.convert("RGB")), masks.VOC_PALETTE[label])


def test_transposed_label_is_written_as_it_is_seen(tmp_path):
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    masks.write_mask(tmp_path / "m.png", label.T)
    assert np.array_equal(masks.read_mask(tmp_path / "m.png"), label.T)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "1"])
def test_masks_that_hold_no_class_ids_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="m.png.*mode"):
        masks.read_mask(tmp_path / "m.png")


def test_missing_and_truncated_mask(tmp_path):
    with pytest.raises(UserError, match="m.png: missing mask; restore it, or run the stage"):
        masks.read_mask(tmp_path / "m.png")
    masks.write_mask(tmp_path / "m.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:1500])
    with pytest.raises(UserError, match="m.png.*not a readable mask.*; restore it, or run the stage"):
        masks.read_mask(tmp_path / "m.png")
