"""Colour jitter: torchvision's operations, drawn from the sample's seed, on the resized image before its crop."""

import numpy as np
import pytest
from PIL import Image
from sections import augmentation_of
from torchvision.transforms import functional as reference
from wsss.data.draw import draw_colours, draw_geometry
from wsss.data.jitter import NAMES, Jitter, draw_jitter
from wsss.data.transforms import Colours

REACH = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
VALUES = {"resize": {"scale": [0.7, 1.3]}, "flip": 0.5, "crop": 40}
PLAIN, JITTERED = augmentation_of(VALUES), augmentation_of(VALUES, jitter=REACH)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (30, 41, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amount", [-0.1, -0.037, 0.0, 0.1])
def test_each_step_is_torchvisions(name, amount):
    factor = amount if name == "hue" else 1 + 3 * amount
    expected = getattr(reference, f"adjust_{name}")(Image.fromarray(picture()), factor)
    assert np.array_equal(Jitter(((name, factor),))(picture()), np.asarray(expected))


def test_steps_follow_their_order():
    one, other = Jitter((("contrast", 0.7), ("brightness", 1.3))), Jitter((("brightness", 1.3), ("contrast", 0.7)))
    expected = reference.adjust_brightness(reference.adjust_contrast(Image.fromarray(picture()), 0.7), 1.3)
    assert np.array_equal(one(picture()), np.asarray(expected)) and not np.array_equal(one(picture()), other(picture()))


def test_draws_fill_their_range_in_any_order():
    draws = [draw_jitter(REACH, np.random.default_rng(seed)).steps for seed in range(300)]
    assert len({tuple(name for name, _ in steps) for steps in draws}) == 24
    for name, reach in REACH.items():
        values = [dict(steps)[name] - (name != "hue") for steps in draws]
        assert -reach <= min(values) < -0.95 * reach and 0.95 * reach < max(values) <= reach


def test_a_name_that_is_left_out_does_nothing():
    assert draw_jitter({"hue": 0.1}, np.random.default_rng(0)).steps[0][0] == "hue"
    assert draw_jitter({}, np.random.default_rng(0)).steps == ()


def test_geometry_does_not_depend_on_jitter_and_labels_are_left_alone():
    rng = np.random.default_rng(4)
    plain, geometry = (draw_geometry((30, 41), s, g) for s, g in ((PLAIN, np.random.default_rng(4)), (JITTERED, rng)))
    colours = draw_colours(JITTERED, rng)
    assert plain == geometry and len(colours.jitter.steps) == 4
    assert not np.array_equal(geometry.image(picture()), geometry.image(picture(), colours))
    assert np.array_equal(geometry.image(picture()), geometry.image(picture(), Colours()))
    assert draw_colours(augmentation_of(VALUES, jitter=None), rng) == draw_colours(augmentation_of(VALUES, jitter={}), rng) == Colours()


def test_padding_keeps_the_mean_colour():
    settings = augmentation_of({"resize": {}, "flip": 0.0, "crop": 80, "jitter": REACH})
    rng = np.random.default_rng(0)
    geometry = draw_geometry((30, 41), settings, rng)
    image, inside = geometry.image(picture(), draw_colours(settings, rng)), geometry.valid()[0] > 0
    assert (image[:, ~inside] == 0).all() and (image[:, inside] != 0).any()
