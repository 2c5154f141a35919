"""AffinityNet's chain on real files: probabilities beside the seeds, its labels, training, the walk; and what a
recipe must say."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
import yaml
from helpers import REPOSITORY, Chain, artefacts, copy_project, folder_dataset, planned, snakemake
from PIL import Image
from sections import augmentation_of
from wsss.data.affinity_set import AffinitySet
from wsss.data.manifest import load_manifest
from wsss.data.stage_inputs import training_records
from wsss.errors import UserError
from wsss.io.cams import read_cam, write_cam
from wsss.io.masks import read_mask
from wsss.io.probs import read_probs, write_probs
from wsss.recipes.config import Config
from wsss.refine import learn_affinitynet, walked_masks
from wsss.refine.affinitynet import cell_labels
from wsss.sections.affinity import AffinityNetAffinity
from wsss.sections.section import typed

MODEL, INDEX = "model.safetensors", "index.json"
SIZES = ((96, 96), (100, 80), (96, 96), (33, 90), (70, 64), (110, 120))
WALK = {"cam": f"cam/{INDEX}", "affinity": f"affinity/{MODEL}"}
LEARN = {"seeds": f"seeds/{INDEX}", "classifier": f"classifier/{MODEL}"}


def records_of(chain):
    return load_manifest(chain.results / "manifest.csv").split("all")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """From images to pseudo-masks; one image has no label."""
    root = tmp_path_factory.mktemp("made") / "own"
    chain = Chain(folder_dataset(root, SIZES, unlabelled=(1,), masks=True), "cam_affinitynet")
    chain.run("classifier")
    chain.run("cam", {"model": f"classifier/{MODEL}"})
    chain.run("seeds", {"cam": f"cam/{INDEX}"})
    chain.run("affinity", LEARN)
    chain.run("pseudo_masks", WALK)
    return chain


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the results to break."""
    shutil.copytree(made.results.parent, tmp_path / "own")
    again = Chain(tmp_path / "own/results", "cam_affinitynet")
    info = json.loads((again.results / "dataset.json").read_text())
    info["root"] = str(tmp_path / "own/images")
    (again.results / "dataset.json").write_text(json.dumps(info))
    return again


# --- what the stages write


def test_probabilities_stand_beside_the_seeds_and_agree_with_them(made):
    index = json.loads((made.results / "seeds" / INDEX).read_text())
    assert index["suffixes"] == [".png", ".unsure.png", ".npz"] and index["unary"] == "scores"
    for record, size in zip(records_of(made), SIZES, strict=True):
        probs = read_probs(made.results / "seeds" / f"{record.id}.npz")
        assert probs.shape == (2, len(record.labels) + 1, *size)
        np.testing.assert_allclose(probs.sum(1, dtype=int), 255, atol=len(record.labels) + 1)
        ids = np.array([0, *(k + 1 for k in record.labels)])
        for stack, suffix in zip(probs, index["suffixes"][:2], strict=True):
            mask = read_mask(made.results / "seeds" / f"{record.id}{suffix}")
            top = np.sort(stack, axis=0)
            clear = top[-1] > (top[-2] if len(stack) > 1 else 0)  # a tie of rounded values may go either way
            np.testing.assert_array_equal(ids[stack.argmax(0)][clear], mask[clear])
            assert clear.any()


def test_seeds_without_the_option_have_no_probabilities(copied):
    settings = {k: v for k, v in copied.recipe["seeds"].items() if k != "probabilities"}
    folder = copied.run("seeds", {"cam": f"cam/{INDEX}"}, into="plain", settings=settings)
    assert not list(folder.glob("*.npz"))
    for record in records_of(copied):
        for suffix in (".png", ".unsure.png"):
            name = f"{record.id}{suffix}"
            assert (folder / name).read_bytes() == (copied.results / "seeds" / name).read_bytes()
    with pytest.raises(UserError, match=r"no CRF probabilities; set `seeds: \{probabilities: true\}`"):
        copied.run("affinity", {**LEARN, "seeds": f"plain/{INDEX}"}, into="again")


def test_masks_have_their_images_size_and_classes(made):
    for record, size in zip(records_of(made), SIZES, strict=True):
        mask = read_mask(made.results / "pseudo_masks" / f"{record.id}.png")
        assert mask.shape == size and set(np.unique(mask)) <= {0, *(k + 1 for k in record.labels)}
    index = json.loads((made.results / "pseudo_masks" / INDEX).read_text())
    assert index["refine"] == "affinitynet"


def test_history_names_the_losses_of_pairs(made):
    header = (made.results / "affinity/history.csv").read_text().splitlines()[0]
    assert header == "step,lr,total,positive_bg,positive_fg,negative"


@pytest.mark.parametrize("stage, inputs", [("pseudo_masks", WALK), ("seeds", {"cam": f"cam/{INDEX}"})])
def test_results_do_not_depend_on_the_number_of_processes(made, stage, inputs):
    made.run(stage, inputs, into="parallel", threads=2)
    assert artefacts(made.results / "parallel") == artefacts(made.results / stage)


def test_all_zero_cams_give_background(copied):
    for record in records_of(copied):
        path = copied.results / "cam" / f"{record.id}.npz"
        write_cam(path, record.labels, [np.zeros_like(one) for one in read_cam(path).maps])
    for stage in ("seeds", "affinity"):  # made of other maps, which the index does not tell
        shutil.rmtree(copied.results / stage)
    copied.run("seeds", {"cam": f"cam/{INDEX}"}, into="seeds")
    copied.run("affinity", LEARN, into="affinity")
    folder = copied.run("pseudo_masks", WALK, into="again")
    assert not any(read_mask(folder / f"{r.id}.png").any() for r in records_of(copied))


def test_scores_name_the_refinement(made):
    inputs = {**{n: f"{n}/{INDEX}" for n in ("cam", "seeds", "pseudo_masks")}, **{n: f"{n}/{MODEL}" for n in ("classifier", "affinity")}}
    scores = json.loads((made.run("evaluation", inputs) / "scores.json").read_text())["stages"]
    facts = scores["pseudo_mask"]["provenance"]
    assert (facts["refine"], facts["threshold"], facts["threshold_kind"]) == ("affinitynet", 6, "power")
    assert scores["refined_seed"]["provenance"]["crf_unary"] == "scores"


# --- training samples


def test_labels_lie_on_their_image(tmp_path):
    """Columns right of 40 are the class: label and image are cut, mirrored and padded alike."""
    image = np.zeros((56, 96, 3), np.uint8)
    image[:, 40:] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    foreground = (image[..., 0] > 0).astype(np.float32)
    write_probs(tmp_path / "a.npz", *[np.stack([1 - foreground, foreground])] * 2)

    class Plain:
        id, image, labels = "a", tmp_path / "a.png", (0,)

    samples = AffinitySet(
        (Plain,), augmentation_of({"resize": {}, "flip": 0.5, "crop": 64, "padding": "black"}), lambda r: tmp_path / "a.npz", cell_labels
    )
    seen = set()
    for seed in range(12):
        sample = samples[0, seed]
        assert sample["label"].shape == (8, 8) and sample["label"].dtype.is_floating_point is False
        cells = sample["image"].mean(0).reshape(8, 8, 8, 8).mean((1, 3)).numpy()
        label = sample["label"].numpy()
        white = cells > 2.0  # a cell that is white all over
        assert (label[white] == 1).all() and white.any()
        seen |= set(np.unique(label))
        again = samples[0, seed]
        assert (again["image"] == sample["image"]).all() and (again["label"] == sample["label"]).all()
    assert {0, 1} <= seen


def test_probabilities_of_another_size_are_named(copied):
    record = next(r for r in records_of(copied) if r.labels)
    path = copied.results / "seeds" / f"{record.id}.npz"
    write_probs(path, *np.ones((2, 2, 5, 5)))
    with pytest.raises(UserError, match=r"shape \(2, 5, 5\) differs from \(2, 96, 96\).*run: snakemake --force .*seeds/index.json"):
        copied.run("affinity", LEARN, into="again", runtime={"workers": 0})


# --- the file


def test_probabilities_go_through_a_file(tmp_path):
    values = np.random.default_rng(0).random((2, 3, 7, 9)).astype(np.float32)
    write_probs(tmp_path / "a.npz", *values)
    stored = read_probs(tmp_path / "a.npz")
    assert stored.dtype == np.uint8 and abs(stored / 255 - values).max() <= 0.5 / 255 + 1e-6
    content = (tmp_path / "a.npz").read_bytes()
    time.sleep(2.1)  # a zip's clock ticks every two seconds
    write_probs(tmp_path / "a.npz", *values)
    assert (tmp_path / "a.npz").read_bytes() == content


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-30]), "not CRF probabilities"),
        (lambda p: p.write_bytes(b""), "not CRF probabilities"),
        (lambda p: np.savez(p, other=np.zeros(3)), "not CRF probabilities"),
        (lambda p: np.savez(p, probs=np.zeros((2, 2, 3, 3))), "are uint8"),
        (lambda p: np.savez(p, probs=np.array([{}], dtype=object)), "not CRF probabilities"),
        (lambda p: p.unlink(), "missing CRF probabilities"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, spoil, words):
    path = tmp_path / "a.npz"
    write_probs(path, *np.ones((2, 1, 4, 4)))
    spoil(path)
    with pytest.raises(UserError, match=f"a.npz: .*{words}.*run the stage that writes it again|a.npz: .*{words}"):
        read_probs(path)


# --- CAM folders of another origin


@pytest.mark.parametrize(
    "change, words",
    [
        ({"geometry": "pad32"}, "CAMs of geometry 'pad32' cannot be read, only pad16 or stretch or view"),
        ({"norm": None}, "CAMs of norm None cannot be read, only max or "),
        ({"form": "median"}, "CAMs of form 'median' cannot be read, only sum or softmax"),
        ({"geometry": "view", "scales": "not known"}, "CAMs of geometry view need the scales"),
    ],
)
@pytest.mark.parametrize("stage, inputs", [("pseudo_masks", WALK), ("seeds", {"cam": f"cam/{INDEX}"})])
def test_cams_stored_in_an_unknown_way_are_refused(copied, stage, inputs, change, words):
    path = copied.results / "cam" / INDEX
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=f"cam/index.json: {words}"):
        copied.run(stage, inputs, into="again")


# --- recipes


@pytest.fixture
def resolve(tmp_path):
    """config/ with a recipe of our own in it; a function: changes of cam_affinitynet -> resolved on a dataset."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    main = yaml.safe_load((tmp_path / "config/config.yaml").read_text())

    def resolved(dataset="voc12", base="cam_affinitynet", **recipe):
        (tmp_path / "config/methods/own.yaml").write_text(yaml.safe_dump({"extends": base, **recipe}))
        return Config(tmp_path / "config", main).recipe("own", dataset)

    return resolved


def test_published_values(resolve):
    recipe = resolve()
    network = {k: recipe["affinity"][k] for k in ("backbone", "radius", "bn", "freeze", "lr", "momentum", "batch_size", "epochs")}
    assert network == {
        "backbone": "resnet38d", "radius": 5, "bn": "frozen", "freeze": "stage1",
        "lr": 0.01, "momentum": 0, "batch_size": 8, "epochs": 8,
    }  # fmt: skip
    assert recipe["affinity"]["augmentation"] == {
        "resize": {}, "flip": 0.5, "crop": 448, "padding": "black",
        "jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    }  # fmt: skip
    walk = {"bg": {"kind": "power", "value": 6}, "beta": 8, "exp_times": 6, "radius": 5, "pairs": "all"}
    assert recipe["pseudo_masks"] == walk
    assert [recipe["seeds"][name]["value"] for name in ("confident", "unsure")] == [4, 24]


@pytest.mark.parametrize("dataset", ["demo", "demo_tiny", "voc_mini", "coco14"])
def test_it_resolves_everywhere_with_its_own_background(resolve, dataset, monkeypatch):
    monkeypatch.setenv("WSSS_TEST_DATA", "/data")
    recipe = resolve(dataset)
    assert recipe["pseudo_masks"]["bg"]["kind"] == "power" and "displacement" not in recipe["affinity"]
    assert bool(recipe["affinity"]["augmentation"]["jitter"]) == (dataset == "coco14"), "small presets change no colours"


@pytest.mark.parametrize("refine", ["affinitynet", "irn"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_what_feeds_the_walk_is_float32_whatever_the_precision(made, monkeypatch, refine, precision):
    chain = Chain(made.results, {"affinitynet": "cam_affinitynet", "irn": "irn"}[refine])
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    monkeypatch.setattr(walked_masks, "load_model", lambda path, network: None)

    def seen(wanted):
        torch.manual_seed(0)
        compute = {"precision": wanted, "cpu_threads": 1}
        return walked_masks.Walker(chain.task("pseudo_masks", WALK, compute=compute), None).network_output(image)

    assert torch.equal(seen(precision), seen("fp32"))


def test_unlabelled_images_teach_background(made):
    """With the option they are among the samples, their cells all background; without it they are not."""
    bare = {record.id for record in records_of(made) if not record.labels}
    for unlabelled in (False, True):
        task = made.task("affinity", LEARN, settings={**made.recipe["affinity"], "unlabelled": unlabelled})
        dataset = load_manifest(made.results / "manifest.csv")
        records = training_records(dataset, labelled_only=not unlabelled)
        samples = learn_affinitynet.samples(task, typed(task.settings, AffinityNetAffinity), dataset, records)
        found = {s["id"]: s["label"] for s in (samples[i, 0] for i in range(len(samples)))}
        assert bool(bare & set(found)) == unlabelled
        assert all(set(np.unique(found[name])) <= {0, 255} and (found[name] == 0).any() for name in bare & set(found))


def test_another_refinement_starts_afresh(resolve):
    """What IRN's sections say is of no use to AffinityNet, and the other way round."""
    own = resolve()
    sections = {k: own[k] for k in ("affinity", "pseudo_masks")}
    assert resolve(base="irn", refine="affinitynet", **sections)["affinity"] == own["affinity"]
    with pytest.raises(UserError, match="refine affinitynet needs a section affinity"):
        resolve(base="irn", refine="affinitynet")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"pseudo_masks": {"power": 1.3}}, "pseudo_masks: refine affinitynet has no use for power; take it out"),
        ({"affinity": {"displacement": True}}, "affinity: refine affinitynet has no use for displacement"),
        ({"pseudo_masks": {"exp_times": 13}}, "pseudo_masks.exp_times: 13 is greater than the maximum of 12"),
        ({"pseudo_masks": {"exp_times": -1}}, "pseudo_masks.exp_times: -1 is less than the minimum of 0"),
        ({"pseudo_masks": {"bg": {"kind": "power", "value": 0}}}, "pseudo_masks.bg.value: 0 is less than or equal"),
        ({"pseudo_masks": {"bg": {"kind": "power", "value": 65}}}, "pseudo_masks.bg.value: 65 is greater than the maximum of 64"),
        ({"seeds": {"unsure": {"kind": "power", "value": 100}}}, "seeds.unsure.value: 100 is greater than the maximum of 64"),
        ({"pseudo_masks": {"pairs": "some"}}, "pseudo_masks.pairs: 'some' is not allowed; allowed: all, inner"),
        ({"weights": "none"}, "trunk imagenet with weights none would be a random trunk; set trunk: classifier"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(resolve, changes, words):
    with pytest.raises(UserError, match="own.yaml: ") as caught:
        resolve(**changes)
    assert words in str(caught.value)


# --- the workflow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("project") / "clone")


def test_the_plan(project):
    jobs = planned(project, "results/demo_tiny/cam_affinitynet/pseudo_masks/index.json")
    own = {f"cam_affinitynet/{stage}" for stage in ("seeds", "affinity", "pseudo_masks")}
    assert jobs - {"dataset", "manifest", "all"} == own | {"cam/classifier", "cam/cam"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("extends: cam_affinitynet\nseeds: {from: cam}\n", "set seeds: {probabilities: true} in recipe cam"),
        ("extends: cam_affinitynet\naffinity: {from: irn}\n", "cannot walk with the affinity of recipe irn, which is made for refine irn"),
    ],
)  # fmt: skip
def test_borrowed_parts_must_fit(project, text, words):
    (project / "config/methods/new.yaml").write_text(text)
    done = snakemake(project, "-n", "results/demo_tiny/new/pseudo_masks/index.json")
    assert done.returncode != 0 and words in done.stdout, done.stdout
