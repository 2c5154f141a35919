"""Stages run in-process on real files, without Snakemake."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import LIBRARY, Chain, artefacts, environment, folder_dataset
from wsss.data.manifest import load_manifest
from wsss.data.torch_sets import TrainingSet
from wsss.engine import signals
from wsss.engine.model_facts import read_facts
from wsss.engine.task import Task
from wsss.engine.workers import in_processes
from wsss.errors import UserError
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.images import image_size
from wsss.io.masks import read_mask, write_mask
from wsss.recipes.config import SECTIONS
from wsss.report.per_image import image_counts, read_per_image
from wsss.score.bootstrap import miou
from wsss.stages import aug_masks, evaluation
from wsss.train import start as starting

MODEL, INDEX = "model.safetensors", "index.json"
SIZES = ((64, 64), (64, 64), (64, 80), (33, 90), (70, 64), (64, 64))


def chain_to_cam(root, **options):
    chain = Chain(folder_dataset(root, SIZES, **options))
    chain.run("classifier")
    chain.run("cam", {"model": f"classifier/{MODEL}"})
    return chain


def finish(chain):
    """From CAM to pseudo-masks by IRN."""
    chain.run("seeds", {"cam": f"cam/{INDEX}"})
    chain.run("ir_labels", {"seeds": f"seeds/{INDEX}"})
    chain.run("affinity", {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"})
    chain.run("pseudo_masks", WALK_INPUTS)


WALK_INPUTS = {"cam": f"cam/{INDEX}", "affinity": f"affinity/{MODEL}"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole chain of a folder dataset without masks, two of its images without a label."""
    chain = chain_to_cam(tmp_path_factory.mktemp("made") / "own", unlabelled=(1, 3))
    finish(chain)
    chain.run("segmentation", {"pseudo_masks": f"pseudo_masks/{INDEX}"})
    chain.run("predictions", {"model": f"segmentation/{MODEL}"}, threads=2)
    return chain


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the results to break."""
    shutil.copytree(made.results.parent, tmp_path / "own")
    again = Chain(tmp_path / "own/results")
    manifest = tmp_path / "own/results/dataset.json"
    info = json.loads(manifest.read_text())
    info["root"] = str(tmp_path / "own/images")
    manifest.write_text(json.dumps(info))
    return again


def records_of(chain):
    return load_manifest(chain.results / "manifest.csv").split("all")


def test_a_folder_without_masks_goes_to_predictions(made):
    records = records_of(made)
    assert len(records) == len(SIZES)
    index = json.loads((made.results / "predictions/index.json").read_text())
    assert index["ids"] == sorted(r.id for r in records)
    for record, size in zip(records, SIZES, strict=True):
        for stage, suffixes in (
            ("pseudo_masks", [".png"]),
            ("predictions", index["suffixes"]),
            ("seeds", [".png"]),
        ):
            for suffix in suffixes:
                mask = read_mask(made.results / stage / f"{record.id}{suffix}")
                assert mask.shape == size and set(np.unique(mask)) <= {0, 1, 2}


def test_masks_hold_only_classes_of_the_image(made):
    for record in records_of(made):
        allowed = {0, *(k + 1 for k in record.labels)}
        for stage in ("seeds", "pseudo_masks"):
            assert set(np.unique(read_mask(made.results / stage / f"{record.id}.png"))) <= allowed
        assert set(np.unique(read_mask(made.results / "ir_labels" / f"{record.id}.png"))) <= allowed | {255}


def test_images_without_labels_are_background_everywhere(made):
    plain = [r for r in records_of(made) if not r.labels]
    assert len(plain) == 2
    for record in plain:
        assert read_cam(made.results / "cam" / f"{record.id}.npz").classes == ()
        for stage in ("seeds", "ir_labels", "pseudo_masks"):
            assert not read_mask(made.results / stage / f"{record.id}.png").any(), stage


def test_every_stage_says_how_it_was_run(made):
    for stage in SECTIONS[: SECTIONS.index("evaluation")]:
        facts = json.loads((made.results / stage / "run.json").read_text())
        assert facts["stage"] == stage and facts["wall_seconds"] >= 0 and "torch" in facts["packages"]
    assert not list(made.results.rglob("train_state.pt")) and not list(made.results.rglob(".*.tmp"))


def test_no_ground_truth_no_score(made):
    with pytest.raises(
        UserError, match="own: no ground-truth masks.*ask for results/own/irn/predictions/index.json"
    ):
        made.run("evaluation", {"predictions": f"predictions/{INDEX}"})


# --- CAMs that say nothing, and CAMs that are broken ---------------------------------------------------


def test_all_zero_cams_go_through_seeds_walk_and_sweep(tmp_path):
    chain = chain_to_cam(tmp_path / "own", masks=True)
    for record in records_of(chain):
        path = chain.results / "cam" / f"{record.id}.npz"
        write_cam(path, record.labels, [np.zeros_like(one) for one in read_cam(path).maps])
    finish(chain)
    for record in records_of(chain):
        for stage in ("seeds", "ir_labels", "pseudo_masks"):
            assert not read_mask(chain.results / stage / f"{record.id}.png").any(), stage
    scores = json.loads((chain.run("evaluation", EVALUATED) / "scores.json").read_text())
    text = json.dumps(scores)
    assert "NaN" not in text and "Infinity" not in text
    assert {"seed", "refined_seed", "pseudo_mask"} <= set(scores["stages"])


def first_cam(chain):
    return chain.results / "cam" / f"{next(r for r in records_of(chain) if r.labels).id}.npz"


def consumers():
    return {
        "seeds": {"cam": f"cam/{INDEX}"},
        "pseudo_masks": WALK_INPUTS,
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stage", consumers())
def test_a_corrupted_cam_is_named(copied, stage, threads):
    path = first_cam(copied)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError) as caught:
        copied.run(stage, consumers()[stage], into="again", threads=threads)
    assert re.search(f"{re.escape(str(path))}.*run: snakemake --force .*/cam/index.json$", str(caught.value))
    assert not (copied.results / "again" / INDEX).exists()


@pytest.mark.parametrize("stage", consumers())
def test_a_lost_cam_is_named_with_the_command(copied, stage):
    path = first_cam(copied)
    path.unlink()
    with pytest.raises(
        UserError, match="1 of 6 ids have no file here.*run: snakemake --force .*cam/index.json"
    ) as caught:
        copied.run(stage, consumers()[stage], into="again")
    assert path.stem in str(caught.value)


def test_a_label_of_another_size_is_named(copied):
    path = copied.results / "ir_labels" / f"{first_cam(copied).stem}.png"
    write_mask(path, np.zeros((5, 5), np.uint8))
    inputs = {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"}
    with pytest.raises(UserError, match=r"size \(5, 5\) differs") as caught:
        copied.run("affinity", inputs, into="again")
    assert path.name in str(caught.value)


def test_a_model_of_another_recipe_is_refused(copied):
    with pytest.raises(UserError, match="holds another network"):
        copied.run("cam", {"model": f"segmentation/{MODEL}"}, into="again")


@pytest.mark.parametrize("stage", ["classifier", "affinity"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_unlabelled_images_teach_amn_and_irn_background(made, monkeypatch, stage, unlabelled):
    """Two of the images have no label; with the option the training draws them, with labels of background only."""
    chain, seen = Chain(made.results, "amn" if stage == "classifier" else "irn"), {}
    getitem = TrainingSet.__getitem__

    def noted(self, key):
        sample = getitem(self, key)
        seen[sample["id"]] = sample
        return sample

    monkeypatch.setattr(TrainingSet, "__getitem__", noted)
    source = {"labels": f"ir_labels/{INDEX}"} if stage == "classifier" else {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"}
    settings = {**chain.recipe[stage], "unlabelled": unlabelled, "steps": 4}
    folder = chain.run(stage, source, into=f"{stage}_{unlabelled}", settings=settings)
    bare = {r.id for r in load_manifest(made.results / "manifest.csv").split("trainaug") if not r.labels}
    assert len(bare) == 2 and len(seen) == (6 if unlabelled else 4)
    assert bare & set(seen) == (bare if unlabelled else set())
    assert all(set(np.unique(seen[name]["label"])) <= {0, 255} and (seen[name]["label"] == 0).any() for name in bare & set(seen))
    losses = [float(row.split(",")[1]) for row in (folder / "history.csv").read_text().splitlines()[1:]]
    assert np.isfinite(losses).all()


def test_cams_are_float32_whatever_the_precision(copied, monkeypatch):
    asked, pick = [], starting.pick_device
    monkeypatch.setattr(starting, "pick_device", lambda *a: asked.append(a[2]) or pick(*a))
    folders = []
    for precision in ("fp32", "bf16"):
        compute = {"precision": precision, "cpu_threads": 1}
        folders.append(copied.run("cam", {"model": f"classifier/{MODEL}"}, into=f"cam_{precision}", compute=compute))
    cams = [{p.name: p.read_bytes() for p in folder.glob("*.npz")} for folder in folders]
    assert len(cams[0]) == 6 and cams[0] == cams[1]
    assert asked == ["fp32", "fp32"], "nor is it TF32"


def test_an_unknown_net_option_is_named(copied):
    with pytest.raises(UserError, match="cam has no option frieze; it knows .*freeze"):
        copied.run("classifier", into="again", net_options={"frieze": "none"})


def test_full_needs_every_mask(copied):
    with pytest.raises(
        UserError, match="full supervision needs a mask for every training image; 6 have none"
    ):
        copied.run("segmentation", into="again")


def test_a_net_without_the_labels_it_needs_names_the_key(copied):
    amn = Chain(copied.results, "amn")
    with pytest.raises(UserError, match="net amn learns from .*set `classifier: {labels_from: RECIPE}`"):
        amn.run("classifier", into="amn/classifier")
    amn.run("classifier", {"labels": f"ir_labels/{INDEX}"}, into="amn/classifier")
    with pytest.raises(UserError, match="net amn reads ir_labels .*set `cam: {aux_from: RECIPE}`"):
        amn.run("cam", {"model": f"amn/classifier/{MODEL}"}, into="amn/cam")


# --- scores --------------------------------------------------------------------------------------------

EVALUATED = {
    **{name: f"{name}/{INDEX}" for name in ("cam", "seeds", "pseudo_masks")},
    **{name: f"{name}/{MODEL}" for name in ("classifier", "affinity")},
}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """IRN up to pseudo-masks on training images with masks; there are no others."""
    chain = chain_to_cam(tmp_path_factory.mktemp("masked") / "own", masks=True)
    finish(chain)
    return chain


def scores_of(chain, **params):
    folder = chain.run("evaluation", EVALUATED, **params)
    assert json.loads((folder / "run.json").read_text())["stage"] == "evaluation"
    return {k: v["provenance"] for k, v in json.loads((folder / "scores.json").read_text())["stages"].items()}


def test_scores_say_how_masks_were_made(masked):
    found = scores_of(masked)
    confident, walk = masked.recipe["seeds"]["confident"], masked.recipe["pseudo_masks"]["bg"]
    refined, pseudo = found["refined_seed"], found["pseudo_mask"]
    assert (refined["crf"], refined["threshold"], refined["threshold_policy"]) == (True, confident["value"], "fixed")
    assert (pseudo["crf"], pseudo["refine"], pseudo["threshold"]) == (False, "irn", walk["value"])
    assert refined["crf_unary"] == "labels" and "crf_unary" not in pseudo
    for facts in found.values():
        assert facts["multi_scale"] == masked.recipe["cam"]["scales"] and facts["weights"] == "none"
    by_crf = scores_of(masked, refine="crf", thresholds={"seeds": confident, "pseudo_masks": confident})
    assert (by_crf["pseudo_mask"]["crf"], by_crf["pseudo_mask"]["threshold"]) == (True, confident["value"])


def test_scores_name_a_local_weights_file(masked, monkeypatch):
    """The models say it; a recipe's `weights: imagenet` alone does not make a file ImageNet's."""
    words = {"classifier": "local file mine.pth, sha256 ab", "affinity": "torchvision resnet18-f37072fd.pth"}
    monkeypatch.setattr(
        evaluation, "read_facts", lambda path: {"initial_weights": words[path.split("/")[-2]]}
    )
    found = scores_of(masked)
    assert found["seed"]["weights"] == words["classifier"]
    assert found["pseudo_mask"]["weights"] == "; ".join(words.values())


def test_facts_of_a_model_are_read_from_its_header(made):
    path = made.results / "classifier" / MODEL
    facts = read_facts(path)
    assert facts["initial_weights"] == "none" and facts["params"]["seed"] == 0
    for content in (b"", b"\xff" * 20, path.read_bytes()[:50]):
        (made.results / "broken").write_bytes(content)
        with pytest.raises(UserError, match="broken: not a readable model"):
            read_facts(made.results / "broken")
    (made.results / "broken").unlink()


def test_segmentation_scores_carry_the_segmentations_trunk(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", SIZES[:2], masks=True))
    table = chain.results / "manifest.csv"
    table.write_text(table.read_text().replace("train;trainaug", "trainaug;val"))
    chain.run("segmentation")
    chain.run("predictions", {"model": f"segmentation/{MODEL}"})
    files = {"predictions": f"predictions/{INDEX}", "segmentation": f"segmentation/{MODEL}"}
    out = chain.run("evaluation", files, backbones={"classifier": "a", "segmentation": "b"})
    stages = json.loads((out / "scores.json").read_text())["stages"]
    assert {v["provenance"]["backbone"] for v in stages.values()} == {"b"}
    whole = read_per_image(out / "per_image.csv")
    for figure, block in stages.items():
        assert miou(image_counts(whole, figure, 3)[1].sum(0)) == pytest.approx(block["miou"], abs=1e-4)
    for path in (chain.results.parent / "masks").glob("*.png"):
        write_mask(path, np.full_like(read_mask(path), 255))
    with pytest.raises(UserError, match="own: every pixel of the 2 masks of val is 255.*masks: 0 is background, 1 to 2 are the classes"):
        chain.run("evaluation", files, backbones={"classifier": "a", "segmentation": "b"})


def test_nothing_to_score_is_said_before_scoring(masked):
    with pytest.raises(UserError, match="no val images with masks.*ask for results/own/irn/predictions"):
        masked.run("evaluation", {"predictions": f"predictions/{INDEX}"}, into="none")


# --- resume and processes ------------------------------------------------------------------------------


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


def double(number):
    if number < 0:
        raise UserError("negative")
    return number * 2


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_do_every_job_once(processes):
    assert sorted(in_processes(double, ((n,) for n in range(40)), processes)) == [2 * n for n in range(40)]
    assert list(in_processes(double, iter(()), processes)) == []
    with pytest.raises(UserError, match="negative"):
        list(in_processes(double, ((n,) for n in (1, -1, 2)), processes))


ORPHANS = """
import os, sys, time
from pathlib import Path
from wsss.engine.entry import guarded
from wsss.engine.workers import in_processes

def sleep(number):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(0.2)
    return "x"

def run(task):
    for _ in in_processes(sleep, ((n,) for n in range(10_000)), 2):
        if sys.argv[2] == "stop":
            raise SystemExit(143)

guarded(run, None)
"""


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal of Linux")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_killed_stage_leaves_no_worker_behind(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path), how], env={**environment(), "PYTHONPATH": str(LIBRARY)}
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline and (process.poll() is None or how == "stop")
        time.sleep(0.05)
    if how == "kill":
        process.kill()
    assert process.wait(timeout=30) == (-signal.SIGKILL if how == "kill" else 143)
    workers = [int(p.name) for p in tmp_path.iterdir()]
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


# --- AMN -----------------------------------------------------------------------------------------------


def test_amn_on_its_first_stage(copied):
    amn = Chain(copied.results, "amn")
    amn.run("classifier", {"labels": f"ir_labels/{INDEX}"}, into="amn/classifier")
    inputs = {"model": f"amn/classifier/{MODEL}", "ir_labels": f"ir_labels/{INDEX}"}
    out = amn.run("cam", inputs, into="amn/cam")
    amn.run("seeds", {"cam": f"amn/cam/{INDEX}"}, into="amn/seeds")
    index = json.loads((out / INDEX).read_text())
    assert (index["form"], index["norm"], index["classes"]) == ("softmax", "min_max", ["red", "green"])
    for record in records_of(amn):
        cam = CamFolder.of(out / INDEX, index).at(record, image_size(record.image))
        assert (
            len(cam) == len(record.labels)
            and np.isfinite(cam).all()
            and cam.min(initial=0) >= 0
            and cam.max(initial=0) <= 1
        )
        assert set(np.unique(read_mask(copied.results / "amn/seeds" / f"{record.id}.png"))) <= {
            0,
            *(k + 1 for k in record.labels),
        }


# --- SegmentationClassAug ------------------------------------------------------------------------------


def test_aug_masks_take_the_datasets_counts(tmp_path):
    """VOC train + SBD of another size than the official 10,582, which expected_counts allows."""
    for name, ids in {"voc/ImageSets/Segmentation/train": "a", "voc/ImageSets/Segmentation/val": "v"}.items():
        (tmp_path / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(f"{ids}\n")
    (tmp_path / "voc/Annotations").mkdir()
    for item_id in "abv":
        xml = "<annotation><object><name>cat</name></object></annotation>"
        (tmp_path / f"voc/Annotations/{item_id}.xml").write_text(xml)
    for name, ids in {"train": "b", "val": "v"}.items():
        (tmp_path / "sbd").mkdir(exist_ok=True)
        (tmp_path / f"sbd/{name}.txt").write_text(f"{ids}\n")
    for item_id in "ab":
        write_mask(tmp_path / f"sbd/{item_id}.png", np.ones((4, 6), np.uint8))
    params = {"folders": {"path": str(tmp_path / "voc"), "sbd": str(tmp_path / "sbd")}}
    out = {"done": str(tmp_path / "out/aug_masks.json")}
    with pytest.raises(UserError, match="not 10582"):
        aug_masks.run(Task("aug_masks", {}, out, params, {}))
    aug_masks.run(Task("aug_masks", {}, out, {**params, "expected_counts": {"trainaug": 2}}, {}))
    assert len(list((tmp_path / "out/SegmentationClassAug").iterdir())) == 2
    assert json.loads((tmp_path / "out/run.json").read_text())["images"] == 2
