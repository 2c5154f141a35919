"""What a classifier makes of photos it has not trained on: figures, which photos, and the file it leaves."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import Chain, folder_dataset
from PIL import Image
from wsss.data import folder as builder
from wsss.data.held_out import hold_out, sample
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.score.ranking import average_precision, guess_loss, mean_average_precision, mean_f1, soft_margin
from wsss.stages import classifier
from wsss.train.classifier_check import ENOUGH, FEW, LEAST_VAL, Whole, split_for_check
from wsss.train.cross_fit import FOLDS, PENALTY, cross_fitted, folds_of


def slow_average_precision(scores, truth):
    """Every threshold by itself: precision there times the recall it adds."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        recall = (said & (truth > 0)).sum() / truth.sum()
        total += (recall - before) * (said & (truth > 0)).sum() / said.sum()
        before = recall
    return total


def test_average_precision_by_hand():
    assert average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([0.1, 0.2, 0.3]), np.array([1, 0, 0])) == pytest.approx(1 / 3)
    assert average_precision(np.zeros(4), np.array([1, 0, 0, 0])) == pytest.approx(0.25)  # all equal: as guessing


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_as_the_slow_way(seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, 8, 40) / 8, rng.integers(0, 2, 40)
    assert average_precision(scores, truth) == pytest.approx(slow_average_precision(scores, truth))


def test_a_class_of_all_photos_or_none_has_no_rank():
    scores, y = np.array([[0.9, 1, 0], [0.1, 2, 0], [0.2, 3, 0]]), np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert mean_average_precision(scores, y) == (100.0, pytest.approx(100 / 3), 1)
    assert mean_average_precision(scores[:, 1:], y[:, 1:]) == (None, None, 0)


def test_f1_by_hand():
    logits, y = np.array([[1.0, -1, -1], [2, 1, -1], [-1, -2, -3]]), np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    # class 0: TP 1, FP 1, FN 1; class 1: TP 1, FN 1; class 2: nowhere, so it has none
    assert mean_f1(logits, y) == pytest.approx(100 * (2 / 4 + 2 / 3) / 2)
    assert mean_f1(-np.ones((2, 1)), np.zeros((2, 1))) is None


def test_losses_by_hand():
    logits, y = np.array([[2.0, -1.0]], np.float32), np.array([[1, 0]], np.float32)
    expected = torch.nn.functional.multilabel_soft_margin_loss(torch.tensor(logits), torch.tensor(y))
    assert soft_margin(logits, y) == pytest.approx(float(expected))
    training = np.array([[1], [0], [0]])  # (1 + 1) / (3 + 2) = 0.4
    assert guess_loss(training, np.array([[1], [0]])) == pytest.approx(-(np.log(0.4) + np.log(0.6)) / 2)


def records(count, classes=2):
    return [Record(f"p{i}", ("train", "trainaug"), (i % classes,), "", ("", "", "", "")) for i in range(count)]


def test_held_out_is_a_function_of_the_ids_and_keeps_every_class():
    photos = [*records(20), Record("rare", ("trainaug",), (7,), "", ("", "", "", ""))]
    held = hold_out(photos, 0.3, 0)
    assert len(held) == 6 and "rare" not in {r.id for r in held}
    assert {r.id for r in hold_out(photos[::-1], 0.3, 0)} == {r.id for r in held}
    assert {r.id for r in hold_out(photos, 0.3, 1)} != {r.id for r in held}
    held = hold_out(records(60, 20), 0.2, 0)  # twenty classes of three photos
    assert held and max(Counter(r.labels for r in held).values()) == 1
    assert not hold_out(records(60, 30), 0.2, 0)  # of two


def test_sample_keeps_the_order():
    chosen = sample(records(50), 10, 0)
    assert len(chosen) == 10 and chosen == [r for r in records(50) if r in chosen]
    assert sample(records(5), 10, 0) == records(5)


def test_cross_fit_scores_each_photo_without_itself():
    """A feature that is the label tells it; one that only names the photo tells nothing, however well it would fit."""
    y = torch.arange(40)[:, None] % 2
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    telling = cross_fitted(torch.cat([y + 0.1 * noise[:, :1], noise], 1), y.float())
    assert mean_average_precision(telling.numpy(), y.numpy())[0] > 95
    naming = cross_fitted(torch.eye(40), y.float())
    assert soft_margin(naming.numpy(), y.numpy()) > 0.9 * guess_loss(y.numpy(), y.numpy())


def test_cross_fit_is_the_best_fit_of_the_other_folds():
    """At the least sum the gradient vanishes: checked with weights found again from the logits."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 3, generator=generator).double(), torch.randint(0, 2, (60, 2), generator=generator)
    fold, logits = folds_of(y.float()), cross_fitted(x, y.float())
    for number in range(FOLDS):
        inside, out = fold == number, fold != number
        mean, scale = x[out].mean(0), (x[out].std(0, correction=0) + 1e-6) * 3**0.5
        rows = torch.cat([(x - mean) / scale, torch.ones(60, 1)], 1)
        weights = torch.linalg.lstsq(rows[inside], logits[inside]).solution
        slope = rows[out].T @ ((rows[out] @ weights).sigmoid() - y[out]) + PENALTY * weights
        assert slope.abs().max() < 1e-3


def test_folds_share_out_the_rarest_class():
    y = torch.zeros(50, 2)
    y[:, 0] = 1
    y[:5, 1] = 1
    fold = folds_of(y)
    assert sorted(fold[:5].tolist()) == list(range(FOLDS)) and torch.bincount(fold).tolist() == [10] * FOLDS


def planned(train, val=0, share=0.2, weights=True, image_logits=True, classes=2):
    photos = tuple(records(train, classes))
    others = tuple(Record(f"v{i}", ("val",), (0,), "", ("", "", "", "")) for i in range(val))
    dataset = Dataset("own", None, ("a", "b"), photos + others, False, "")
    inputs = {"weights": "w"} if weights else {}
    params = {"seed": 0, "recipe": {"net": "amn"}}
    task = SimpleNamespace(params=params, inputs=inputs)
    return split_for_check(task, dataset, photos, image_logits, share)


def test_how_photos_are_found_to_check_on():
    assert planned(200, LEAST_VAL).how == "val" and len(planned(200, LEAST_VAL).training) == 200
    held = planned(FEW)
    assert held.how == "held_out" and len(held.checked) == 20 and len(held.training) == 80
    assert not {r.id for r in held.training} & {r.id for r in held.checked}
    many = planned(2000)
    assert len(many.checked) == ENOUGH and len(many.training) == 2000 - ENOUGH  # a fifth would be 400
    assert planned(120, classes=60).how == "cross_fit"  # two photos a class: none can be spared
    few = planned(FEW - 1)
    assert few.how == "cross_fit" and len(few.training) == len(few.checked) == FEW - 1
    assert planned(200, share=0).how == "cross_fit"  # free of cost to the training
    assert planned(40, val=5, weights=False).how == "val"


def test_where_nothing_can_be_checked_the_reason_is_given():
    assert "no pretrained weights" in planned(40, weights=False).why
    assert "too few" in planned(3).why
    none = planned(200, image_logits=False)
    assert none.how == "none" and len(none.training) == 200 and "amn says nothing of whole images" in none.why


def test_a_photo_is_seen_whole(tmp_path):
    Image.fromarray(np.full((20, 40, 3), 255, np.uint8)).save(tmp_path / "p.png")
    seen = Whole([Record("p", (), (), str(tmp_path), ("p.png", "", "", ""))], 80)[0]
    filled = seen[0] != 0
    assert seen.shape == (3, 80, 80) and int(filled.sum()) == 40 * 80
    assert bool(filled[20:60].all())  # in the middle, the mean colour above and below


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Six photos to train on, without val or weights."""
    return folder_dataset(tmp_path_factory.mktemp("check") / "own")


def test_a_training_leaves_its_check(results):
    folder = Chain(results, steps=3).run("classifier")
    found = json.loads((folder / "check.json").read_text())
    assert found["how"] == "none" and "no pretrained weights" in found["why"]
    assert found["trained"] | {"last_loss": 0} == {
        "photos": 6, "steps": 3, "batch_size": 4, "passes": 2.0, "last_loss": 0, "unlabelled": 0,
        "photos_of": {"red": 3, "green": 3}, "alone_in": {"red": 3, "green": 3},
    }  # fmt: skip
    losses = np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1)[:, 2]
    assert found["trained"]["last_loss"] == pytest.approx(losses.mean(), abs=1e-4)
    assert json.loads((folder / "run.json").read_text())["diagnosis"]["how"] == "none"


def test_val_photos_are_looked_at_and_cost_the_training_nothing(results, tmp_path):
    """The same model to the byte, whether there is a val split to look at or not."""
    lines = (results.parent / "labels.csv").read_text().splitlines()
    rows = [f"{line},{'val' if number >= 4 else 'train'}" for number, line in enumerate(lines[1:])]

    def built(name, kept):
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,labels,split", *kept]) + "\n")
        params = {"images": str(results.parent / "images"), "labels": str(tmp_path / f"{name}.csv"), "classes": ["red", "green"]}
        builder.build(params, tmp_path / name)
        return Chain(tmp_path / name, steps=3).run("classifier")

    with_val, without = built("with", rows), built("without", rows[:4])
    found = json.loads((with_val / "check.json").read_text())
    assert found["how"] == "val" and found["photos"] == 2 and found["training"]["photos"] == 4
    assert found["map"] is not None and found["loss"] > 0 and found["classes"] == 2
    for name in ("model.safetensors", "history.csv"):
        assert (with_val / name).read_bytes() == (without / name).read_bytes()


def test_what_is_held_out_is_not_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr("wsss.train.classifier_check.FEW", 10)
    results = folder_dataset(tmp_path / "own", sizes=((32, 32),) * 12)
    chain = Chain(results)
    task = chain.task("classifier")
    task.params["settings"] = {**task.settings, "held_out": 0.25}
    seen = set()
    item = classifier.TrainingSet.__getitem__

    def watched(self, key):
        sampled = item(self, key)
        seen.add(sampled["id"])
        assert len(self) == 9
        return sampled

    monkeypatch.setattr(classifier.TrainingSet, "__getitem__", watched)
    classifier.run(task)
    found = json.loads((task.folder / "check.json").read_text())
    assert (found["how"], found["photos"], found["trained"]["photos"]) == ("held_out", 3, 9)
    held = {r.id for r in hold_out(load_manifest(results / "manifest.csv").split("trainaug"), 0.25, 0)}
    assert len(held) == 3 and not held & seen


def test_amn_says_that_it_has_none(results):
    Chain(results).run("classifier")
    cam = Chain(results)
    cam.run("cam", {"model": "classifier/model.safetensors"})
    cam.run("seeds", {"cam": "cam/index.json"})
    cam.run("ir_labels", {"seeds": "seeds/index.json"})
    folder = Chain(results, "amn").run("classifier", {"ir_labels": "ir_labels/index.json"}, into="amn")
    found = json.loads((folder / "check.json").read_text())
    assert found["how"] == "none" and "says nothing of whole images" in found["why"] and found["trained"]["steps"] == 2
