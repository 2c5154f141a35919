"""FSAE's strong view: what is drawn, and how."""

import cv2
import numpy as np
import pytest
from wsss.data import strong_view as strong
from wsss.data.further import View
from wsss.data.transforms import Geometry
from wsss.wrappers.fsae_options import DEFAULTS, STRONG

PLAIN = {"jitter": None, "blur": None, "randaugment": 0}


def drawn(seed, **options):
    return strong.draw_strong({**{key: DEFAULTS[key] for key in STRONG}, **options}, np.random.default_rng(seed))


def test_nothing_strong_gives_the_same_bits():
    photo = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    geometry = Geometry((60, 84), True, 48, (5, 9))
    view = View(photo, geometry, geometry.image(photo))
    options = {key: DEFAULTS[key] for key in STRONG} | PLAIN
    assert np.array_equal(strong.strong_view(view, np.random.default_rng(0), options), view.crop)
    assert not np.array_equal(strong.strong_view(view, np.random.default_rng(0), DEFAULTS), view.crop)


def test_kernel_and_operations_are_drawn_for_each_sample():
    looks = [drawn(seed) for seed in range(200)]
    assert {look.blur[0] for look in looks} == {1, 3, 5} and all(0.1 <= look.blur[1] <= 2 for look in looks)
    operations = [operation for look in looks for operation in look.operations]
    assert {name for name, _ in operations} == set(strong.OPERATIONS) and len(strong.OPERATIONS) == 9
    assert {len(look.operations) for look in looks} == {5}
    assert any(len({name for name, _ in look.operations}) < 5 for look in looks), "drawn with replacement"
    values = {name: [v for n, v in operations if n == name] for name in strong.OPERATIONS}
    assert all(0.05 <= v <= 0.95 for name in ("brightness", "colour", "contrast", "sharpness") for v in values[name])
    assert set(values["posterize"]) == {4, 5, 6, 7, 8} and 0 <= min(values["solarize"]) and max(values["solarize"]) <= 256


@pytest.mark.parametrize("operation", strong.OPERATIONS)
def test_operations(operation):
    photo = np.random.default_rng(3).integers(20, 200, (20, 30, 3), dtype=np.uint8)
    value = strong.OPERATIONS[operation][0](np.random.default_rng(1))
    found = strong.StrongColours(operations=((operation, value),))(photo)
    assert found.shape == photo.shape and found.dtype == np.uint8
    assert np.array_equal(found, photo) == (operation == "identity" or (operation == "posterize" and value == 8))


def test_blur_and_erasing():
    photo = np.random.default_rng(3).integers(20, 200, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(strong.StrongColours(blur=(1, 1.0))(photo), photo)
    assert strong.StrongColours(blur=(5, 2.0))(photo).std() < photo.std()
    for kernel, sigma in ((3, 0.4), (5, 2.0)):
        theirs = cv2.GaussianBlur(photo, (kernel, kernel), sigma, borderType=cv2.BORDER_REFLECT)
        assert np.abs(strong.blurred(photo, kernel, sigma).astype(int) - theirs).max() <= 1
    assert (strong.blurred(np.full((1, 2, 3), 77, np.uint8), 5, 2.0) == 77).all()
    view = View(photo, Geometry((20, 30), False, 24, (0, 0)), np.zeros((3, 24, 24), np.float32))
    options = {key: DEFAULTS[key] for key in STRONG} | PLAIN
    for seed in range(20):
        plain, erased = (strong.strong_view(view, np.random.default_rng(seed), {**options, "erasing": p}) for p in (0.0, 1.0))
        changed = (plain != erased).any(0)
        assert changed.any() and (erased[:, changed] == 0).all() and changed.mean() < 0.4
