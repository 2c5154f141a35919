"""RandAugment against timm's operations, and random erasing."""

import numpy as np
import pytest
from PIL import Image
from sections import augmentation_of
from timm.data import auto_augment
from wsss.data.draw import draw_colours
from wsss.data.randaugment import MEAN_COLOUR, OPERATIONS, draw_randaugment, erase
from wsss.data.transforms import Colours

SETTINGS = {"count": 2, "magnitude": 9, "std": 0.5}
VALUES = {"resize": {}, "flip": 0.5, "crop": 32}
THEIRS = {
    "autocontrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert", "rotate": "Rotate", "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing", "solarize_add": "SolarizeAdd", "colour": "ColorIncreasing", "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing", "sharpness": "SharpnessIncreasing", "shear_x": "ShearX", "shear_y": "ShearY",
    "translate_x": "TranslateXRel", "translate_y": "TranslateYRel",
}  # fmt: skip


def photo(size_hw=(40, 56), seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size_hw[::-1], Image.Resampling.BICUBIC))


def test_the_operations_are_those_of_increasing_severity():
    assert sorted(THEIRS.values()) == sorted(auto_augment._RAND_INCREASING_TRANSFORMS)
    assert set(OPERATIONS) == set(THEIRS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("level", [0.0, 3.0, 8.6, 9.9])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_operation_does_what_timm_does(name, level, sign, monkeypatch):
    highest, signed, apply = OPERATIONS[name]
    monkeypatch.setattr(auto_augment, "_randomly_negate", lambda v: sign * v)
    theirs = auto_augment.AugmentOp(THEIRS[name], 1.0, level, {"img_mean": MEAN_COLOUR, "interpolation": Image.Resampling.BICUBIC})
    picture = Image.fromarray(photo())
    ours = apply(picture, highest * level / 10 * (sign if signed else 1))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs(picture)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_highest_magnitude_is_legal(name):
    """One draw in forty is cut there; timm's posterize then asks Pillow for no bits at all."""
    highest, _, apply = OPERATIONS[name]
    assert np.asarray(apply(Image.fromarray(photo()), highest)).max() > 0


def test_draws():
    """Any operation, each done half of the time, both signs, values near the magnitude."""
    drawn = [op for seed in range(2000) for op in draw_randaugment(**SETTINGS, rng=np.random.default_rng(seed)).operations]
    assert 0.46 < len(drawn) / 4000 < 0.54 and {name for name, _ in drawn} == set(OPERATIONS)
    turns = np.array([value for name, value in drawn if name == "rotate"])
    assert (turns > 0).any() and (turns < 0).any()
    assert 25.5 < np.abs(turns).mean() < 28.5 and np.abs(turns).max() <= 30 and np.abs(turns).std() > 0.5


def test_a_draw_is_a_function_of_the_seed_and_changes_no_other():
    image = photo()
    first, again, other = (draw_colours(augmentation_of(VALUES, randaugment=SETTINGS), np.random.default_rng(seed)) for seed in (0, 0, 5))
    assert first == again != other and np.array_equal(first(image), again(image))
    assert first(image).shape == image.shape and first(image).dtype == np.uint8
    assert draw_colours(augmentation_of(VALUES, randaugment=None, erasing=0), np.random.default_rng(0)) == Colours()


def test_erasing():
    crop, erased = np.full((3, 48, 48), 9, np.float32), []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        after = erase(crop, 0.25, rng)
        changed = (after != 9).any(0)
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            erased.append(changed.mean())
            assert abs(after[:, changed].mean()) < 0.5 and after.dtype == np.float32
    assert 70 < len(erased) < 130 and 0.015 < min(erased) and 0.28 < max(erased) < 0.36
    assert (crop == 9).all() and erase(crop, 0.0, np.random.default_rng(0)) is crop
