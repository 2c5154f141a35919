"""What a mean IoU is lost to, PxAP and the bootstrap: small cases counted by hand."""

import json

import numpy as np
import pytest
from wsss.errors import UserError
from wsss.report.per_image import image_counts, image_ious, read_per_image
from wsss.score.bootstrap import Difference, difference, drawn_mious, miou, scored
from wsss.score.confusion import confusion, error_rates, matrix_of, summarise, top_confusions
from wsss.score.per_image import PerImage, counts_of
from wsss.score.sweep import Sweep
from wsss.score.thresholds import seed_stage
from wsss.score.write import write_miou

CLASSES = ["cow", "horse"]
NAMES = ["background", *CLASSES]
# rows: truth; columns: background, cow, horse, predicted 255
CONF = np.array([[50, 10, 0, 0], [8, 30, 2, 0], [0, 5, 10, 5]], np.int64)


def test_rates_are_parts_of_the_union():
    """255 is background: its column is (50, 8, 5). Unions: 50+10+13 = 73, 30+15+10 = 55, 10+2+10 = 22."""
    found = error_rates(CONF, NAMES)
    assert found["false_positive_rate"] == pytest.approx({"background": 100 * 13 / 73, "cow": 100 * 15 / 55, "horse": 100 * 2 / 22})
    assert found["false_negative_rate"] == pytest.approx({"background": 100 * 10 / 73, "cow": 100 * 10 / 55, "horse": 100 * 10 / 22})
    assert found["mfpr"] == pytest.approx(100 * (13 / 73 + 15 / 55 + 2 / 22) / 3)
    assert found["confusion_ratio_per_class"] == pytest.approx({"cow": 15 / 30, "horse": 2 / 10})
    assert found["confusion_ratio"] == pytest.approx(0.35)
    assert found["pixel_accuracy"] == pytest.approx(100 * 90 / 120)
    assert found["mean_accuracy"] == pytest.approx(100 * (50 / 60 + 30 / 40 + 10 / 20) / 3)
    whole = summarise(CONF, CLASSES)
    assert whole["miou"] + whole["mfpr"] + whole["mfnr"] == pytest.approx(100)


def test_predicted_255_as_wrong_is_missed_and_nobodys_false_positive():
    found = error_rates(CONF, NAMES, "wrong")
    assert found["false_positive_rate"]["background"] == pytest.approx(100 * 8 / 68)
    assert found["false_negative_rate"]["horse"] == pytest.approx(100 * 10 / 22)


def test_what_nothing_defines_is_none():
    found = error_rates(np.array([[5, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]], np.int64), NAMES)
    assert found["false_positive_rate"]["horse"] is None and found["confusion_ratio"] is None
    assert found["confusion_ratio_per_class"] == {"cow": None, "horse": None}
    assert found["mfnr"] == pytest.approx(50)  # background 0, cow 100, horse in neither
    empty = error_rates(np.zeros((3, 4), np.int64), NAMES)
    assert {empty[k] for k in ("mfpr", "mfnr", "pixel_accuracy", "mean_accuracy")} == {None}


def test_top_confusions_are_named_by_what_they_cost_a_class():
    found = top_confusions(CONF, NAMES)
    assert [(p["truth"], p["taken_for"], p["of"], p["pixels"]) for p in found] == [
        ("horse", "background", "horse", 5),  # missed: 5 of 22
        ("background", "cow", "cow", 10),  # 10 of 55
        ("cow", "background", "cow", 8),  # 8 of 55
        ("cow", "horse", "horse", 2),  # 2 of 22
        ("horse", "cow", "cow", 5),  # 5 of 55, the same
    ]
    assert found[0]["percent"] == pytest.approx(100 * 5 / 22)
    assert top_confusions(CONF, NAMES, most=1) == found[:1]


def test_the_matrix_reads_back_and_one_of_other_classes_is_refused():
    block = json.loads(json.dumps(summarise(CONF, CLASSES)))
    assert (matrix_of(block, CLASSES, "scores.json") == CONF).all()
    with pytest.raises(UserError, match=r"amn/scores.json: .*\(cow, sheep\).*score the method again"):
        matrix_of(block, ["sheep", "horse"], "amn/scores.json")
    with pytest.raises(UserError, match="in another order"):
        matrix_of(block, CLASSES[::-1], "amn/scores.json")


def test_pxap_by_hand():
    """Cuts 0.2, 0.5, 0.8. Cow's pixels by falling score: hit (0.9), wrong (0.7), hit (0.6), hit (0.3); one cow is another's."""
    sweep = Sweep(3, "const", [0.2, 0.5, 0.8])
    cow = np.array([[0.9, 0.7, 0.6, 0.3, 0.1, 0.0]], np.float32)
    horse = np.array([[0.0, 0.0, 0.0, 0.0, 0.4, 0.0]], np.float32)
    sweep.add(np.stack([cow, horse]), [0, 1], np.array([[1, 0, 1, 1, 1, 255]], np.uint8))
    found = sweep.result().pxap
    # (precision, recall): 1/1, 1/4 at 0.8; 2/3, 2/4 at 0.5; 3/4, 3/4 at 0.2; the fourth cow is a horse there, never recalled
    assert found[0] == pytest.approx(100 * (1 * 0.25 + 2 / 3 * 0.25 + 3 / 4 * 0.25))
    assert np.isnan(found[1]) and np.isnan(found[2])  # no pixel of these
    stage = seed_stage(sweep.result(), ["cow", "horse", "sheep"], 0.5)
    assert stage["pxap"] == pytest.approx(found[0]) and stage["pxap_per_class"] == {"cow": pytest.approx(found[0]), "horse": None, "sheep": None}


def test_pxap_of_alphas_goes_from_the_highest_cut_too():
    """alpha 1 cuts at 0.5, alpha 2 at 0.38: precision 1/1 first, then 1/2 with nothing more recalled."""
    sweep = Sweep(1, "power", [1.0, 2.0])
    sweep.add(np.array([[[0.9, 0.45, 0.0]]], np.float32), [0], np.array([[1, 0, 1]], np.uint8))
    assert sweep.result().pxap[0] == pytest.approx(50.0)


def test_miou_txt_names_the_class_that_no_image_has_and_the_confusions(tmp_path):
    sweep = Sweep(2, "const", [0.2, 0.5])
    sweep.add(np.full((1, 1, 2), 0.4, np.float32), [0], np.array([[1, 0]], np.uint8))
    write_miou(tmp_path / "miou.txt", "own", "cam", {"seed": seed_stage(sweep.result(), CLASSES, 0.2), "pseudo_mask": summarise(CONF, CLASSES)})
    text = (tmp_path / "miou.txt").read_text()
    assert "PxAP of the seed, over all thresholds: 50.0, the mean over 1 classes\nwithout those that no scored image has: horse\n" in text
    assert "top confusions, pseudo-mask" in text and "mFPR" in text


def images(*confs):
    return np.stack([counts_of(np.array(c, np.int64))[1] for c in confs])


GOOD, BAD = [[4, 0, 0], [0, 4, 0]], [[4, 0, 0], [4, 0, 0]]


def test_the_bootstrap_draws_images_for_both_alike():
    """Two images: draws are (2, 0), (1, 1), (0, 2) of them; a method that is worse on one of them only."""
    a, b = images(GOOD, GOOD), images(GOOD, BAD)
    found = difference(scored(a, draws=2000), scored(b, draws=2000))
    assert found.points == pytest.approx(100 - 100 * (8 / 12 + 4 / 8) / 2)
    assert (found.low, found.high) == (pytest.approx(0), pytest.approx(100 - 100 * (0.5 + 0) / 2))
    assert not found.is_sure and Difference(3.0, 0.1, 5.0).is_sure and Difference(-3.0, -5.0, -0.1).is_sure
    mious = drawn_mious(b, draws=2000)
    shares = [np.mean(np.isclose(mious, v)) for v in (100, 100 * (8 / 12 + 0.5) / 2, 25)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.04)


def test_the_bootstrap_is_seeded():
    rng = np.random.default_rng(1)
    a, b = rng.integers(1, 90, (30, 3, 3)), rng.integers(1, 90, (30, 3, 3))
    once, again, otherwise = (difference(scored(a, seed=seed), scored(b, seed=seed)) for seed in (0, 0, 1))
    assert once == again != otherwise
    assert difference(scored(a), scored(a)) == Difference(0.0, 0.0, 0.0)


def test_the_bootstrap_refuses_one_image():
    with pytest.raises(UserError, match="1 scored image; at least two"):
        drawn_mious(images(GOOD))


def test_counts_of_images_read_back_and_add_up(tmp_path):
    rng, per_image, total = np.random.default_rng(0), PerImage(), 0
    for name in ("=a", "b c", "1"):
        gt, pred = (rng.choice(np.array([0, 1, 2, 255], np.uint8), (9, 9)) for _ in range(2))
        conf = confusion(gt, pred, 3)
        total = total + conf
        per_image.add("segmentation", name, *counts_of(conf))
    per_image.write(tmp_path / "per_image.csv")
    table = read_per_image(tmp_path / "per_image.csv")
    ids, counts = image_counts(table, "segmentation", 3)
    assert ids == ["'=a", "b c", "1"]  # as a spreadsheet may open it
    assert miou(counts.sum(0)) == pytest.approx(summarise(total, CLASSES)["miou"])
    assert image_ious(table)["segmentation"]["b c"] == pytest.approx(miou(counts[1]))
    assert image_counts(table, "seed_fixed", 3)[0] == []


def test_counts_of_a_swept_image_are_those_of_its_cut_masks():
    rng, sweep = np.random.default_rng(0), Sweep(3)
    cam, gt = rng.random((2, 8, 9)).astype(np.float32), rng.integers(0, 4, (8, 9)).astype(np.uint8)
    sweep.add(cam, [0, 2], gt)
    result = sweep.result()
    at = result.index(0.6)
    labels, counts = result.images[0].at(result.rank[at])
    pred = np.where(cam.max(0) > np.float32(0.6), np.array([1, 3])[cam.argmax(0)], 0).astype(np.uint8)
    want = counts_of(confusion(gt, pred, 4))[1]
    assert (counts == want[labels]).all() and want[[k for k in range(4) if k not in labels]].sum() == 0


@pytest.mark.parametrize("content", ["figure,image,label,tp,fp,fn\na,b,0,1,2,3", "figure,image\na,b\n", "figure,image,label,tp,fp,fn\na,b,x,1,2,3\n"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "per_image.csv").write_text(content)
    with pytest.raises(UserError, match="per_image.csv: damaged"):
        read_per_image(tmp_path / "per_image.csv")
