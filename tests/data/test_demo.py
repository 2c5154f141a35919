"""The demo: the same bytes from the same seed, exact masks, small marks, mediocre saliency."""

import hashlib
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from wsss.data import demo
from wsss.data.demo_scene import SUPER, _area, _majority, make_scene
from wsss.data.demo_shapes import SHAPES
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.masks import read_mask

SMALL = {"seed": 0, "train": 4, "val": 2, "size": 96, "version": "1"}
# sha256 of the pictures and label maps of SMALL before any file format: version 1 is frozen
GOLDEN = "6e3ca5aad050fe14e2b22842069bc99a94329fa858a44a2e8260bf7a8549c68f"


@pytest.fixture(scope="module")
def many():
    """120 scenes of the default size."""
    return [item for _, *item in demo.scenes({**SMALL, "train": 120, "size": 128}, "train")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "VOC2012"
    demo.generate(root, SMALL)
    return root


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_golden():
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for image_id, scene, _ in demo.scenes(SMALL, split):
            digest.update(image_id.encode() + scene.image.tobytes() + scene.label_map.tobytes())
    assert digest.hexdigest() == GOLDEN


def test_same_seed_same_bytes_other_seed_other_bytes(tree, tmp_path):
    demo.generate(tmp_path / "again", SMALL)
    assert files(tree) == files(tmp_path / "again")
    demo.generate(tmp_path / "other", {**SMALL, "seed": 1})
    assert not set(files(tree).values()) & set(files(tmp_path / "other").values()) - list_files(tree)


def list_files(root):
    return {path.read_bytes() for path in (root / "ImageSets/Segmentation").iterdir()}


def test_an_image_does_not_depend_on_how_many_there_are():
    few, more = (list(demo.scenes({**SMALL, "train": n}, "train")) for n in (2, 4))
    for (_, a, sal_a), (_, b, sal_b) in zip(few, more, strict=False):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(sal_a, sal_b)


def test_tree_is_voc(tree):
    lists = {path.stem: path.read_text().split() for path in (tree / "ImageSets/Segmentation").iterdir()}
    assert lists["train"] == lists["train_aug"] == [f"train_{n:04d}" for n in range(4)]
    assert lists["val"] == ["val_0000", "val_0001"]
    for image_id in lists["train"] + lists["val"]:
        image = read_image(tree / f"JPEGImages/{image_id}.jpg")
        mask = read_mask(tree / f"SegmentationClass/{image_id}.png")
        with Image.open(tree / f"SALImages/{image_id}.png") as saliency:
            assert saliency.mode == "L" and saliency.size == image.shape[1::-1]
        names = {node.text for node in ElementTree.parse(tree / f"Annotations/{image_id}.xml").iter("name")}
        assert mask.shape == image.shape[:2]
        assert names == {demo.CLASSES[value - 1] for value in np.unique(mask) if value}


def test_build_goes_through_the_voc_reader(tmp_path):
    dataset = demo.build({**SMALL, "name": "demo"}, tmp_path)
    assert dataset.name == "demo" and dataset.classes == demo.CLASSES and len(dataset.classes) == 6
    assert (
        len(dataset.split("trainaug")) == len(dataset.split("train")) == 4 and len(dataset.split("val")) == 2
    )
    for record in dataset.records:
        present = set(np.unique(read_mask(record.mask))) - {0}
        assert present == {label + 1 for label in record.labels}
    assert all(record.saliency for record in dataset.split("trainaug"))
    again = demo.build({**SMALL, "name": "demo"}, tmp_path)
    assert again == dataset and not list(tmp_path.glob(".*"))


def test_another_version_is_refused(tmp_path):
    with pytest.raises(UserError, match="version"):
        demo.generate(tmp_path / "x", {**SMALL, "version": "0"})
    assert not (tmp_path / "x").exists()


def test_label_statistics(many):
    counts = np.zeros(len(demo.CLASSES))
    for scene, _ in many:
        assert 1 <= len(scene.labels) <= 3
        counts[list(set(scene.labels))] += 1
    assert counts.min() >= 0.12 * len(many) and counts.max() <= 0.45 * len(many)
    foreground = np.mean([(scene.owner > 0).mean() for scene, _ in many])
    assert 0.1 < foreground < 0.35
    sides = np.array([scene.image.shape[:2] for scene, _ in many])
    assert sides.min() >= 112 and sides.max() <= 144 and len(np.unique(sides)) > 20


def test_every_object_shows_its_mark_and_more_body_than_mark(many):
    shares = []
    for scene, _ in many:
        for number in range(1, len(scene.labels) + 1):
            visible = scene.owner == number
            mark = (visible & scene.mark).sum()
            assert mark >= 40 and visible.sum() > 2 * mark
            shares.append(mark / visible.sum())
    assert 0.1 < np.mean(shares) < 0.2


def test_mark_share_of_the_outlines():
    for shape in SHAPES.values():
        body = sum(part.area for part in shape.parts if part.kind == "body")
        assert 0.1 <= shape.mark.area / body <= 0.2
        assert [part.kind for part in shape.parts].count("mark") == 1


def test_majority_is_by_area():
    rng = np.random.default_rng(3)
    owner = cv2.resize(rng.integers(0, 3, (5, 6), dtype=np.uint8), (24 * SUPER, 20 * SUPER), interpolation=0)
    owner = np.roll(owner, (1, 2), (0, 1))
    label = _majority(owner, 2)
    for y, x in np.ndindex(label.shape):
        cell = owner[y * SUPER : (y + 1) * SUPER, x * SUPER : (x + 1) * SUPER]
        assert label[y, x] == np.bincount(cell.ravel()).argmax()
    np.testing.assert_allclose(
        _area(owner == 1), cv2.resize(np.float64(owner == 1), (24, 20), interpolation=3)
    )


def test_masks_lie_on_the_edges_of_the_picture(many):
    """Where a mask has its border the picture changes more than elsewhere; 3 px aside less so."""
    on, shifted = [], []
    for scene, _ in many:
        gray = scene.image.mean(2)
        change = np.hypot(*np.gradient(gray))
        label = scene.label_map.astype(int)
        border = (np.abs(np.gradient(label)[0]) + np.abs(np.gradient(label)[1])) > 0
        on.append(change[border].mean() / change.mean())
        shifted.append(change[np.roll(border, (3, 3), (0, 1))].mean() / change.mean())
    assert np.mean(on) > 2 and np.mean(on) > 1.4 * np.mean(shifted)


def test_saliency_is_useful_and_imperfect(many):
    truth = np.concatenate([(scene.owner > 0).ravel() for scene, _ in many])
    found = np.concatenate([(saliency > 127).ravel() for _, saliency in many])
    iou = (truth & found).sum() / (truth | found).sum()
    assert 0.58 < iou < 0.72
    missed = [(saliency[scene.owner > 0] > 127).mean() < 0.3 for scene, saliency in many]
    false = [(saliency[scene.owner == 0] > 127).mean() > 0.01 for scene, saliency in many]
    assert 0 < np.mean(missed) < 0.3 and 0.1 < np.mean(false) < 0.7


def test_rails_come_with_trains_only(monkeypatch):
    from wsss.data import demo_scene

    drawn = []
    rails = demo_scene._rails
    monkeypatch.setattr(demo_scene, "_rails", lambda *arguments: drawn.append(1) or rails(*arguments))
    for number in range(30):
        drawn.clear()
        scene = make_scene(np.random.default_rng(number), 96)
        assert len(drawn) == scene.labels.count(demo.CLASSES.index("train"))
