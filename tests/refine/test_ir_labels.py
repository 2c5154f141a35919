"""Seeds and IR labels: the merge table, the thresholds, and a slow reference on a real photo."""

import os
from pathlib import Path

import numpy as np
import pytest
from cam_reference import seeds_pair
from plain_crf import plain_crf, scene, unary_from_labels
from wsss.refine.crf import IRN_LABEL
from wsss.refine.ir_labels import merge
from wsss.sections.background import Rule

T_FG, T_BG = Rule("const", 0.30), Rule("const", 0.05)


@pytest.mark.parametrize("pair, out", [((0, 0), 0), ((0, 3), 255), ((3, 0), 3), ((3, 3), 3), ((3, 7), 3)])
def test_merge_table(pair, out):
    confident, unsure = (np.full((1, 1), value, np.uint8) for value in pair)
    assert merge(confident, unsure)[0, 0] == out
    assert confident[0, 0] == pair[0]  # inputs stay


def reference(image, cam, keys, params=IRN_LABEL):
    """The published way: two CRFs, then the table, pixel by pixel."""
    names = np.array([0, *(k + 1 for k in keys)])
    found = []
    for threshold in (0.30, 0.05):
        padded = np.pad(cam, ((1, 0), (0, 0), (0, 0)), constant_values=np.float32(threshold))
        unary = unary_from_labels(padded.argmax(0), len(cam) + 1, params.gt_prob, zero_unsure=False)
        found.append(names[plain_crf(image, unary, params)])
    out = np.empty(image.shape[:2], np.uint8)
    for pixel in np.ndindex(out.shape):
        sure, unsure = found[0][pixel], found[1][pixel]
        out[pixel] = sure if sure else (255 if unsure else 0)
    return out


def bump(size_hw, centre, width):
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2).astype(np.float32)


def test_same_as_the_published_way():
    grey = np.repeat([20, 110, 200], [25, 45, 30])
    noise = np.random.default_rng(0).integers(0, 12, (60, 100, 1))
    image = np.broadcast_to(grey[None, :, None] + noise, (60, 100, 3)).astype(np.uint8)
    cam = np.stack([bump((60, 100), (30, 10), 20), bump((60, 100), (30, 85), 20)])
    ours = merge(*seeds_pair(image, cam, [2, 14], T_FG, T_BG))
    np.testing.assert_array_equal(ours, reference(image, cam, [2, 14]))
    assert set(np.unique(ours)) == {0, 3, 15, 255}


def test_no_classes_and_all_zero_maps_are_background():
    image, _ = scene()
    for keys in ([], [4]):
        pair = seeds_pair(image, np.zeros((len(keys), 40, 56), np.float32), keys, T_FG, T_BG)
        for seed in pair:
            assert seed.dtype == np.uint8 and seed.shape == (40, 56) and not seed.any()


def test_power_background_is_a_choice():
    image, _ = scene()
    cam = bump((40, 56), (20, 42), 14)[None]
    rules = [Rule("power", alpha) for alpha in (4, 24)]
    confident, unsure = seeds_pair(image, cam, [0], *rules)
    assert 0 < (confident == 1).sum() <= (unsure == 1).sum()


def test_same_as_the_published_way_on_a_photo():
    root = os.environ.get("WSSS_TEST_DATA")
    if not root:
        pytest.skip("WSSS_TEST_DATA is not set: no real photos")
    from wsss.io.images import read_image

    photos = sorted((Path(root) / "voc_mini/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))
    image = read_image(photos[0])[:160, :200]
    size_hw = image.shape[:2]
    cam = np.stack([bump(size_hw, (80, 120), 50), bump(size_hw, (60, 40), 30)])
    np.testing.assert_array_equal(
        merge(*seeds_pair(image, cam, [7, 11], T_FG, T_BG)), reference(image, cam, [7, 11])
    )
