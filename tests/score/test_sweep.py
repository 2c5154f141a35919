"""The one-pass sweep against scoring every threshold on its own; threshold policies."""

import numpy as np
import pytest
from wsss.errors import UserError
from wsss.refine.background import argmax_labels, background
from wsss.score.confusion import confusion, iou
from wsss.score.sweep import Sweep, default_values, power_root
from wsss.score.thresholds import seed_stage, stability

CLASSES = ["a", "b", "c", "d"]


def make_images(seed=0, count=6):
    """CAMs with exact ties at thresholds, zero maps, no classes at all, absent and ignored ground truth."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        height, width = rng.integers(1, 24, 2)
        keys = np.sort(rng.choice(4, rng.integers(1, 4), replace=False))
        cam = rng.random((len(keys), height, width)).astype(np.float32)
        cam = np.where(rng.random(cam.shape) < 0.4, np.round(cam, 2).astype(np.float32), cam)
        cam[rng.random(cam.shape) < 0.1] = 0
        gt = rng.choice(np.array([0, 0, *(keys + 1), 255, 4], np.uint8), (height, width))
        images.append((cam, keys, gt))
    images.append((np.zeros((2, 5, 4), np.float32), np.array([0, 2]), np.ones((5, 4), np.uint8)))
    images.append((np.zeros((0, 5, 4), np.float32), np.array([], int), np.zeros((5, 4), np.uint8)))
    images.append((np.ones((1, 2, 2), np.float32), np.array([1]), np.full((2, 2), 255, np.uint8)))
    return images


def sweep_over(images, kind="const", values=None):
    sweep = Sweep(len(CLASSES), kind, values)
    for i, (cam, keys, gt) in enumerate(images):
        sweep.add(cam, keys, gt, f"image {i}")
    return sweep.result()


def labels_at(cam, keys, kind, value):
    return argmax_labels(cam, background(cam, kind, value), list(keys))


def slow_confusion(images, kind, value):
    return sum(confusion(gt, labels_at(cam, keys, kind, value), 5) for cam, keys, gt in images)


@pytest.mark.parametrize("kind", ["const", "power"])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_scoring_each_value_on_its_own(kind, seed):
    images = make_images(seed)
    result = sweep_over(images, kind)
    for i, value in enumerate(result.values):
        conf = slow_confusion(images, kind, value)
        np.testing.assert_array_equal(result.confusion[i], conf[:, :5], err_msg=f"{kind} {value}")
        np.testing.assert_array_equal(result.per_class[i], 100 * iou(conf))
        assert result.miou[i] == pytest.approx(100 * np.nanmean(iou(conf)), abs=1e-9)


def test_the_kind_of_background_changes_no_figure_without_a_threshold():
    """Scores above 0.5, where a power background with alpha from 1 on cuts nothing any more."""
    rng = np.random.default_rng(2)
    gt = rng.integers(0, 2, (40, 40)).astype(np.uint8)
    cam = (0.55 + 0.3 * gt + 0.1 * rng.random((40, 40)))[None].astype(np.float32)
    const, power = (sweep_over([(cam, [0], gt)], kind) for kind in ("const", "power"))
    assert const.pxap[0] == pytest.approx(power.pxap[0], abs=0.01)
    assert const.miou.max() == pytest.approx(power.miou.max()) and const.oracle_miou == pytest.approx(power.oracle_miou)


def test_a_tie_with_the_threshold_is_background():
    cam = np.full((1, 1, 1), 0.15, np.float32)
    result = sweep_over([(cam, [0], np.ones((1, 1), np.uint8))])
    assert result.confusion[result.index(0.14)][1, 1] == 1
    assert result.confusion[result.index(0.15)][1, 0] == 1


def test_equal_classes_go_to_the_first():
    cam = np.full((2, 1, 1), 0.5, np.float32)
    result = sweep_over([(cam, [1, 3], np.full((1, 1), 4, np.uint8))])
    assert result.confusion[0][4, 2] == 1


@pytest.mark.parametrize("alpha", [0.5, 1, 4, 8, 24, 32])
def test_power_root_is_where_foreground_begins(alpha):
    root = power_root(alpha)
    above = np.nextafter(root, np.float32(2))
    power = np.float32(alpha)
    assert root <= (np.float32(1) - root) ** power
    assert above > (np.float32(1) - above) ** power


def test_oracle_is_the_best_threshold_of_each_image():
    images = make_images(3)
    total = np.zeros((5, 6), np.int64)
    for cam, keys, gt in images:
        confs = [confusion(gt, labels_at(cam, keys, "const", t), 5) for t in default_values("const")]
        means = [np.nanmean(iou(c)) if c.any() else 0 for c in confs]
        total += confs[int(np.argmax(means))]
    assert sweep_over(images).oracle_miou == pytest.approx(100 * np.nanmean(iou(total)))


def test_flips_are_pixels_whose_label_changes():
    images = make_images(4)
    result = sweep_over(images)
    for a, b in [(0.2, 0.3), (0.3, 0.2), (0.0, 0.99), (0.5, 0.5)]:
        changed = labelled = 0
        for cam, keys, gt in images:
            differ = labels_at(cam, keys, "const", a) != labels_at(cam, keys, "const", b)
            changed, labelled = changed + differ[gt != 255].sum(), labelled + (gt != 255).sum()
        assert result.flips(result.index(a), result.index(b)) == pytest.approx(100 * changed / labelled)


def known_curve():
    """Scores 0.305 on the object and 0.105 off it: perfect for thresholds 0.11 to 0.30."""
    gt = np.repeat(np.array([[1, 0]], np.uint8), 8, axis=0)
    cam = np.where(gt == 1, np.float32(0.305), np.float32(0.105))[None]
    return sweep_over([(cam, [0], gt)])


def test_stability_of_a_known_curve():
    got = stability(known_curve())
    assert got["best"] == 0.11 and got["best_miou"] == 100.0 and got["oracle_miou"] == 100.0
    assert got["interval_1pt"] == [0.11, 0.30] and got["width_1pt"] == pytest.approx(0.19)
    assert got["at"]["+0.10"] == {"value": 0.21, "miou": 100.0, "flips": 0.0}
    assert got["at"]["-0.05"]["flips"] == 50.0
    assert got["at"]["-0.10"]["value"] == 0.01
    assert got["flips_within"] == {"0.05": 50.0, "0.10": 50.0}


def test_seed_stage_has_the_three_policies():
    result = known_curve()
    stage = seed_stage(result, CLASSES, fixed=0.05, policy="fixed", found=0.2)
    assert stage["provenance"]["threshold"] == 0.05
    assert stage["miou"] == stage["fixed"]["miou"] < stage["best_on_train_gt"]["miou"] == 100.0
    assert stage["best_on_train_gt"]["provenance"]["threshold_uses_ground_truth"] is True
    assert stage["found"]["provenance"]["threshold_uses_ground_truth"] is False
    assert stage["found"]["provenance"]["threshold"] == 0.2
    assert seed_stage(result, CLASSES, 0.05, "found", 0.2)["miou"] == stage["found"]["miou"] == 100.0
    assert "found" not in seed_stage(result, CLASSES, 0.05)


def test_without_ground_truth_none_is_best():
    sweep = Sweep(4)
    sweep.add(np.full((1, 4, 4), 0.5, np.float32), [0], np.full((4, 4), 255, np.uint8))
    with pytest.raises(UserError, match="no image has ground truth.*policy 'found'"):
        sweep.result().best()


@pytest.mark.parametrize("kind", ["const", "power"])
def test_all_zero_cams_give_a_threshold(kind):
    result = sweep_over([(np.zeros((1, 3, 3), np.float32), [0], np.ones((3, 3), np.uint8))], kind)
    assert seed_stage(result, CLASSES, float(result.values[3]))["miou"] == 0.0


def test_extra_values_are_swept():
    values = default_values("const", [0.155, 0.15])
    assert len(values) == 101
    result = sweep_over(make_images(), values=values)
    assert result.values[result.index(0.155)] == 0.155
    with pytest.raises(UserError, match="0.123"):
        result.index(0.123)


@pytest.mark.parametrize(
    ("cam", "keys", "gt", "message"),
    [
        (np.full((1, 2, 2), np.nan, np.float32), [0], np.zeros((2, 2), np.uint8), "NaN"),
        (np.zeros((1, 2, 2), np.float32), [0, 1], np.zeros((2, 2), np.uint8), "1 maps for 2 classes"),
        (np.zeros((1, 2, 2), np.float32), [0], np.zeros((2, 3), np.uint8), "ground truth is"),
        (np.zeros((1, 2, 2), np.float32), [0], np.full((2, 2), 9, np.uint8), "value 9"),
    ],
)
def test_bad_images_are_named(cam, keys, gt, message):
    with pytest.raises(UserError, match=f"x.npy.*{message}"):
        Sweep(4).add(cam, keys, gt, "x.npy")


def test_bad_settings():
    with pytest.raises(UserError, match="const, power"):
        Sweep(4, "map")
    with pytest.raises(UserError, match="above 0"):
        power_root(0)
    with pytest.raises(UserError, match="fixed, best_on_train_gt, found"):
        seed_stage(known_curve(), CLASSES, 0.05, "otsu")
