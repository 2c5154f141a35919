import numpy as np
import pytest
from sections import augmentation_of
from wsss.data.draw import draw_colours, draw_geometry
from wsss.data.transforms import (
    MEAN,
    STD,
    Colours,
    Geometry,
    normalise,
    resize_image,
    resize_label,
    shifted_hsv,
)


def pixels(size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def numbered(size_hw):
    """A label map that numbers its pixels (mod 251), and the image whose red channel is the same."""
    label = (np.arange(size_hw[0] * size_hw[1]) % 251).astype(np.uint8).reshape(size_hw)
    return label, np.stack([label, label, label], axis=2)


def denormalised(image):
    return np.rint((image * STD[:, None, None] + MEAN[:, None, None]) * 255)


def test_normalise():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 1] = (255, 128, 0)
    result = normalise(image)
    assert result.shape == (3, 2, 3) and result.dtype == np.float32 and result.flags["C_CONTIGUOUS"]
    expected = (np.array([1, 128 / 255, 0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(result[:, 0, 1], expected, atol=1e-6)


def test_nearest_picks_the_centres_of_cells():
    """At 1/4, cell i takes pixel 4i + 2 (a grid of cells lies on its image by its centres, not by its corners)."""
    label, _ = numbered((12, 20))
    assert np.array_equal(resize_label(label, (3, 5)), label[2::4, 2::4])
    assert np.array_equal(resize_label(label, (6, 10)), label[1::2, 1::2])
    assert np.array_equal(resize_label(label, (24, 40)), label.repeat(2, 0).repeat(2, 1))


def test_nearest_makes_no_new_classes():
    label = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), (37, 50))
    assert set(np.unique(resize_label(label, (61, 23)))) <= {0, 3, 255}


def test_bicubic_keeps_a_constant_and_the_range():
    assert (resize_image(np.full((9, 9, 3), 200, np.uint8), (17, 5)) == 200).all()
    assert resize_image(pixels((9, 9)), (30, 31)).shape == (30, 31, 3)


SETTINGS = [
    {"resize": {}, "flip": 0.5, "crop": 16},
    {"resize": {}, "flip": 0.5, "crop": 64},
    {"resize": {}, "flip": 0.0, "crop": 30},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seed", range(6))
def test_image_label_and_maps_share_one_geometry(settings, seed):
    """Without resize every pixel of the label stands beside its own pixel of the image, padding beside padding."""
    label, image = numbered((25, 40))
    geometry = draw_geometry((25, 40), augmentation_of(settings), np.random.default_rng(seed))
    seen, cut = denormalised(geometry.image(image)), geometry.label(label, fill=251)
    saliency, valid = geometry.soft_map(label), geometry.valid()
    side = settings["crop"]
    assert (
        seen.shape == (3, side, side)
        and cut.shape == (side, side)
        and valid.shape == saliency.shape == (1, side, side)
    )
    inside = cut != 251
    assert np.array_equal(valid[0] == 1, inside) and set(np.unique(valid)) <= {0, 1}
    assert np.array_equal(seen[0][inside], cut[inside])
    np.testing.assert_allclose(saliency[0][inside], cut[inside] / 255, atol=1e-6)
    assert (saliency[0][~inside] == 0).all()


def test_padding_is_the_mean_colour_and_ignore():
    geometry = Geometry((4, 6), False, 8, (-3, -1))
    image, label = geometry.image(pixels((4, 6))), geometry.label(np.zeros((4, 6), np.uint8))
    outside = np.ones((8, 8), bool)
    outside[3:7, 1:7] = False
    assert (image[:, outside] == 0).all() and (label[outside] == 255).all() and (label[~outside] == 0).all()
    assert geometry.valid().sum() == 24


def test_a_window_inside_a_larger_image():
    label, image = numbered((10, 12))
    geometry = Geometry((10, 12), False, 4, (3, 5))
    assert np.array_equal(geometry.label(label), label[3:7, 5:9])
    assert np.array_equal(denormalised(geometry.image(image))[0], label[3:7, 5:9])


def test_one_side_larger_one_smaller():
    label, _ = numbered((3, 12))
    cut = Geometry((3, 12), False, 6, (-2, 4)).label(label)
    assert np.array_equal(cut[2:5], label[:, 4:10]) and (cut[[0, 1, 5]] == 255).all()


def test_flip_mirrors_all_of_them():
    label, image = numbered((6, 9))
    plain, mirrored = (Geometry((6, 9), flip, 9, (-1, 0)) for flip in (False, True))
    for name, source in (("image", image), ("label", label), ("soft_map", label)):
        assert np.array_equal(getattr(mirrored, name)(source), getattr(plain, name)(source)[..., ::-1]), name


def test_flip_comes_before_the_crop():
    label, _ = numbered((4, 10))
    assert np.array_equal(Geometry((4, 10), True, 4, (0, 2)).label(label), label[:, ::-1][:, 2:6])


def test_flip_probability():
    def flips(probability):
        settings = augmentation_of({"resize": {}, "flip": probability, "crop": 16})
        return [draw_geometry((20, 20), settings, np.random.default_rng(i)).flip for i in range(300)]

    assert not any(flips(0.0)) and all(flips(1.0)) and 110 < sum(flips(0.5)) < 190


def test_long_side_and_scale():
    sides, factors = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        size = draw_geometry(
            (300, 400), augmentation_of({"resize": {"long_side": [320, 330]}, "flip": 0, "crop": 512}), rng
        ).size_hw
        assert size[0] == round(300 * size[1] / 400)
        sides.append(size[1])
        size = draw_geometry(
            (300, 400), augmentation_of({"resize": {"scale": [0.5, 1.5]}, "flip": 0, "crop": 512}), rng
        ).size_hw
        factors.append(size[1] / 400)
    assert set(sides) == set(range(320, 331)), "both ends belong to the range"
    assert 0.5 <= min(factors) < 0.55 and 1.45 < max(factors) <= 1.5


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000), (2000, 1)])
def test_odd_images_become_samples(size_hw):
    for resize in ({}, {"scale": [0.25, 0.25]}, {"long_side": [64, 64]}):
        geometry = draw_geometry(
            size_hw, augmentation_of({"resize": resize, "flip": 1.0, "crop": 32}), np.random.default_rng(0)
        )
        assert min(geometry.size_hw) >= 1
        assert np.isfinite(geometry.image(pixels(size_hw))).all()
        assert geometry.label(np.zeros(size_hw, np.uint8)).shape == (32, 32)


def test_window_origins_are_uniform_and_reach_both_ends():
    settings = augmentation_of({"resize": {}, "flip": 0, "crop": 16})
    drawn = [draw_geometry((18, 13), settings, np.random.default_rng(i)).offset_yx for i in range(400)]
    assert {y for y, _ in drawn} == {0, 1, 2} and {x for _, x in drawn} == {-3, -2, -1, 0}


def test_a_seed_is_a_sample():
    settings = augmentation_of({"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 24})
    draws = [draw_geometry((30, 40), settings, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


AREA = augmentation_of({"resize": {"area": [0.08, 1.0]}, "flip": 0.5, "crop": 24})


def test_a_random_window_is_cut_then_stretched():
    """As torchvision's random-resized crop; image, label and maps see the same pixels."""
    label, image = numbered((60, 80))
    shares, ratios = [], []
    for seed in range(200):
        geometry = draw_geometry((60, 80), AREA, np.random.default_rng(seed))
        top, left, height, width = geometry.window
        assert 0 <= top <= 60 - height and 0 <= left <= 80 - width
        shares.append(height * width / 4800)
        ratios.append(width / height)
        part = np.s_[top : top + height, left : left + width]
        side = slice(None, None, -1) if geometry.flip else slice(None)
        assert np.array_equal(denormalised(geometry.image(image)), resize_image(image[part], (24, 24))[:, side].transpose(2, 0, 1))
        assert np.array_equal(geometry.label(label), resize_label(label[part], (24, 24))[:, side])
        assert geometry.valid().min() == 1 and geometry.soft_map(label).shape == (1, 24, 24)
    assert 0.07 < min(shares) < 0.15 and 0.85 < max(shares) <= 1 and 0.7 < min(ratios) < 0.8 and 1.25 < max(ratios) < 1.4


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000), (2000, 1), (1, 7)])
def test_windows_of_odd_images(size_hw):
    for seed in range(5):
        geometry = draw_geometry(size_hw, AREA, np.random.default_rng(seed))
        assert np.isfinite(geometry.image(pixels(size_hw))).all() and geometry.label(np.zeros(size_hw, np.uint8)).shape == (24, 24)


def test_black_padding_is_black_before_normalisation():
    image = pixels((20, 30))
    settings = {"resize": {}, "flip": 0.5, "crop": 48}
    plain = draw_geometry((20, 30), augmentation_of(settings), np.random.default_rng(3))
    black = draw_geometry((20, 30), augmentation_of(settings, padding="black"), np.random.default_rng(3))
    inside = plain.valid()[0] == 1
    assert inside.sum() == 600
    np.testing.assert_array_equal(black.image(image)[:, inside], plain.image(image)[:, inside])
    assert (plain.image(image)[:, ~inside] == 0).all()
    assert (denormalised(black.image(image))[:, ~inside] == 0).all()


def test_hsv_shifts_leave_the_geometry_alone():
    values = {"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 48}
    plain, shifted = augmentation_of(values), augmentation_of(values, hsv=10)
    draws = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        assert draw_geometry((20, 30), shifted, rng) == draw_geometry((20, 30), plain, np.random.default_rng(seed))
        draws += draw_colours(shifted, rng).shift_hsv
        assert draw_colours(plain, rng) == draw_colours(augmentation_of(values, hsv=0), rng) == Colours()
    assert min(draws) == -10 and max(draws) == 10


def test_hsv_shift_of_known_colours():
    red = np.full((2, 3, 3), (200, 0, 0), np.uint8)
    assert shifted_hsv(red, (60, 0, 0))[0, 0].tolist() == pytest.approx([0, 200, 0], abs=3)  # 120 degrees on
    assert shifted_hsv(red, (0, 0, 30))[0, 0].tolist() == [230, 0, 0]
    assert shifted_hsv(red, (0, 0, 90))[0, 0].tolist() == [255, 0, 0]
    faded = shifted_hsv(red, (0, -100, 0))[0, 0]
    assert faded[0] == 200 and 60 < faded[1] == faded[2] < 90
    np.testing.assert_array_equal(shifted_hsv(red, (180, 0, 0)), red)
