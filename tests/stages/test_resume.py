"""Stages in several processes, stopped, resumed, changed and run again."""

import json

import pytest
from helpers import artefacts
from small_chain import INDEX, MODEL, SIZES, WALK_INPUTS, consumers
from wsss.engine import signals


@pytest.mark.parametrize("stage", ["seeds", "pseudo_masks"])
def test_one_and_two_processes_give_the_same_files(copied, made, stage):
    again = copied.run(stage, consumers()[stage], into="again", threads=2)
    one, two = artefacts(made.results / stage), artefacts(again)
    assert one.keys() == two.keys() and len([n for n in one if n.endswith(".png")]) >= len(SIZES)
    for name in one.keys() - {INDEX}:  # which knows the inputs' fingerprint
        assert one[name] == two[name], name


def per_image():
    return {
        "cam": {"model": f"classifier/{MODEL}"},
        "seeds": {"cam": f"cam/{INDEX}"},
        "ir_labels": {"seeds": f"seeds/{INDEX}"},
        "pseudo_masks": WALK_INPUTS,
        "predictions": {"model": f"segmentation/{MODEL}"},
    }


@pytest.mark.parametrize("stage", per_image())
def test_stopped_by_sigterm_and_resumed_gives_the_same_files(copied, monkeypatch, stage):
    whole = artefacts(copied.run(stage, per_image()[stage], into="whole"))
    monkeypatch.setattr(signals, "_stop", True)
    with pytest.raises(SystemExit) as caught:
        copied.run(stage, per_image()[stage], into="cut")
    assert caught.value.code == 143 and not (copied.results / "cut" / INDEX).exists()
    first = json.loads((copied.results / "cut/journal.jsonl").read_text().splitlines()[1])["id"]
    kept = next((copied.results / "cut").glob(f"{first}.*"))
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(signals, "_stop", False)
    resumed = artefacts(copied.run(stage, per_image()[stage], into="cut"))
    assert kept.stat().st_mtime_ns == before, "what was finished is not done again"
    assert whole == resumed


def test_a_changed_setting_redoes_all(copied):
    out = copied.run("seeds", per_image()["seeds"], into="again")
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}
    settings = {**copied.recipe["seeds"], "confident": {"kind": "const", "value": 0.9}}
    copied.run("seeds", per_image()["seeds"], into="again", settings=settings)
    assert all((out / name).stat().st_mtime_ns != then for name, then in before.items())


def test_a_removed_image_leaves_the_index(copied):
    whole = json.loads((copied.results / "seeds/index.json").read_text())
    table = copied.results / "manifest.csv"
    table.write_text("".join(table.read_text().splitlines(True)[:-1]))
    facts = copied.results / "dataset.json"
    facts.write_text(facts.read_text().replace('"all": 6', '"all": 5'))
    copied.run("seeds", per_image()["seeds"])
    left = json.loads((copied.results / "seeds/index.json").read_text())
    assert len(left["ids"]) == len(whole["ids"]) - 1 and left["digest"] != whole["digest"]
