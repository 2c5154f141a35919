"""The recipes and presets that are shipped: all resolve, and the published values are the defaults."""


import pytest
import yaml
from config_files import CONFIG, config
from wsss import methods
from wsss.recipes.config import SECTIONS, key_paths

pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def names(kind):
    return sorted(p.stem for p in (CONFIG / kind).glob("*.yaml"))


@pytest.mark.parametrize("dataset", names("datasets"))
def test_every_recipe_resolves_on_every_dataset(dataset):
    shipped = config()
    for method in names("methods"):
        recipe = shipped.recipe(method, dataset)
        assert recipe["name"] == method and not {"extends", "parts"} & set(recipe)
        known = methods.get(recipe["net"]).defaults
        assert set(recipe["net_options"]) <= set(known), "an option of another net leaked in"


def test_no_recipe_copies_a_section():
    """What recipes share stands in config/parts; a short section is quicker read where it is used."""
    seen = {}
    for path in [*CONFIG.glob("methods/*.yaml"), *CONFIG.glob("parts/*.yaml")]:
        content = yaml.safe_load(path.read_text())
        for stage in SECTIONS:
            values = list(key_paths(content.get(stage, {})))
            text = yaml.safe_dump(content.get(stage, {}))
            assert len(values) < 5 or text not in seen, f"{path.name} and {seen[text]}: {stage}"
            seen[text] = path.name


def test_every_part_serves_more_than_one_recipe():
    named = [part for path in CONFIG.glob("methods/*.yaml") for part in yaml.safe_load(path.read_text()).get("parts", [])]
    assert set(named) == set(names("parts")) and all(named.count(part) > 1 for part in named)


VOC = {
    "cam": {
        "backbone": "resnet50",
        "weights": "imagenet",
        "classifier.optimiser": "sgd",
        "classifier.lr": 0.1,
        "classifier.momentum": 0,
        "classifier.weight_decay": 1e-4,
        "classifier.schedule": "poly",
        "classifier.power": 0.9,
        "classifier.batch_size": 16,
        "classifier.epochs": 5,
        "classifier.steps": None,
        "classifier.augmentation": {"resize": {"long_side": [320, 640]}, "flip": 0.5, "crop": 512},
        "net_options": {
            "freeze": "stage2", "bn": "statistics", "output_stride": 16, "head_lr_scale": 10,
        },
        "cam.scales": [1.0, 0.5, 1.5, 2.0],
        "seeds.confident": {"kind": "const", "value": 0.30},
        "seeds.unsure": {"kind": "const", "value": 0.05},
        "seeds.crf_params": {
            "gt_prob": 0.7, "iterations": 10, "sxy_gaussian": 3, "compat_gaussian": 3,
            "sxy_bilateral": 50, "srgb": 5, "compat_bilateral": 10,
        },
        "evaluation.bg": {"kind": "const", "value": 0.15},
        "evaluation.policy": "fixed",
    },
    "irn": {
        "refine": "irn",
        "affinity.backbone": "resnet50",
        "affinity.trunk": "imagenet",
        "affinity.radius": 10,
        "affinity.optimiser": "sgd",
        "affinity.lr": 0.1,
        "affinity.momentum": 0,
        "affinity.weight_decay": 1e-4,
        "affinity.power": 0.9,
        "affinity.batch_size": 32,
        "affinity.epochs": 3,
        "affinity.augmentation": {"resize": {"scale": [0.5, 1.5]}, "flip": 0.5, "crop": 512},
        "pseudo_masks.bg": {"kind": "const", "value": 0.25},
        "pseudo_masks.power": 1.0,
        "pseudo_masks.beta": 10,
        "pseudo_masks.exp_times": 8,
        "pseudo_masks.radius": 5,
        "classifier": {"from": "cam"},
        "evaluation.bg": {"kind": "const", "value": 0.15},
    },
    "amn": {
        "net": "amn",
        "classifier.labels_from": "cam",
        "classifier.optimiser": "adam",
        "classifier.lr": 5e-6,
        "classifier.weight_decay": 1e-4,
        "classifier.schedule": "constant",
        "classifier.batch_size": 16,
        "classifier.epochs": 5,
        "net_options.label_smoothing": 0.4,
        "net_options.dropout": 0.1,
        "net_options.aspp_dilations": [6, 12, 18, 24],
        "net_options.head_lr_scale": 20,
        "cam.aux_from": "cam",
        "seeds.confident": {"kind": "const", "value": 0.45},
        "seeds.unsure": {"kind": "const", "value": 0.15},
        "affinity.lr": 0.1,
        "affinity.radius": 10,
        "affinity.epochs": 3,
        "affinity.batch_size": 32,
        "pseudo_masks.bg": {"kind": "const", "value": 0.25},
        "pseudo_masks.power": 1.3,
        "pseudo_masks.beta": 10,
        "pseudo_masks.exp_times": 8,
        "pseudo_masks.radius": 5,
        "evaluation.bg": {"kind": "const", "value": 0.25},
    },
    "full": {"segmentation.labels": "ground_truth"},
}  # fmt: skip

SEGMENTATION = {
    "segmentation.backbone": "resnet101",
    "segmentation.optimiser": "sgd",
    "segmentation.lr": 2.5e-4,
    "segmentation.momentum": 0.9,
    "segmentation.weight_decay": 5e-4,
    "segmentation.power": 0.9,
    "segmentation.batch_size": 10,
    "segmentation.steps": 20000,
    "segmentation.augmentation.crop": 321,
    "segmentation.options.msc": True,
    "predictions.flip": True,
    "predictions.scales": [0.5, 0.75, 1.0, 1.25, 1.5],
    "predictions.crf_params": {
        "iterations": 10, "sxy_gaussian": 1, "compat_gaussian": 3,
        "sxy_bilateral": 67, "srgb": 3, "compat_bilateral": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("method", VOC)
def test_published_values_are_the_defaults_on_voc12(method):
    recipe = config().recipe(method, "voc12")
    for key, value in {**SEGMENTATION, **VOC[method]}.items():
        found = recipe
        for part in key.split("."):
            found = found[part]
        assert found == value, key
        assert type(found) is type(value) or {type(found), type(value)} <= {int, float}, key


def test_options_of_one_net_never_reach_another():
    """amn extends irn extends cam: cam's options go when the net changes, whatever preset is laid on."""
    for dataset in ("voc12", "demo", "demo_tiny", "voc_mini"):
        cam, amn = (config().recipe(m, dataset)["net_options"] for m in ("cam", "amn"))
        assert "freeze" in cam and "mask_trick" not in cam
        assert "label_smoothing" in amn and "label_smoothing" not in cam
        assert config().recipe("irn", dataset)["net_options"] == cam
    assert config().recipe("amn", "voc12")["net_options"]["head_lr_scale"] == 20


def test_a_preset_lays_its_own_augmentation_on():
    """`resize: {}` means no resize; it must not leave the recipe's long_side standing."""
    tiny = config().recipe("cam", "demo_tiny")["classifier"]["augmentation"]
    assert (
        tiny
        == yaml.safe_load((CONFIG / "presets/tiny.yaml").read_text())["common"]["classifier"]["augmentation"]
    )
    demo = config().recipe("cam", "demo")["classifier"]["augmentation"]
    assert list(demo["resize"]) == ["scale"]


def test_a_stage_taken_from_another_recipe_stays_so_under_a_preset():
    for dataset in ("demo", "voc_mini"):
        assert config().recipe("irn", dataset)["classifier"] == {"from": "cam"}
        assert config().owner("irn", dataset, "seeds") == "cam"
        assert config().owner("amn", dataset, "seeds") == "amn"
        assert config().owner("amn", dataset, "classifier") == "amn"


@pytest.mark.parametrize(
    "method, expected", [("cam", {"cam"}), ("irn", {"cam", "irn"}), ("amn", {"cam", "amn"}), ("full", {"full"})]
)


def test_sources_of_a_recipe(method, expected):
    assert config().sources(method, "voc12") == expected


def test_the_first_run_compares_seeds_that_are_made_alike():
    """Of the default methods: the two rows differ in the network of the seeds, and each has its maps from its own recipe."""
    main = yaml.safe_load((CONFIG / "config.yaml").read_text())
    assert (main["datasets"], main["methods"]) == (["demo_small"], ["cam_seed", "amn_seed", "full"])
    rows = [config().recipe(name, "demo_small") for name in main["methods"]]
    assert [row["refine"] for row in rows] == ["none"] * 3
    assert [row["cam"]["from"] for row in rows[:2]] == ["cam", "amn"]
    assert [row["pseudo_masks"]["bg"] for row in rows[:2]] == [{"kind": "const", "value": "found"}] * 2
    trained = [{k: v for k, v in row["segmentation"].items() if k != "labels"} for row in rows]
    assert trained[0] == trained[1] == trained[2]
