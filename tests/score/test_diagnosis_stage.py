"""The stages' own words when they end, and the stage `diagnosis` over what a method made. Masks are made by hand."""

import json
import logging

import numpy as np
import pytest
from helpers import Chain, folder_dataset
from wsss.data.digests import masks_digest
from wsss.data.manifest import load_manifest
from wsss.engine.per_image import run_images
from wsss.engine.task import Task
from wsss.io.masks import write_mask
from wsss.plan.code_digest import LEFT_OUT, closure
from wsss.score.self_report import about_masks
from wsss.stages import diagnosis, ir_labels

SIZE = (16, 24)


@pytest.fixture
def results(tmp_path):
    return folder_dataset(tmp_path / "own", sizes=(SIZE,) * 6)


def records(results):
    return load_manifest(results / "manifest.csv").split("trainaug")


def half(record):
    """The left half is the photo's class."""
    mask = np.zeros(SIZE, np.uint8)
    mask[:, : SIZE[1] // 2] = record.labels[0] + 1
    return mask


def whole(record):
    return np.full(SIZE, record.labels[0] + 1, np.uint8)


def task_of(results, stage, shard=None):
    output = results / "amn" / stage / (f"shards/{shard}.json" if shard else "index.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    params = {"settings": {}, **({"shard": shard} if shard else {})}
    return Task(stage, {"manifest": str(results / "manifest.csv")}, {"index": str(output)}, params, {})


def made(results, stage, mask, suffixes=(".png",), shard=None):
    """A stage's files with `mask(record)` as every one of them; returns its folder."""
    task, photos = task_of(results, stage, shard), records(results)

    def work(todo):
        for record in photos:
            for suffix in suffixes:
                write_mask(task.folder / f"{record.id}{suffix}", mask(record))
            yield record.id

    cut = {"key": "seeds.confident", "kind": "const", "value": 0.3}
    told = about_masks(task, photos, ("red", "green"), cut=cut)
    run_images(task, [r.id for r in photos], list(suffixes), work, diagnose=told)
    return task.folder


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_stage_ends_with_its_facts(results, caplog):
    folder = made(results, "seeds", half)
    found = json.loads((folder / "run.json").read_text())["diagnosis"]
    assert (found["photos"], found["of"], found["foreground"], found["warnings"]) == (6, 6, 50.0, [])
    assert found["found"] == {"red": 100.0, "green": 100.0} and said(caplog) == []
    assert "diagnosis" not in json.loads((folder / "index.json").read_text())  # no word of it reaches another stage


def test_a_stage_warns_in_one_line(results, caplog):
    folder = made(results, "seeds", whole)
    (line,) = said(caplog)
    assert line.startswith("amn/seeds: masks of seeds cover 100 % of the pixels") and "seeds.confident.value above 0.3" in line
    assert "\n" not in line and json.loads((folder / "run.json").read_text())["diagnosis"]["warnings"] == [line.split(": ", 1)[1]]


def test_a_part_of_the_images_warns_of_nothing(results, caplog):
    made(results, "seeds", whole, shard="1of2")
    record = json.loads((results / "amn/seeds/shards/1of2.run.json").read_text())["diagnosis"]
    assert record["all_foreground"] == 100.0 and "warnings" not in record and said(caplog) == []


def test_ir_labels_say_how_much_is_unsure(results, caplog):
    """Through the stage itself: where confident says background and unsure the class, the merge is unsure."""
    made(results, "seeds", lambda record: np.zeros(SIZE, np.uint8), (".png", ".unsure.png"))
    for record in records(results):
        write_mask(results / f"amn/seeds/{record.id}.unsure.png", whole(record))
    caplog.clear()
    task = task_of(results, "ir_labels")
    task.inputs["seeds"] = str(results / "amn/seeds/index.json")
    ir_labels.run(task)
    found = json.loads((task.folder / "run.json").read_text())["diagnosis"]
    assert found["unsure"] == 100.0
    assert [line for line in said(caplog) if "unsure" in line and "seeds.unsure" in line]


def diagnosed(results, check=None, indexes=None, **inputs):
    files = {"manifest": str(results / "manifest.csv"), "dataset": str(results / "dataset.json")}
    files |= {name: str(results / f"amn/{name}/index.json") for name in inputs}
    for name, mask in inputs.items():
        made(results, name, mask)
    for name, told in (indexes or {}).items():
        index = results / f"amn/{name}/index.json"
        index.write_text(json.dumps({**json.loads(index.read_text()), **told}))
    for owner, content in (check or {}).items():
        (results / f"{owner}.json").write_text(json.dumps(content))
        files[f"check1_{owner}"] = str(results / f"{owner}.json")
    outputs = {"diagnosis": str(results / "amn/diagnosis.json"), "text": str(results / "amn/diagnosis.txt")}
    params = {"recipe": {"method": "amn"}, "bg": {"kind": "const", "value": 0.15}}
    diagnosis.run(Task("diagnosis", files, outputs, params, {}))
    return json.loads((results / "amn/diagnosis.json").read_text())


FIGURES = {"photos": 6, "classes": 2, "loss": 0.66, "guess_loss": 0.69, "map": 55.0, "guess_map": 50.0, "f1": 61.0}
UNLEARNED = {
    "how": "cross_fit", **FIGURES, "map": 90.0, "loss": 0.3, "training": FIGURES,
    "trained": {"photos": 6, "steps": 16, "batch_size": 4, "passes": 10.0, "photos_of": {"red": 3, "green": 3}},
}  # fmt: skip
NONE = {"how": "none", "why": "net amn says nothing of whole images", "trained": UNLEARNED["trained"], "training": {}}


def test_diagnosis_compares_stages_and_finds_the_cause_in_the_chain(results, caplog):
    """AMN's own classifier has no check: that of the recipe it rests on says why its masks cover everything."""
    found = diagnosed(results, {"amn": NONE, "cam": UNLEARNED}, seeds=half, pseudo_masks=whole, predictions=whole)
    assert [(p["of"], p["miou"], p["photos"]) for p in found["agreement"]] == [
        (["seeds", "pseudo_masks"], pytest.approx(100 * (0.5 + 0.5 + 0) / 3, abs=0.01), 6),  # background in one of them only
        (["pseudo_masks", "predictions"], 100.0, 6),
    ]
    assert found["classifier"]["of"] == "cam" and set(found["classifiers"]) == {"amn", "cam"}
    first = found["warnings"][0]
    assert "pseudo_masks cover 100 % (predictions 100 %)" in first and "(cam) loss is 0.66" in first and "classifier.steps" in first
    last = said(caplog)[-1]
    assert last.startswith(f"own/amn: {len(found['warnings'])} warning") and "diagnosis.txt" in last and first in last
    assert first in (results / "amn/diagnosis.txt").read_text()


@pytest.mark.parametrize("method", ["seam", "seam.seed1"])
def test_a_method_is_judged_by_its_own_classifier_whatever_the_seed(method):
    chosen = diagnosis.chosen_check({"cam": UNLEARNED, "seam": {**UNLEARNED, "loss": 0.1}}, method)
    assert (chosen["of"], chosen["loss"]) == ("seam", 0.1)


def test_a_sound_method_ends_without_a_line(results, caplog):
    found = diagnosed(results, seeds=half, pseudo_masks=half)
    assert found["warnings"] == [] and found["classifier"] is None and said(caplog) == []
    assert "no warnings" in (results / "amn/diagnosis.txt").read_text()


def test_masks_are_told_with_the_cut_that_their_index_says(results):
    cut = {"kind": "const", "value": 0.3, "shift": 0.1}
    indexes = {"seeds": {"confident": cut}, "pseudo_masks": {"bg": cut, "refine": "crf"}}
    found = diagnosed(results, indexes=indexes, seeds=half, pseudo_masks=half)["stages"]
    assert found["seeds"]["cut"] == found["pseudo_masks"]["cut"] == {"key": "seeds.confident", **cut}, "masks of a CRF are the confident seeds"
    found = diagnosed(results, indexes={"pseudo_masks": {"bg": cut, "refine": "irn"}}, seeds=half, pseudo_masks=half)["stages"]
    assert found["pseudo_masks"]["cut"]["key"] == "pseudo_masks.bg" and "cut" not in found["seeds"]


def test_accuracy_counted_by_other_masks_is_not_shown(tmp_path):
    """Masks that were edited after the training say something else of the labels that taught."""
    own = folder_dataset(tmp_path / "own", (SIZE,) * 3, masks=True)
    dataset = load_manifest(own / "manifest.csv")
    known = dataset.split("trainaug")
    check = {"how": "none", "pseudo_labels": {"ids": [r.id for r in known], "masks": masks_digest(known), "accuracy": {}}}
    assert diagnosis.of_todays_masks(check, dataset) == check
    write_mask(known[1].mask, np.zeros(SIZE, np.uint8))
    assert diagnosis.of_todays_masks(check, dataset) == {"how": "none"}


def test_the_seed_is_cut_out_of_the_cams(results):
    """As the recipe's threshold says, on the CAMs of the chain."""
    chain = Chain(results)
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"}, into="amn/cam")
    made(results, "seeds", half)
    outputs = {"diagnosis": str(results / "amn/diagnosis.json"), "text": str(results / "amn/diagnosis.txt")}
    files = {"manifest": results / "manifest.csv", "dataset": results / "dataset.json"}
    files |= {name: results / f"amn/{name}/index.json" for name in ("cam", "seeds")}
    found = {}
    for value in (0.001, 1.0):  # everything; nothing
        params = {"recipe": {"method": "amn"}, "bg": {"kind": "const", "value": value}}
        diagnosis.run(Task("diagnosis", {k: str(v) for k, v in files.items()}, outputs, params, {}))
        (found[value],) = json.loads((results / "amn/diagnosis.json").read_text())["agreement"]
    assert found[1.0]["of"] == ["seed", "seeds"] and found[1.0]["photos"] == 6
    assert found[1.0]["miou"] == pytest.approx(100 * (0.5 + 0 + 0) / 3, abs=0.01)  # background alone, half of it right
    assert found[0.001]["miou"] != found[1.0]["miou"]


def test_another_threshold_of_a_warning_reruns_no_stage_but_this_one():
    for stage in ("classifier", "seeds", "ir_labels", "pseudo_masks", "predictions", "predict"):
        reached = closure(f"wsss.stages.{stage}", without=LEFT_OUT)
        assert "wsss.score.diagnosis" not in reached and "wsss.score.diagnosis" in closure(f"wsss.stages.{stage}"), stage
    assert "wsss.score.diagnosis" in closure("wsss.stages.diagnosis", without=LEFT_OUT)
