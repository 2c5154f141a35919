"""Boundary IoU and IoU by the size of objects, against plain loops and counts by hand."""

import numpy as np
import pytest
from wsss.score.shapes import Shapes, band, boundary_counts, objects

VALUES = np.array([0, 1, 2, 255], np.uint8)


def blobs(seed, size=(23, 17), cell=4):
    """Random labels in blocks, so that there are regions with insides."""
    coarse = np.random.default_rng(seed).choice(VALUES, (size[0] // cell + 1, size[1] // cell + 1), p=[0.4, 0.3, 0.2, 0.1])
    return np.kron(coarse, np.ones((cell, cell), np.uint8))[: size[0], : size[1]]


def slow_boundary(mask, reach):
    """Boundary pixels of one mask: eroded `reach` times by a 3 x 3 square, with nothing outside the image."""
    inside = mask.copy()
    for _ in range(reach):
        padded = np.pad(inside, 1)
        inside = np.array(
            [[padded[y : y + 3, x : x + 3].all() for x in range(mask.shape[1])] for y in range(mask.shape[0])]
        )
    return mask & ~inside


def slow_boundary_counts(gt, pred, reach, labels):
    rows = []
    for label in range(labels):
        truth, guess = slow_boundary(gt == label, reach), slow_boundary((pred == label) & (gt != 255), reach)
        rows.append([(truth & guess).sum(), truth.sum(), guess.sum()])
    return np.array(rows)


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_band_equals_eroding_each_mask(reach):
    label = blobs(reach)
    found = band(label, reach)
    for value in VALUES:
        np.testing.assert_array_equal(found & (label == value), slow_boundary(label == value, reach))


@pytest.mark.parametrize(("size", "reach"), [((23, 17), 1), ((90, 60), 2), ((7, 1), 1)])
def test_boundary_counts_equal_the_slow_way(size, reach):
    gt, pred = blobs(0, size, 6), np.where(blobs(1, size, 5) == 255, 0, blobs(1, size, 5)).astype(np.uint8)
    np.testing.assert_array_equal(boundary_counts(gt, pred, 3), slow_boundary_counts(gt, pred, reach, 3))


def test_boundary_by_hand():
    """A square of 4 x 4 in 12 x 12 (reach 1), predicted one column to the right."""
    gt, pred = np.zeros((12, 12), np.uint8), np.zeros((12, 12), np.uint8)
    gt[4:8, 4:8], pred[4:8, 5:9] = 1, 1
    hit, truth, predicted = boundary_counts(gt, pred, 2)[1]
    assert (truth, predicted) == (12, 12) and hit == 6  # of 4 x 3 common pixels the rows at the ends, 3 each


def test_what_is_predicted_on_ignored_pixels_costs_nothing():
    gt = blobs(2, (40, 40), 8)
    for value in (0, 1, 2):
        pred = np.where(gt == 255, value, gt).astype(np.uint8)
        shapes = Shapes(3)
        shapes.add(gt, pred)
        assert shapes.result()["boundary_iou"] == 100.0


def slow_components(mask):
    """(H, W) bool -> list of sets of pixels, diagonals included."""
    left, found = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        waiting, region = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            region.add((y, x))
            beside = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= beside
            waiting += beside
        found.append(region)
    return found


def slow_objects(gt, pred):
    found = []
    labelled = set(zip(*np.nonzero(gt != 255), strict=True))
    for label in (1, 2):
        regions = slow_components(gt == label)
        hits, wrong = [0.0] * len(regions), [0.0] * len(regions)
        for guess in slow_components(pred == label):
            shares = [len(guess & region) for region in regions]
            errors = len((guess & labelled).difference(*regions))
            for i, share in enumerate(shares):
                hits[i] += share
                wrong[i] += errors * share / sum(shares) if sum(shares) else 0
        found += [(label, len(r), h / (len(r) + w)) for r, h, w in zip(regions, hits, wrong, strict=True)]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_objects_equal_the_slow_way(seed):
    gt, pred = blobs(seed, (30, 26), 3), blobs(seed + 100, (30, 26), 4)
    pred = np.where(pred == 255, 0, pred).astype(np.uint8)
    got, wanted = sorted(objects(gt, pred)), sorted(slow_objects(gt, pred))
    assert [o[:2] for o in got] == [o[:2] for o in wanted]
    np.testing.assert_allclose(sorted(o[2] for o in got), sorted(o[2] for o in wanted))


def test_objects_by_hand():
    """Two objects under one predicted region: its 4 wrong pixels go to them as 6 to 2."""
    gt, pred = np.zeros((4, 9), np.uint8), np.zeros((4, 9), np.uint8)
    gt[0:2, 0:3] = gt[0:2, 5:7] = 1  # 6 and 4 pixels
    pred[0:2, 0:5] = 1  # the first, and 4 of background
    pred[0:2, 5] = 1  # 2 of the second
    assert objects(gt, pred) == [(1, 6, 6 / (6 + 3)), (1, 4, 2 / (4 + 1))]


def test_sizes_are_coco_s_and_classes_count_alike():
    gt = np.zeros((200, 300), np.uint8)
    gt[:31, :33], gt[:32, 100:132], gt[60:160, 100:200] = 1, 1, 2  # 1023, 1024 and 10000 pixels
    gt[180:185, :5] = 2
    pred = gt.copy()
    pred[180:185, :5] = 255  # missed
    shapes = Shapes(4)
    shapes.add(gt, pred)
    found = shapes.result()
    assert found["objects"] == {"small": 2, "medium": 1, "large": 1}
    assert found["size_iou"] == {"small": 50.0, "medium": 100.0, "large": 100.0}  # small: of class 1 all, of class 2 none


def test_nothing_to_measure_gives_none():
    shapes = Shapes(3)
    shapes.add(np.full((8, 8), 255, np.uint8), np.ones((8, 8), np.uint8))
    found = shapes.result()
    assert found["boundary_iou"] is None and set(found["size_iou"].values()) == {None}


def test_specks_are_no_objects():
    gt, pred = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    gt[:4, :6], gt[10:15, :5], gt[30:50, :20] = 1, 1, 1  # 24, 25 and 400 pixels
    pred[30:50, :20] = 1
    shapes = Shapes(2)
    shapes.add(gt, pred)
    assert shapes.result()["objects"]["small"] == 2 and shapes.result()["size_iou"]["small"] == 50.0
