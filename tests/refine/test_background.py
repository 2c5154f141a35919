import numpy as np
import pytest
from wsss.refine.background import argmax_labels, background


def maps():
    return np.array([[[0.1, 0.9]], [[0.5, 0.2]]], np.float32)


def test_const_and_power():
    np.testing.assert_array_equal(background(maps(), "const", 0.3), np.full((1, 2), 0.3, np.float32))
    np.testing.assert_allclose(background(maps(), "power", 4), [[0.5**4, 0.1**4]], rtol=1e-5)


def test_power_never_exceeds_one_or_turns_nan_outside_the_unit_interval():
    out = background(np.array([[[-0.5, 1.5]]], np.float32), "power", 2.5)
    np.testing.assert_array_equal(out, [[1.0, 0.0]])


def test_map_scales_the_given_map():
    bg_map = np.array([[0.4, 0.8]], np.float32)
    np.testing.assert_allclose(background(maps(), "map", 0.5, bg_map), [[0.2, 0.4]])
    with pytest.raises(ValueError, match="no background map"):
        background(maps(), "map", 0.5)


def test_unknown_kind_lists_the_choices():
    with pytest.raises(ValueError, match="const, power, map"):
        background(maps(), "constant", 0.3)


@pytest.mark.parametrize("kind", ["const", "power"])
def test_no_classes_is_all_background(kind):
    none = np.zeros((0, 3, 4), np.float32)
    bg = background(none, kind, 0.3)
    np.testing.assert_array_equal(bg, np.ones((3, 4), np.float32))
    labels = argmax_labels(none, bg, [])
    assert labels.dtype == np.uint8 and labels.shape == (3, 4) and not labels.any()


def test_labels_are_class_ids_and_ties_go_to_background():
    cam = np.array([[[0.3, 0.9, 0.2]], [[0.1, 0.2, 0.8]]], np.float32)
    labels = argmax_labels(cam, background(cam, "const", 0.3), [4, 19])
    np.testing.assert_array_equal(labels, [[0, 5, 20]])


def test_ties_between_classes_go_to_the_first():
    cam = np.full((2, 1, 1), 0.5, np.float32)
    assert argmax_labels(cam, background(cam, "const", 0.1), [2, 7])[0, 0] == 3
