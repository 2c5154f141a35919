"""Confusion matrices: counts, the two rules for 255, bad input."""

import numpy as np
import pytest
from wsss.errors import UserError
from wsss.score.confusion import confusion, iou, summarise


def slow_confusion(gt, pred, n):
    conf = np.zeros((n, n + 1), np.int64)
    for g, p in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if g != 255:
            conf[g, n if p == 255 else p] += 1
    return conf


@pytest.mark.parametrize("n", [2, 3, 21, 81, 254])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (33, 2)])
def test_equals_counting_pixel_by_pixel(n, shape):
    rng = np.random.default_rng(n)
    values = np.array([*range(n), 255], np.uint8)
    gt, pred = rng.choice(values, shape), rng.choice(values, shape)
    got = confusion(gt, pred, n)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, slow_confusion(gt, pred, n))


def test_uint8_products_do_not_wrap():
    gt = np.full((4, 4), 20, np.uint8)
    assert confusion(gt, gt, 21)[20, 20] == 16  # 20 * 22 + 20 = 460 would wrap to 204


def test_wider_integers_count_the_same():
    label = np.array([[0, 1], [2, 255]], np.uint8)
    np.testing.assert_array_equal(confusion(label.astype(np.int64), label, 3), confusion(label, label, 3))


def test_rules_for_255():
    gt = np.array([[0, 0, 1, 1]], np.uint8)
    pred = np.array([[0, 255, 1, 255]], np.uint8)
    conf = confusion(gt, pred, 2)
    np.testing.assert_allclose(iou(conf, "background"), [2 / 3, 1 / 2])
    np.testing.assert_allclose(iou(conf, "wrong"), [1 / 2, 1 / 2])
    np.testing.assert_allclose(iou(conf, "left_out"), [1, 1])
    figures = summarise(conf, ["cat"])
    assert figures["coverage"] == 50.0
    assert figures["miou"] == pytest.approx(100 * 7 / 12)
    by_rule = {"background": 100 * 7 / 12, "wrong": 50.0, "left_out": 100.0}  # the two pixels with a prediction are right
    assert figures["miou_by_rule"] == pytest.approx(by_rule)


def test_background_rule_equals_replacing_255_by_0():
    rng = np.random.default_rng(0)
    gt, pred = (rng.choice(np.array([0, 1, 2, 255], np.uint8), (20, 20)) for _ in range(2))
    replaced = confusion(gt, np.where(pred == 255, 0, pred).astype(np.uint8), 3)
    np.testing.assert_array_equal(iou(confusion(gt, pred, 3)), iou(replaced))


def test_left_out_rule_equals_ignoring_those_pixels():
    rng = np.random.default_rng(1)
    gt, pred = (rng.choice(np.array([0, 1, 2, 255], np.uint8), (20, 20)) for _ in range(2))
    ignored = confusion(np.where(pred == 255, 255, gt).astype(np.uint8), pred, 3)
    np.testing.assert_array_equal(iou(confusion(gt, pred, 3), "left_out"), iou(ignored))


def test_mean_is_over_classes_present_in_truth_or_prediction():
    gt = np.array([[0, 0, 1, 1]], np.uint8)
    pred = np.array([[0, 0, 1, 3]], np.uint8)
    figures = summarise(confusion(gt, pred, 5), ["a", "b", "c", "d"])
    assert figures["classes_in_mean"] == 3
    assert figures["per_class"] == {"background": 100.0, "a": 50.0, "b": None, "c": 0.0, "d": None}
    assert figures["miou"] == pytest.approx(50.0)
    assert figures["recall"] == 50.0  # a only
    assert figures["precision"] == 50.0  # a 100, c 0


def test_nothing_labelled_gives_none():
    gt = np.full((3, 3), 255, np.uint8)
    figures = summarise(confusion(gt, np.zeros((3, 3), np.uint8), 2), ["a"])
    assert figures["miou"] is None and figures["coverage"] is None and figures["classes_in_mean"] == 0


def test_perfect_prediction_is_100():
    gt = np.arange(21, dtype=np.uint8).reshape(3, 7)
    figures = summarise(confusion(gt, gt, 21), [f"c{i}" for i in range(20)])
    assert figures["miou"] == figures["precision"] == figures["recall"] == figures["coverage"] == 100.0


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "size 2x3 differs"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 3, np.uint8), "value 3 is out of range"),
        (np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8), "ground truth.*value 7"),
        (np.full((2, 2), 255, np.uint8), np.full((2, 2), 9, np.uint8), "value 9"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), -1), "0..255"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2)), "whole numbers"),
    ],
)
def test_bad_masks_are_named(gt, pred, message):
    with pytest.raises(UserError, match=f"a b.png.*{message}"):
        confusion(gt, pred, 3, "a b.png")


def test_unknown_rule():
    with pytest.raises(UserError, match="background, wrong, left_out"):
        iou(np.zeros((2, 3), np.int64), "ignore")
