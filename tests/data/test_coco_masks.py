"""Ground-truth masks of COCO: the painter's rule against a slow one, crowds, outlines, resume, the real images."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from coco_tree import HEIGHT, WIDTH, annotation, box, coco_folder, load, runs, save
from wsss.data.coco_paint import Region, cover, examine, paint
from wsss.engine.atomic import read_json, write_json
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.masks import read_mask
from wsss.stages import coco_masks

DATA = os.environ.get("WSSS_TEST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="WSSS_TEST_DATA is not set (real COCO images)")
MINI = Path(DATA or ".") / "coco_mini"
SIZE = (HEIGHT, WIDTH)
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools' own


def region(number, label, segmentation, area, is_crowd=False):
    return Region(number, label, area, is_crowd, json.dumps(segmentation).encode())


# --- the rule


def test_small_over_large_whatever_the_order():
    large, small = region(1, 5, box(0, 0, 20, 20), 400.0), region(2, 7, box(5, 5, 4, 4), 16.0)
    for regions in ([large, small], [small, large]):
        label = paint(regions, SIZE)
        assert label[10, 2] == 5 and label[6, 6] == 7 and label[10, 25] == 0
        assert (label == 7).sum() == 16


def test_equal_areas_go_by_their_ids():
    regions = [region(9, 3, box(0, 0, 10, 10), 100.0), region(4, 2, box(0, 0, 10, 10), 100.0)]
    assert set(np.unique(paint(regions, SIZE))) == {0, 3}


def test_the_areas_are_the_annotations_own():
    inner, outer = region(1, 3, box(5, 5, 4, 4), 1000.0), region(2, 2, box(0, 0, 20, 20), 5.0)
    assert set(np.unique(paint([inner, outer], SIZE))) == {0, 2}


@pytest.mark.parametrize(("crowd", "value"), [("class", 1), ("ignore", 255), ("skip", 0)])
def test_crowds_come_first_and_as_asked(crowd, value):
    regions = [region(1, 1, runs(0, 0, 6, 6), 1.0, is_crowd=True), region(2, 8, box(2, 2, 20, 10), 200.0)]
    label = paint(regions, SIZE, crowd)
    assert label[1, 1] == value and label[4, 4] == 8
    assert (label == 8).sum() == 200  # the crowd, though smaller, covers none of it


def test_parts_of_one_object_are_joined_and_no_annotation_is_background():
    label = paint([region(1, 4, [*box(0, 0, 3, 3), *box(10, 10, 5, 5)], 34.0)], SIZE)
    assert (label == 4).sum() == 9 + 25
    assert not paint([], SIZE).any()


def test_run_length_masks_are_by_columns():
    expected = np.zeros(SIZE, bool)
    expected[3:8, 4:14] = True
    assert (cover(region(1, 1, runs(4, 3, 10, 5), 50.0), SIZE) == expected).all()


def test_polygons_are_cut_at_the_border():
    reaching = [[-6.0, -4.0, 12.0, -4.0, 12.0, 9.0, -6.0, 9.0]]
    assert (
        cover(region(1, 1, reaching, 1.0), SIZE) == cover(region(1, 1, box(0, 0, 12, 9), 1.0), SIZE)
    ).all()
    slanted = np.array([[-3.0, 5.0, 20.0, -6.0, 36.0, 15.0, 11.0, 25.0]])
    wide = cover(region(1, 1, (slanted + 10).tolist(), 1.0), (HEIGHT + 20, WIDTH + 20))[10:-10, 10:-10]
    assert (
        cover(region(1, 1, slanted.tolist(), 1.0), SIZE) != wide
    ).mean() < 0.01  # rounded at the border only


def test_outlines_without_any_pixel_paint_nothing():
    real = [[29.65, 8.33, 29.65, 8.33, 29.68, 8.33, 29.68, 8.33]]  # as annotation 918 of train2017: a line
    assert examine(region(1, 1, real, 0.0), SIZE) == ([], 0.0)
    assert not paint([region(1, 1, real, 0.0)], SIZE).any()


# --- bad outlines


FAULTS = {
    "at least three points": [[1.0, 1.0, 5.0, 5.0]],  # pycocotools would take it for a bounding box
    "list of x, y": [[1.0, 1.0, 5.0, 5.0, 2.0, 3.0, 4.0]],
    "a polygon is not a list": [[1.0, 1.0, "5", 5.0, 2.0, 3.0]],
    "neither polygons nor": [],
    "wholly outside its 30x20 image": [[40.0, 1.0, 45.0, 1.0, 45.0, 9.0]],
    r"reaches to \(1e\+09, 9\), far out": [[1.0, 1.0, 1e9, 1.0, 5.0, 9.0]],
    r"has size \[30, 20\], the image \[20, 30\]": {"counts": [600], "size": [30, 20]},
    "has 599 pixels, the image 600": {"counts": [0, 599], "size": [20, 30]},
    "no list of counts": {"counts": "0000", "size": [20, 30]},
}


@pytest.mark.parametrize("words", FAULTS)
def test_faults_of_one_outline(words):
    faults, overhang = examine(region(1, 1, FAULTS[words], 1.0), SIZE)
    assert len(faults) == 1 and overhang == 0
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(faults[0])


def test_a_number_out_of_range():
    assert "not JSON" in examine(Region(1, 1, 1.0, False, b"[[1e999, 1, 2, 3, 4, 5]]"), SIZE)[0][0]


# --- the stage


@pytest.fixture
def root(tmp_path):
    return coco_folder(tmp_path / "coco")


def task(root, threads=1, crowd="class", downloaded=False):
    inputs = {split: str(root / f"annotations/instances_{split}2017.json") for split in ("train", "val")}
    if downloaded:
        write_json(root.parent / "coco17.json", {"archive": "coco17", "folder": root.name})
        inputs = {"path": str(root.parent / "coco17.json")}
    outputs = {"index": str(root.parent / "masks/index.json")}
    return Task("coco_masks", inputs, outputs, {"settings": {"year": 2017, "crowd": crowd}}, {}, threads)


@pytest.mark.parametrize("downloaded", [False, True])
def test_stage_writes_every_image_and_says_the_rule(root, tmp_path, downloaded):
    coco_masks.run(task(root, downloaded=downloaded))
    index = read_json(tmp_path / "masks/index.json")
    assert index["ids"] == [f"{n:012d}" for n in (9, 25, 30, 42, 73)] and index["crowd"] == "class"
    assert index["year"] == 2017 and index["rule"].endswith("crowds first of all, as their class") and len(index["digest"]) == 64
    first = read_mask(tmp_path / "masks/000000000009.png")
    assert first.shape == SIZE and first[0, 0] == 1 and first[3, 3] == 12 and first[15, 29] == 0
    assert not read_mask(tmp_path / "masks/000000000030.png").any()
    assert (read_mask(tmp_path / "masks/000000000042.png") == 1).all()


def test_digest_is_of_the_pixels(root, tmp_path):
    digests = []
    for threads, crowd in ((1, "class"), (2, "class"), (1, "ignore")):
        coco_masks.run(task(root, threads, crowd))
        digests.append(read_json(tmp_path / "masks/index.json")["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_a_shard_makes_its_own_images_only(root, tmp_path):
    whole = task(root)
    made = set()
    for shard in ("1of3", "2of3", "3of3"):
        outputs = {"index": str(tmp_path / f"masks/shards/{shard}.json")}
        coco_masks.run(Task("coco_masks", whole.inputs, outputs, {**whole.params, "shard": shard}, {}))
        present = {path.stem for path in (tmp_path / "masks").glob("*.png")}
        assert set(read_json(outputs["index"])["digests"]) == present - made
        made = present
    assert made == {f"{n:012d}" for n in (9, 25, 30, 42, 73)}


def test_a_killed_stage_goes_on(root, tmp_path, monkeypatch):
    painted = []
    real = coco_masks.make_mask

    def stopping(image_id, *rest):
        if len(painted) == 2:
            raise RuntimeError("killed")
        painted.append(image_id)
        return real(image_id, *rest)

    monkeypatch.setattr(coco_masks, "make_mask", stopping)
    with pytest.raises(RuntimeError):
        coco_masks.run(task(root))
    assert not (tmp_path / "masks/index.json").exists()
    monkeypatch.setattr(coco_masks, "make_mask", lambda i, *rest: painted.append(i) or real(i, *rest))
    coco_masks.run(task(root))
    assert len(painted) == len(set(painted)) == 5


def test_all_bad_outlines_before_any_mask(root, tmp_path):
    content = load(root)
    content["annotations"] += [annotation(n, 9, 1, box(40, 1, 5, 5), 25.0) for n in (50, 51)]
    save(root, "train", 2017, content)
    with pytest.raises(UserError) as caught:
        coco_masks.run(task(root))
    for number in (50, 51):
        words = f"instances_train2017.json: annotation {number} (image 9): a polygon lies wholly outside its 30x20"
        assert words in str(caught.value)
    assert not (tmp_path / "masks").exists()


def test_polygons_a_little_outside_are_reported_and_cut(root, tmp_path, caplog):
    content = load(root)
    content["annotations"] += [
        annotation(50, 30, 1, box(28.0, 2.0, 2.8, 5), 14.0),  # within a pixel: nothing is said
        annotation(51, 30, 2, box(25.0, 10.0, 9.0, 5), 45.0),
    ]
    save(root, "train", 2017, content)
    coco_masks.run(task(root))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        len(warnings) == 1
        and "annotation 51 (image 30): 4.0 px" in warnings[0]
        and "(1 problem)" in warnings[0]
    )
    label = read_mask(tmp_path / "masks/000000000030.png")
    assert (label == 2).sum() == 25 and (label == 1).sum() == 10


# --- real images


def slow_painter(official, number, size_hw):
    """Pixel by pixel: of the annotations that cover it, the topmost by the written rule; official rasteriser."""
    annotations = official.loadAnns(official.getAnnIds(imgIds=[number]))
    order = {category: k for k, category in enumerate(sorted(official.getCatIds()), 1)}
    covers = [(official.annToMask(a), a) for a in annotations]
    label = np.zeros(size_hw, np.uint8)
    for y, x in np.argwhere(sum((mask for mask, _ in covers), np.zeros(size_hw, int)) > 0):
        there = [a for mask, a in covers if mask[y, x]]
        objects = [a for a in there if not a["iscrowd"]] or there
        least = min(a["area"] for a in objects)
        top = max((a for a in objects if a["area"] == least), key=lambda a: a["id"])
        label[y, x] = order[top["category_id"]]
    return label


@needs_data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_masks_against_the_slow_painter(split, tmp_path):
    from pycocotools.coco import COCO

    inputs = {s: str(MINI / f"annotations/instances_{s}2017.json") for s in ("train", "val")}
    outputs = {"index": str(tmp_path / "masks/index.json")}
    coco_masks.run(Task("coco_masks", inputs, outputs, {"settings": {"year": 2017, "crowd": "class"}}, {}))
    assert len(read_json(outputs["index"])["ids"]) == 160
    official = COCO(inputs[split])
    crowded = [a["image_id"] for a in official.dataset["annotations"] if a["iscrowd"]]
    for number in [*sorted(set(crowded))[:2], *sorted(official.getImgIds())[:2]]:
        entry = official.loadImgs([number])[0]
        ours = read_mask(tmp_path / f"masks/{number:012d}.png")
        assert (ours == slow_painter(official, number, (entry["height"], entry["width"]))).all(), number
