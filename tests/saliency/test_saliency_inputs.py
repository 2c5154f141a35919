"""Saliency maps on their way into a training: the user's files, the plan, the samples, the classifier stage."""

import json

import numpy as np
import pytest
import yaml
from helpers import REPOSITORY, RUNTIME, photo
from PIL import Image
from sections import augmentation_of
from wsss.data import folder, voc
from wsss.data.manifest import load_manifest
from wsss.data.torch_sets import TrainingSet
from wsss.data.transforms import MEAN, STD
from wsss.data.user_files import folder_stamp, own_data
from wsss.engine import backup
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.saliency import read_saliency, write_saliency
from wsss.plan.saliency import has_saliency, how_made_by_spec
from wsss.recipes.config import Config
from wsss.stages import classifier, saliency

SIZE = (48, 64)
NAMES = [f"p{number}" for number in range(6)]


@pytest.fixture
def own(tmp_path):
    """Six photos, the last in val, and a folder of maps: the images' first channel."""
    rng = np.random.default_rng(0)
    for name in ("images", "maps"):
        (tmp_path / name).mkdir()
    lines = ["image,labels,split"]
    for number, name in enumerate(NAMES):
        image = photo(rng, SIZE, number % 2)[0]
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        write_saliency(tmp_path / "maps" / f"{name}.png", image[..., 0])
        lines.append(f"{name}.png,{['red', 'green'][number % 2]},{'val' if number == 5 else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def build(own, **params):
    given = {"images": str(own / "images"), "labels": str(own / "labels.csv"), **params}
    return folder.build({**given, "name": "own"}, own / "results")


def with_maps(own):
    return build(own, saliency=str(own / "maps"))


# --- files ---------------------------------------------------------------------------------------------

WRONG = {
    "RGB": lambda gray: np.dstack([gray] * 3),
    "LA": lambda gray: np.dstack([gray] * 2),
    "I;16": lambda gray: gray.astype(np.uint16) * 257,
    "1": lambda gray: gray > 127,
}


@pytest.mark.parametrize("mode", WRONG)
def test_other_modes_are_refused_with_the_mend(tmp_path, mode):
    Image.fromarray(WRONG[mode](np.full(SIZE, 200, np.uint8))).save(tmp_path / "a.png")
    with pytest.raises(
        UserError, match=rf"a.png: saliency map has mode {mode}, not 8-bit gray.*convert\('L'\).*257"
    ):
        read_saliency(tmp_path / "a.png")


def test_a_palette_picture_is_no_saliency_map(tmp_path):
    picture = Image.new("P", SIZE)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "a.png")
    with pytest.raises(UserError, match="has mode P"):
        read_saliency(tmp_path / "a.png")


def spoil(maps):
    """Make every kind of mistake once, on training images."""
    (maps / "p0.png").unlink()
    for name, mode in (("p1", "RGB"), ("p2", "I;16")):
        Image.fromarray(WRONG[mode](np.zeros(SIZE, np.uint8))).save(maps / f"{name}.png")
    write_saliency(maps / "p3.png", np.zeros((9, 9), np.uint8))
    (maps / "p4.png").write_bytes(b"no png")


MISTAKES = ("p1.png: saliency map has mode RGB", "p2.png: saliency map has mode I;16", "p3.png: is 9x9, its image 64x48", "p4.png: not a readable saliency map")  # fmt: skip


def test_a_folder_with_many_mistakes_is_complained_of_once(own):
    spoil(own / "maps")
    (own / "maps/p5.png").unlink()  # val images need none
    with pytest.raises(UserError, match=r"\(5 problems\)") as error:
        with_maps(own)
    assert all(part in str(error.value) for part in ("p0.png: no saliency map in", *MISTAKES))


@pytest.fixture
def tree(own):
    """The same photos as a VOC tree without SALImages: p0 to p4 for training, p5 in val."""
    root = own / "VOCdevkit/VOC2012"
    for name in ("Annotations", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    (root / "JPEGImages").symlink_to(own / "images")
    for name in NAMES:
        (root / f"Annotations/{name}.xml").write_text(
            "<annotation><object><name>cat</name></object></annotation>"
        )
    for name, ids in {"train": NAMES[:2], "train_aug": NAMES[:5], "val": NAMES[5:]}.items():
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(ids) + "\n")
    return root


def test_the_maps_of_a_voc_tree_may_lie_elsewhere(own, tree):
    dataset = voc.build({"path": str(own), "saliency": str(own / "maps")}, own / "results")
    assert [r.saliency.name for r in dataset.records] == [f"{name}.png" for name in NAMES]
    (own / "maps/p5.png").unlink()  # val images need none
    assert all(r.saliency is None for r in voc.build({"path": str(own)}, own / "results").records)
    spoil(own / "maps")
    with pytest.raises(UserError, match=r"\(5 problems\)") as error:
        voc.build({"path": str(own), "saliency": str(own / "maps")}, own / "results")
    assert all(part in str(error.value) for part in ("p0.png: missing saliency map", *MISTAKES))
    with pytest.raises(UserError, match="nowhere: no such folder; mend `saliency`"):
        voc.build({"path": str(own), "saliency": str(own / "nowhere")}, own / "results")


# --- the plan ------------------------------------------------------------------------------------------


def spec(kind, **params):
    made = params.pop("make", None)
    return {"kind": kind, "params": params, **({"saliency": made} if made else {})}


OURS, FALLBACK = {"make": "robust_background"}, {"make": "robust_background", "fallback": True}


def test_which_maps_are_used(own, tree):
    maps = {"saliency": str(own / "maps")}
    downloaded, in_tree = spec("voc", path=None), spec("voc", path=str(own))
    for without in (downloaded, in_tree, spec("folder"), spec("coco", path=None)):
        with pytest.raises(
            UserError, match=r"x.yaml: the dataset has no saliency maps.*params: .saliency: FOLDER"
        ):
            how_made_by_spec(without, "x.yaml")
        for maker in (OURS, FALLBACK):
            assert how_made_by_spec({**without, "saliency": maker}, "") == OURS
    for given in (
        spec("voc", path=None, **maps),
        spec("folder", **maps),
        spec("coco", path=None, **maps),
        spec("demo"),
    ):
        assert how_made_by_spec(given, "") is None
        assert how_made_by_spec({**given, "saliency": OURS}, "") == OURS  # the key decides ...
        assert how_made_by_spec({**given, "saliency": FALLBACK}, "") is None  # ... unless it is a fallback
    (tree / "SALImages").mkdir()
    assert (
        how_made_by_spec(in_tree, "") is None and how_made_by_spec({**in_tree, "saliency": FALLBACK}, "") is None
    )


def test_a_wrong_folder_or_command_ends_the_plan(own):
    with pytest.raises(UserError, match="nowhere: no such folder; mend `saliency`"):
        has_saliency(spec("folder", saliency=str(own / "nowhere")))
    assert has_saliency(spec("voc", path=str(own / "no tree")))  # the builder has more to say about that
    with pytest.raises(UserError, match="lacks {out}"):
        how_made_by_spec(spec("folder", make={"make": "command", "command": "run {list}"}), "")


@pytest.mark.parametrize("kind", ["folder", "voc", "coco"])
def test_the_users_maps_are_watched(own, kind):
    given = spec(kind, saliency=str(own / "maps"))
    before = folder_stamp(own_data(given))
    write_saliency(own / "maps/p0.png", np.zeros(SIZE, np.uint8))
    assert folder_stamp(own_data(given)) != before


@pytest.mark.parametrize(
    "key, words",
    [
        ("{make: magic}", "saliency.make: 'magic' is not allowed; allowed: robust_background, feature_cut, command"),
        ("{superpixels: 100}", "make is missing"),
        ("{make: command}", "command is missing"),
        (
            "{make: robust_background, comand: x}",
            "unknown key comand in saliency; allowed: fallback, long_side, make, superpixels",
        ),
        ("{make: command, command: x, superpixels: 100}", "unknown key superpixels in saliency"),
        ("{make: robust_background, superpixels: 5}", "saliency.superpixels: 5 is less than the minimum"),
    ],
)
def test_a_wrong_key_is_one_line(tmp_path, key, words):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/x.yaml").write_text(f"kind: voc\nparams: {{}}\nsaliency: {key}\n")
    main = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    with pytest.raises(UserError, match=words) as error:
        Config(tmp_path, main).dataset("x")
    assert "x.yaml" in str(error.value)


# --- samples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [{"resize": {"scale": [0.6, 0.9]}, "flip": 0.5, "crop": 60}, {"resize": {}, "flip": 0.5, "crop": 32}])  # fmt: skip
def test_maps_go_through_the_images_geometry(own, augmentation):
    """Maps that are the images' red channel stay it, whatever is drawn; what is padded is background."""
    dataset = with_maps(own)
    samples = TrainingSet(
        dataset, dataset.records, augmentation_of(augmentation), None, lambda record: record.saliency, lambda view, rng: {"valid": view.geometry.valid()}
    )
    for seed in range(8):
        sample = samples[seed % 5, seed]
        assert (
            sample["saliency"].shape
            == sample["valid"].shape
            == (1, augmentation["crop"], augmentation["crop"])
        )
        red = sample["image"][0] * STD[0] + MEAN[0]
        np.testing.assert_allclose(sample["saliency"][0], red * sample["valid"][0], atol=1e-6)


def test_a_map_of_another_size_is_named(own):
    dataset = with_maps(own)
    write_saliency(own / "other.png", np.zeros((5, 5), np.uint8))
    augmentation = augmentation_of({"resize": {}, "flip": 0.5, "crop": 32})
    samples = TrainingSet(
        dataset, dataset.records, augmentation, saliency_path=lambda record: own / "other.png"
    )
    with pytest.raises(UserError, match="other.png: size .5, 5. differs from its image's"):
        samples[0, 0]


# --- the stage -----------------------------------------------------------------------------------------


def task_of(own, net="eps", says=True, **inputs):
    """A classifier task of two steps on the own dataset; `says`: the recipe's `classifier.saliency`."""
    results = own / "results"
    settings = {
        "optimiser": "adamw", "lr": 1e-3, "weight_decay": 0.0, "schedule": "constant", "batch_size": 2, "steps": 2,
        "augmentation": {"resize": {}, "flip": 0.5, "crop": 32}, **({"saliency": True} if says else {}),
    }  # fmt: skip
    files = {"manifest": "manifest.csv", "dataset": "dataset.json", **inputs}
    return Task(
        "classifier",
        {name: str(results / path) for name, path in files.items()},
        {
            name: str(results / f"classifier/{file}")
            for name, file in (("model", "model.safetensors"), ("history", "history.csv"), ("check", "check.json"))
        },
        {
            "settings": settings,
            "recipe": {"net": net, "backbone": "resnet_small", "weights": "none"},
            "seed": 0,
            "compute": {"precision": "fp32", "cpu_threads": 1},
            "net_options": {"bn": "train", "freeze": "none", "output_stride": 16},
        },
        RUNTIME,
    )


def model(task):
    """What it learns now: maps are changed here behind the index, so a finished training would be taken for the same."""
    (task.folder / backup.NOTE).unlink(missing_ok=True)
    classifier.run(task)
    return (task.folder / "model.safetensors").read_bytes()


def make_maps(own, **settings):
    results = own / "results"
    files = {"manifest": str(results / "manifest.csv"), "dataset": str(results / "dataset.json")}
    outputs = {"index": str(results / "saliency/index.json")}
    saliency.run(
        Task("saliency", files, outputs, {"settings": {"make": "robust_background", **settings}}, RUNTIME)
    )


def test_given_and_made_maps_teach_different_things(own):
    with_maps(own)
    given = model(task_of(own))
    make_maps(own)
    assert model(task_of(own, saliency="saliency/index.json")) != given
    for record in load_manifest(own / "results/manifest.csv").split("trainaug"):
        write_saliency(own / "results/saliency" / f"{record.id}.png", read_saliency(record.saliency))
    assert model(task_of(own, saliency="saliency/index.json")) == given


def test_every_missing_map_is_named_before_training(own):
    build(own)
    with pytest.raises(UserError, match=r"own: of 5 training images these have no saliency map.*robust_background.*\(5 problems\)") as error:  # fmt: skip
        classifier.run(task_of(own))
    assert all(f"{name}: none in the manifest" in str(error.value) for name in NAMES[:5])
    with_maps(own)
    for name in NAMES[:2]:
        (own / "maps" / f"{name}.png").unlink()
    with pytest.raises(UserError, match=r"\(2 problems\)[^§]*p0: .*/maps/p0.png\n *p1: .*/maps/p1.png"):
        classifier.run(task_of(own))
    assert not (own / "results/classifier").exists()


def test_a_lost_made_map_is_named_with_the_command(own):
    build(own)
    make_maps(own)
    (own / "results/saliency/p3.png").unlink()
    with pytest.raises(
        UserError, match="1 of 5 ids have no file here .p3.; run: snakemake --force .*saliency/index.json"
    ):
        classifier.run(task_of(own, saliency="saliency/index.json"))


def test_recipe_and_net_must_agree(own):
    with_maps(own)
    with pytest.raises(
        UserError, match="net eps learns from saliency maps; set `classifier: .saliency: true.`"
    ):
        classifier.run(task_of(own, says=False))
    with pytest.raises(UserError, match="net eps_base learns nothing from saliency maps; take"):
        classifier.run(task_of(own, net="eps_base"))
    assert model(task_of(own, net="eps_base", says=False))


def test_maps_change_the_record_of_the_dataset(own):
    """So that Snakemake sees one changed pixel of a given map."""
    with_maps(own)
    digest = json.loads((own / "results/dataset.json").read_text())["digest"]
    write_saliency(own / "maps/p0.png", np.zeros(SIZE, np.uint8))
    with_maps(own)
    assert json.loads((own / "results/dataset.json").read_text())["digest"] != digest
