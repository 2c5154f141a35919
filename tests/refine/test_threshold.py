"""The threshold that is found on the CAMs: the estimator, its stage, what takes it, what says so, what is planned."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import Chain, folder_dataset
from wsss.data.labels import label_facts
from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import cam_folder
from wsss.engine.atomic import read_json, write_json
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import BY_LABELS, BY_SALIENCY, BY_SCORES, found_cut, settle, settle_all, shifted, value_of
from wsss.io.cams import read_cam, write_cam
from wsss.io.images import image_size
from wsss.io.masks import read_mask, write_mask
from wsss.io.saliency import write_saliency
from wsss.refine import walked_masks
from wsss.refine.background import argmax_labels, background
from wsss.score.cuts import BINS, Scores, find_cut, least_cross_entropy
from wsss.score.sweep import power_root
from wsss.sections.background import Background, Rule
from wsss.stages import merge as merge_stage
from wsss.stages import pseudo_masks, threshold

MODEL, INDEX, FILE = "model.safetensors", "index.json", "threshold/threshold.json"
CAM, THRESHOLD = {"cam": f"cam/{INDEX}"}, {"threshold": FILE}
CONST, POWER = {"kind": "const", "value": "found"}, {"kind": "power", "value": "found"}

# --- rules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0.01, 0.1, 0.27, 0.5, 0.8, 0.99])
def test_a_power_of_a_cut_cuts_there(cut):
    assert power_root(value_of("power", cut)) == pytest.approx(cut, abs=1e-6)
    cam = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 143)
    apart = np.abs(cam[0] - cut) > 1e-5
    labels = [argmax_labels(cam, background(cam, kind, value_of(kind, cut)), [0]) for kind in ("const", "power")]
    assert np.array_equal(labels[0][apart], labels[1][apart]) and 0 < labels[0].mean() < 1


def test_a_shift_is_a_share_of_the_way():
    assert shifted(0.25) == 0.25
    assert shifted(0.25, 0.2) == pytest.approx(0.40)
    assert shifted(0.25, -0.4) == pytest.approx(0.15)


def test_rules_are_settled_from_the_file(tmp_path):
    path = str(tmp_path / "threshold.json")
    write_json(path, {"cut": 0.5, "by": "a rule"})
    cut = found_cut({"threshold": path})
    assert cut == (0.5, "a rule") and found_cut({}) is None
    assert settle(Background(**CONST), cut) == Rule("const", 0.5)
    assert settle(Background(**POWER), cut) == Rule("power", pytest.approx(1.0))
    assert settle(Background(kind="power", value=4)) == Rule("power", 4)
    backgrounds = {"confident": Background(**CONST, shift=0.5), "unsure": Background(kind="const", value=0.05)}
    made, facts = settle_all(backgrounds, cut)
    assert made == {"confident": Rule("const", 0.75), "unsure": Rule("const", 0.05)}
    assert facts == {"confident": {"kind": "const", "value": 0.75, "shift": 0.5, "by": "a rule"}, "unsure": {"kind": "const", "value": 0.05}}


# --- the estimator -------------------------------------------------------------------------------------


def pooled(*cams):
    scores = Scores()
    for cam in cams:
        scores.add(np.asarray(cam, np.float32))
    return scores


def test_scores_are_those_of_the_winning_class_and_images_without_classes_are_left_out():
    cam = [[[0.2, 0.9]], [[0.6, 0.1]]]
    found, alone = pooled(cam, np.zeros((0, 5, 5))), pooled(cam)
    assert found.images == alone.images == 1 and np.array_equal(found.histogram, alone.histogram)
    assert list(np.flatnonzero(found.histogram)) == [600, 900] and found.histogram.sum() == 2
    assert pooled([[[0.0, 1.0]]]).histogram[[0, BINS - 1]].tolist() == [1, 1]


def test_a_cam_that_is_no_number_is_named():
    with pytest.raises(UserError, match=r"x\.npy.*NaN"):
        Scores().add(np.full((1, 2, 2), np.nan, np.float32), "x.npy")


def beta_scores():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.beta(1, 8, 3000), rng.beta(6, 3, 1000)]).astype(np.float32)


def slow_cross_entropy(scores, t):
    low, high = scores[scores < t], scores[scores >= t]
    means = [(part, part.mean()) for part in (low, high) if len(part)]
    return sum((part * np.log(part / mean)).sum() for part, mean in means)


def test_least_cross_entropy_is_that_of_a_slow_search():
    scores = beta_scores()
    best = min(np.arange(1, 100) / 100, key=lambda t: slow_cross_entropy(scores, t))
    assert least_cross_entropy(pooled(scores.reshape(1, 40, 100)).histogram) == pytest.approx(best, abs=0.011)


def test_the_cut_has_the_share_half_way_to_the_usual_one():
    scores = beta_scores() ** 0.2  # high everywhere, as stretched maps are
    histogram = pooled(scores.reshape(1, 40, 100)).histogram
    said, cut = (scores >= least_cross_entropy(histogram)).mean(), find_cut(histogram)
    assert said > 0.4 and (scores >= cut).mean() == pytest.approx(np.sqrt(said * 0.25), abs=0.03)
    slow = min(np.arange(1, 100) / 100, key=lambda t: abs((scores >= t).mean() - np.sqrt(said * 0.25)))
    assert cut == pytest.approx(slow, abs=0.011)


def test_where_no_score_lies_the_cut_is_in_the_middle():
    scores = np.where(np.arange(400) < 100, np.float32(0.9), np.float32(0.1)).reshape(1, 20, 20)
    assert find_cut(pooled(scores).histogram) == pytest.approx(0.5, abs=0.011)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_scores_that_are_all_alike_have_no_cut(value):
    assert pooled(np.full((1, 4, 4), value)).cut() is None and Scores().cut() is None


# --- the stage -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """IRN's chain up to the boundary network; one image has no label."""
    root = tmp_path_factory.mktemp("made") / "own"
    chain = Chain(folder_dataset(root, ((64, 64), (64, 80), (33, 90), (70, 64)), unlabelled=(1,), masks=True))
    chain.run("classifier")
    chain.run("cam", {"model": f"classifier/{MODEL}"})
    chain.run("threshold", CAM)
    return chain


@pytest.fixture
def copied(made, tmp_path):
    """A copy to change."""
    shutil.copytree(made.results.parent, tmp_path / "own")
    return Chain(tmp_path / "own/results")


def records_of(chain):
    return load_manifest(chain.results / "manifest.csv").split("trainaug")


def cut_of(chain):
    return read_json(chain.results / FILE)["cut"]


def test_the_file_says_what_was_found_on_what(made):
    content = read_json(made.results / FILE)
    labelled = [r for r in records_of(made) if r.labels]
    cams = cam_folder(made.task("seeds", CAM), labelled)
    maps = [cams.at(r, image_size(r.image)) for r in labelled]
    assert content["images"] == len(labelled) == 3
    assert content["histogram"] == pooled(*maps).histogram.tolist()
    assert content["cut"] == pooled(*maps).cut() and content["by"] == BY_SCORES
    assert read_json(made.results / "threshold/run.json")["images"] == 3


def test_more_images_than_the_sample_are_sampled_alike_in_any_order(made, monkeypatch):
    records = records_of(made)
    monkeypatch.setattr(threshold, "SAMPLE", 2)
    dataset = load_manifest(made.results / "manifest.csv")
    backwards = dataclasses.replace(dataset, records=dataset.records[::-1])
    assert len(records) == 4 and len(threshold.labelled_sample(dataset, 2)) == 2
    assert threshold.labelled_sample(dataset, 2) == threshold.labelled_sample(backwards, 2)
    folder = made.run("threshold", CAM, into="sampled")
    assert read_json(folder / "threshold.json")["images"] == 2


def test_cams_made_in_shards_have_the_same_cut(made, tmp_path):
    shutil.copytree(made.results.parent, tmp_path / "own")
    chain = Chain(tmp_path / "own/results")
    shutil.rmtree(chain.results / "cam")
    for name in ("1of2", "2of2"):
        task = chain.task("cam", {"model": f"classifier/{MODEL}"}, shard=name)
        task.outputs = {"index": str(chain.results / f"cam/shards/{name}.json")}
        __import__("wsss.stages.cam", fromlist=["run"]).run(task)
    index = str(chain.results / "cam/index.json")
    merge_stage.run(Task("merge", {}, {"index": index}, {"shards": 2}, {"device": "cpu"}))
    chain.run("threshold", CAM)
    found, before = read_json(chain.results / FILE), read_json(made.results / FILE)
    assert found["cut"] == before["cut"] and found["histogram"] == before["histogram"]


def fill_cams(chain, value):
    for record in records_of(chain):
        path = chain.results / "cam" / f"{record.id}.npz"
        write_cam(path, record.labels, [np.full_like(one, value) for one in read_cam(path).maps])


def test_maps_that_are_zero_end_with_what_to_do(copied):
    fill_cams(copied, 0)
    with pytest.raises(UserError, match="cam/index.json: all CAMs have the same score.*train it longer.*give a number"):
        copied.run("threshold", CAM)


def write_labels(chain, mask_of):
    """IR labels as another recipe's, made of a photo's CAM at its size and its classes."""
    folder, records = chain.results / "ir_labels", records_of(chain)
    folder.mkdir()
    cams = cam_folder(chain.task("seeds", CAM), [r for r in records if r.labels])
    for record in records:
        write_mask(folder / f"{record.id}.png", mask_of(cams.at(record, image_size(record.image)), record.labels))
    write_json(folder / INDEX, {"ids": [r.id for r in records], "suffixes": [".png"]})
    return {**CAM, "ir_labels": f"ir_labels/{INDEX}"}


@pytest.mark.parametrize("cut", [0.4, 0.7])
def test_a_network_that_learned_labels_is_cut_where_its_masks_agree_with_them(copied, cut):
    def mask(cam, labels):  # unsure where the label says nothing: it must not count
        found = argmax_labels(cam, background(cam, "const", cut), labels)
        found[: len(found) // 4] = 255
        return found

    copied.run("threshold", write_labels(copied, mask))
    content = read_json(copied.results / FILE)
    assert content["cut"] == pytest.approx(cut, abs=0.011) and content["by"] == BY_LABELS
    chain = with_rules(copied, "seeds", confident=CONST)
    chain.run("seeds", {**CAM, **THRESHOLD})
    assert read_json(chain.results / f"seeds/{INDEX}")["confident"]["by"] == BY_LABELS


@pytest.mark.parametrize("factor", [255, 140])
@pytest.mark.parametrize("own", [False, True])
def test_a_network_that_learned_from_saliency_is_cut_where_its_objects_agree_with_the_maps(copied, monkeypatch, own, factor):
    """With maps that a stage made, and with the dataset's own; pale ones do not move the cut."""
    folder, records = copied.results / "saliency", [r for r in records_of(copied) if r.labels]
    cams = cam_folder(copied.task("seeds", CAM), records)
    for record in records:
        write_saliency(folder / f"{record.id}.png", np.where(cams.at(record, image_size(record.image)).max(0) > 0.6, factor, 0))
    write_json(folder / INDEX, {"ids": [r.id for r in records], "suffixes": [".png"]})
    if own:
        monkeypatch.setattr(threshold, "saliency_files", lambda task, dataset, records: lambda record: folder / f"{record.id}.png")
    copied.run("threshold", {**CAM, **({"own_maps": "saliency.json"} if own else {"saliency": f"saliency/{INDEX}"})})
    content = read_json(copied.results / FILE)
    assert content["cut"] == pytest.approx(0.6, abs=0.011) and content["by"] == BY_SALIENCY


@pytest.mark.parametrize("value", [0, 1, 255])
def test_labels_that_show_one_thing_only_say_nothing_of_the_cut(copied, made, value):
    def mask(cam, labels):
        return np.full(cam.shape[1:], labels[0] + 1 if value == 1 and labels else value, np.uint8)

    copied.run("threshold", write_labels(copied, mask))
    assert cut_of(copied) == cut_of(made) and read_json(copied.results / FILE)["by"] == BY_SCORES


def test_labels_of_other_photos_are_refused(copied):
    inputs = write_labels(copied, lambda cam, labels: np.zeros(cam.shape[1:], np.uint8))
    content = read_json(copied.results / f"ir_labels/{INDEX}")
    write_json(copied.results / f"ir_labels/{INDEX}", {**content, "ids": content["ids"][:1]})
    with pytest.raises(UserError, match="ir_labels"):
        copied.run("threshold", inputs)


def test_one_photo_has_a_cut(tmp_path):
    chain = Chain(folder_dataset(tmp_path / "own", ((64, 64),)))
    cam = np.zeros((1, 16, 16))
    cam[0, 4:12, 4:12] = 0.9
    (chain.results / "cam").mkdir()
    (record,) = records_of(chain)
    write_cam(chain.results / "cam" / f"{record.id}.npz", record.labels, [cam])
    index = {"ids": [record.id], "suffixes": [".npz"], "form": "sum", "geometry": "pad16", "norm": "none", "scales": [1.0]}
    index |= label_facts(load_manifest(chain.results / "manifest.csv"))
    write_json(chain.results / f"cam/{INDEX}", index)
    chain.run("threshold", CAM)
    assert 0 < cut_of(chain) < 0.9


def test_a_dataset_without_labels_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr("wsss.data.folder.unlearnable", lambda *of_rows: ([], []))  # other builders allow it
    chain = Chain(folder_dataset(tmp_path / "own", ((64, 64),) * 2, unlabelled=(0, 1)))
    with pytest.raises(UserError, match="own: no training image has a label.*give a number"):
        chain.run("threshold", CAM)


@pytest.mark.parametrize("content", ["", "{}", '{"cut": 0}', '{"cut": "0.3", "by": "scores"}', '{"cut": 0.3}', "[0.3]"])
def test_a_damaged_file_names_the_command(copied, monkeypatch, content):
    monkeypatch.chdir(copied.results.parent)
    (copied.results / FILE).write_text(content)
    chain = Chain("results")
    chain.recipe["seeds"] = {**chain.recipe["seeds"], "confident": CONST}
    with pytest.raises(UserError, match=f"results/{FILE}: .*run: snakemake --force results/{FILE}"):
        chain.run("seeds", {**CAM, **THRESHOLD})


# --- what takes it -------------------------------------------------------------------------------------


def masks_of(chain, folder, suffix=".png"):
    return {r.id: read_mask(chain.results / folder / f"{r.id}{suffix}") for r in records_of(chain)}


def same(one, other):
    return all(np.array_equal(one[key], other[key]) for key in one | other)


def with_rules(chain, stage, **rules):
    chain.recipe[stage] = {**chain.recipe[stage], **rules}
    return chain


def test_seeds_are_those_of_the_numbers(copied):
    up, down = {**CONST, "shift": 0.2}, {**POWER, "shift": -0.5}
    with_rules(copied, "seeds", confident=up, unsure=down).run("seeds", {**CAM, **THRESHOLD}, into="found")
    cut = cut_of(copied)
    numbers = {
        "confident": {"kind": "const", "value": round(cut + 0.2 * (1 - cut), 4)},
        "unsure": {"kind": "power", "value": round(value_of("power", cut / 2), 4)},
    }
    with_rules(copied, "seeds", **numbers).run("seeds", CAM, into="numbers")
    for suffix in (".png", ".unsure.png"):
        assert same(masks_of(copied, "found", suffix), masks_of(copied, "numbers", suffix))
    index = read_json(copied.results / f"found/{INDEX}")
    assert index["confident"] == {**numbers["confident"], "shift": 0.2, "by": BY_SCORES}
    assert index["unsure"] == {**numbers["unsure"], "shift": -0.5, "by": BY_SCORES}
    index = read_json(copied.results / f"numbers/{INDEX}")
    assert {name: index[name] for name in numbers} == numbers
    masks = copied.run("pseudo_masks", {"seeds": f"numbers/{INDEX}"}, refine="crf")
    assert read_json(masks / "run.json")["diagnosis"]["cut"] == {"key": "seeds.confident", **numbers["confident"]}  # where to move it


def test_two_found_seeds_of_unlike_kinds_are_alike_but_for_rounding(copied):
    write_json(copied.results / FILE, {**read_json(copied.results / FILE), "cut": 0.04})
    with_rules(copied, "seeds", confident=CONST, unsure=POWER).run("seeds", {**CAM, **THRESHOLD})
    assert same(masks_of(copied, "seeds"), masks_of(copied, "seeds", ".unsure.png"))


def test_masks_by_threshold_are_those_of_the_number(copied):
    copied.run("pseudo_masks", {**CAM, **THRESHOLD}, refine="none", settings={"bg": CONST}, into="found")
    copied.run("pseudo_masks", CAM, refine="none", settings={"bg": {"kind": "const", "value": cut_of(copied)}}, into="numbers")
    assert same(masks_of(copied, "found"), masks_of(copied, "numbers"))


@pytest.fixture
def walking(copied):
    """With the boundary network trained."""
    copied.run("seeds", CAM)
    copied.run("ir_labels", {"seeds": f"seeds/{INDEX}"})
    copied.run("affinity", {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"})
    return copied


def test_irns_walk_is_cut_where_its_own_scores_say(walking, monkeypatch):
    """Not where the CAMs' do: no threshold.json is read. All jobs of a split walk the same sample."""
    monkeypatch.setattr(walked_masks, "WALKED", 2)
    inputs = {**CAM, "affinity": f"affinity/{MODEL}"}
    with_rules(walking, "pseudo_masks", bg={**CONST, "shift": 0.1}).run("pseudo_masks", inputs, into="found", threads=2)
    bg = read_json(walking.results / f"found/{INDEX}")["bg"]
    walker = walked_masks.Walker(walking.task("pseudo_masks", inputs), cam_folder(walking.task("seeds", CAM), ()))
    sample = threshold.labelled_sample(load_manifest(walking.results / "manifest.csv"), 2)
    cut = find_cut(sum(walker.histogram(record) for record in sample))
    assert bg == {"kind": "const", "value": round(shifted(cut, 0.1), 4), "shift": 0.1, "by": BY_SCORES}
    shard = walking.task("pseudo_masks", inputs, into="split", shard="1of2")
    shard.outputs = {"index": str(walking.results / "split/shards/1of2.json")}
    pseudo_masks.run(shard)
    assert read_json(walking.results / "split/shards/1of2.json")["bg"] == bg
    with_rules(walking, "pseudo_masks", bg={"kind": "const", "value": bg["value"]}).run("pseudo_masks", inputs, into="numbers")
    assert same(masks_of(walking, "found"), masks_of(walking, "numbers"))


def test_a_walk_of_zeros_has_no_cut(walking):
    fill_cams(walking, 0)
    with pytest.raises(UserError, match="all CAMs have the same score.*train it longer"):
        with_rules(walking, "pseudo_masks", bg=CONST).run("pseudo_masks", {**CAM, "affinity": f"affinity/{MODEL}"})


@pytest.mark.parametrize("by", [BY_SCORES, BY_LABELS])
def test_scores_say_what_was_found(copied, by):
    write_json(copied.results / FILE, {**read_json(copied.results / FILE), "by": by})
    with_rules(copied, "seeds", confident={**CONST, "shift": 0.2}).run("seeds", {**CAM, **THRESHOLD})
    copied.run("pseudo_masks", {"seeds": f"seeds/{INDEX}"}, refine="crf")
    with_rules(copied, "evaluation", policy="found")
    inputs = {**CAM, **THRESHOLD, "seeds": f"seeds/{INDEX}", "pseudo_masks": f"pseudo_masks/{INDEX}"}
    inputs["classifier"] = f"classifier/{MODEL}"
    out = copied.run("evaluation", inputs, refine="crf")
    stages, cut = json.loads((out / "scores.json").read_text())["stages"], cut_of(copied)
    assert stages["seed"]["provenance"] == stages["seed"]["found"]["provenance"]
    said = {"seed": cut, "refined_seed": cut + 0.2 * (1 - cut), "pseudo_mask": cut + 0.2 * (1 - cut)}
    for stage, value in said.items():
        source = stages[stage]["provenance"]
        assert source["threshold"] == pytest.approx(value, abs=1e-4) and source["threshold_policy"] == "found"
        assert source["threshold_chosen_by"] == f"found without ground truth: {by}" and not source["threshold_uses_ground_truth"]
        assert source.get("threshold_shift", 0) == (0 if stage == "seed" else 0.2)
    assert stages["seed"]["fixed"]["provenance"]["threshold"] == copied.recipe["evaluation"]["bg"]["value"]
    text = (out / "miou.txt").read_text()
    assert "threshold policy found" in text and "threshold shift 0.2" in text
