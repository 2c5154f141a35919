"""A folder of the user's own photos through the segmentation network: files, areas, odd images, resume, planning."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from helpers import REPOSITORY, RUNTIME, Chain, copy_project, folder_dataset, snakemake
from PIL import Image
from wsss.constants import LONG_SIDE
from wsss.data.photos import find_photos, photo_source
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.masks import VOC_PALETTE
from wsss.io.models import save_model
from wsss.plan.photos import Photos, inputs
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.stages import predict, predictions
from wsss.stages.segmentation import build_network

CRF = {
    "iterations": 2, "sxy_gaussian": 1, "compat_gaussian": 3, "sxy_bilateral": 67, "srgb": 3, "compat_bilateral": 4,
}  # fmt: skip
SETTINGS = {"scales": [0.5, 1.0], "flip": True, "batch_size": 4, "crf": False}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A dataset of two classes, and a segmentation network as it was drawn."""
    made = Chain(folder_dataset(tmp_path_factory.mktemp("own"), sizes=((48, 64),) * 2, masks=True))
    task = made.task("predictions")
    network = build_network(task, 2)
    save_model(made.results / "model.safetensors", network)
    return made


def photo(path, size_hw=(40, 56), seed=0, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def task_of(chain, folder, out, long_side=LONG_SIDE, stamp="0", threads=1, **settings):
    files = {"dataset": chain.results / "dataset.json", "model": chain.results / "model.safetensors"}
    params = {
        **chain.plan.params("predictions", chain.row),
        "settings": {**SETTINGS, **settings},
        "photos": {"folder": str(folder), "long_side": long_side},
        "stamp": stamp,
    }
    outputs = {"index": str(out / "index.json"), "areas": str(out / "areas.csv")}
    return Task("predict", {k: str(v) for k, v in files.items()}, outputs, params, RUNTIME, threads)


def areas(out):
    with open(out / "areas.csv", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_masks_overlays_and_areas(chain, tmp_path):
    photo(tmp_path / "photos/a b ü.jpg")
    photo(tmp_path / "photos/trip/one.PNG", (33, 47), seed=1)
    (tmp_path / "photos/notes.txt").write_text("no image")
    (tmp_path / "photos/.hidden.jpg").write_text("no image")
    out = tmp_path / "out"
    predict.run(task_of(chain, tmp_path / "photos", out))
    mask = Image.open(out / "trip__one.png")
    assert mask.mode == "P" and mask.size == (47, 33) and mask.getpalette()[:768] == VOC_PALETTE.ravel().tolist()
    assert Image.open(out / "a b ü.overlay.jpg").size == (56, 40)
    rows = areas(out)
    assert [(r["image"], r["class"]) for r in rows] == [
        (name, label) for name in ("a b ü.jpg", "trip/one.PNG") for label in ("background", "red", "green")
    ]
    for image_id in ("a b ü", "trip__one"):
        label = np.array(Image.open(out / f"{image_id}.png"))
        own = [r for r in rows if r["id"] == image_id]
        assert [int(r["pixels"]) for r in own] == [int((label == k).sum()) for k in range(3)]
        assert sum(float(r["share"]) for r in own) == pytest.approx(1, abs=2e-6)
    assert rows[1]["colour"] == "#800000" and rows[1]["index"] == "1"
    assert json.loads((out / "index.json").read_text())["ids"] == ["a b ü", "trip__one"]


def test_masks_are_those_of_the_stage_predictions(chain, tmp_path):
    """Multi-scale, flips and the CRF are the recipe's: the dataset's own images come out alike, if their labels are not used."""
    settings = {**SETTINGS, "batch_size": 1, "known_labels": False, "crf": True, "crf_params": CRF}
    task = chain.task("predictions", {"model": "model.safetensors"}, into="masks", settings=settings)
    predictions.run(task)
    predict.run(task_of(chain, chain.results.parent / "images", tmp_path, crf=True, crf_params=CRF))
    ids = [p.stem for p in sorted((chain.results.parent / "images").iterdir())]
    assert len(ids) == 2
    for image_id in ids:
        assert (tmp_path / f"{image_id}.png").read_bytes() == (task.folder / f"{image_id}.png").read_bytes()
    assert not list(tmp_path.glob("*.nocrf.png"))


def test_a_large_photo_is_seen_small_and_masked_large(chain, tmp_path):
    photo(tmp_path / "photos/big.jpg", (90, 150))
    photo(tmp_path / "photos/small.jpg", (20, 30))
    predict.run(task_of(chain, tmp_path / "photos", tmp_path / "out", long_side=50))
    assert Image.open(tmp_path / "out/big.png").size == (150, 90)
    assert Image.open(tmp_path / "out/big.overlay.jpg").size == (50, 30)
    assert Image.open(tmp_path / "out/small.png").size == Image.open(tmp_path / "out/small.overlay.jpg").size == (30, 20)
    seen = predict.Photo("big", "big.jpg", tmp_path / "photos/big.jpg", 50).read()
    assert seen.shape == (30, 50, 3)


def test_odd_photos_are_read_as_in_a_dataset(chain, tmp_path):
    folder = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    photo(folder / "turned.jpg", (40, 56), exif=exif)
    photo(folder / "grey.png", mode="L")
    photo(folder / "cmyk.jpg", mode="CMYK")
    photo(folder / "palette.png", mode="P")
    photo(folder / "one.bmp", (1, 1))
    predict.run(task_of(chain, folder, tmp_path / "out"))
    assert Image.open(tmp_path / "out/turned.png").size == (40, 56)
    assert Image.open(tmp_path / "out/one.png").size == (1, 1)
    assert len(areas(tmp_path / "out")) == 5 * 3


def test_bad_photos_are_all_named_before_any_is_predicted(chain, tmp_path):
    good = photo(tmp_path / "photos/good.jpg")
    (tmp_path / "photos/cut.jpg").write_bytes(good.read_bytes()[:300])
    (tmp_path / "photos/empty.png").touch()
    with pytest.raises(UserError) as error:
        predict.run(task_of(chain, tmp_path / "photos", tmp_path / "out"))
    assert "cut.jpg" in str(error.value) and "empty.png" in str(error.value) and "good.jpg" not in str(error.value)
    assert not (tmp_path / "out/areas.csv").exists() and not (tmp_path / "out/good.png").exists()


def test_a_stopped_run_goes_on(chain, tmp_path, monkeypatch):
    for n in range(3):
        photo(tmp_path / f"photos/{n}.jpg", seed=n)
    predict.run(task_of(chain, tmp_path / "photos", tmp_path / "whole"))
    made, original = [], predict.write_photo

    def stop_at_the_second(folder, shot, *rest):
        if len(made) == 1:
            raise KeyboardInterrupt
        original(folder, shot, *rest)
        made.append(shot.id)

    monkeypatch.setattr(predict, "write_photo", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        predict.run(task_of(chain, tmp_path / "photos", tmp_path / "out"))
    made.extend(["no", "limit"])
    predict.run(task_of(chain, tmp_path / "photos", tmp_path / "out"))
    assert made == ["0", "no", "limit", "1", "2"]
    for path in (tmp_path / "whole").iterdir():
        assert path.name == "run.json" or path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


# --- planning


def test_a_folder_is_checked_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="no such folder; mend `predict`"):
        find_photos(tmp_path / "none")
    with pytest.raises(UserError, match="holds no image"):
        find_photos(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="a.txt: is a file, not a folder"):
        find_photos(tmp_path / "a.txt")
    photo(tmp_path / "x/a.jpg")
    photo(tmp_path / "x/a.png")
    photo(tmp_path / "x/b.nocrf.png")
    with pytest.raises(UserError) as error:
        find_photos(tmp_path / "x")
    assert "a.jpg would have the same id" in str(error.value) and "b.nocrf.png: its id" in str(error.value)


def test_results_in_place_of_photos_are_told_as_such(tmp_path, monkeypatch):
    """In one line: masks of stages are no photos, and each of them could be named for its id."""
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "results/demo_tiny/full/seeds/a.unsure.png")
    main = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()) | {"predict": {"trip": "results"}}
    with pytest.raises(UserError, match="results: photos and their masks, which go to results/demo_tiny/full/predict/trip, must lie apart"):
        inputs(Plan(REPOSITORY / "config", main), Photos(Row("demo_tiny", "full"), "trip"))


def test_entries_of_predict():
    known = {"trip": "photos", "big": {"folder": "more", "long_side": 500}}
    assert photo_source(known, "trip") == {"folder": "photos", "long_side": LONG_SIDE}
    assert photo_source(known, "big") == {"folder": "more", "long_side": 500}
    with pytest.raises(UserError, match="no folder called 'x' in config/config.yaml.*known: big, trip"):
        photo_source(known, "x")


def test_the_workflow_plans_it_and_says_what_is_wrong(tmp_path):
    project = copy_project(tmp_path / "clone")
    target = "results/demo_tiny/cam/predict/trip/areas.csv"
    photo(tmp_path / "my photos $(x)/a.jpg")
    config = ["--config", f"predict={{trip: {json.dumps(str(tmp_path / 'my photos $(x)'))}}}"]
    done = snakemake(project, "-n", target, *config)
    assert done.returncode == 0 and "predict " in done.stdout, done.stdout[-2000:]
    shutil.rmtree(tmp_path / "my photos $(x)")
    done = snakemake(project, "-n", target, *config)
    assert done.returncode != 0 and "no such folder; mend `predict`" in done.stdout


def test_pictures_of_other_kinds_are_said(chain, tmp_path, caplog):
    photo(tmp_path / "photos/a.png")
    (tmp_path / "photos/b.DNG").write_bytes(b"a camera's")
    (tmp_path / "photos/notes.txt").write_text("no picture")
    predict.run(task_of(chain, tmp_path / "photos", tmp_path / "out"))
    assert "1 pictures of other kinds are left out (b.DNG); save them as JPEG or PNG" in caplog.text
    photo(tmp_path / "odd/a\nb.png")
    with pytest.raises(UserError, match="a<U\\+000A>b.png: its id"):
        find_photos(tmp_path / "odd")
