import itertools
import re
import shutil
from pathlib import Path

import pytest
import yaml
from config_files import CONFIG, MAIN, change_method, config, rewrite
from wsss import methods
from wsss.data.user_files import folder_stamp, own_data
from wsss.errors import UserError
from wsss.found import refuse_reversed
from wsss.imports.command import NAME
from wsss.recipes.config import Config, expand_env, read_yaml
from wsss.recipes.merge import merge
from wsss.recipes.schema import check
from wsss.rownames import RESERVED


@pytest.fixture
def project(tmp_path):
    """A copy of config/ to break."""
    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"


pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def names(kind):
    return sorted(p.stem for p in (CONFIG / kind).glob("*.yaml"))


# --- everything that is shipped ------------------------------------------------------------------------


@pytest.mark.parametrize("method, dataset", list(itertools.product(names("methods"), names("datasets"))))
def test_every_recipe_resolves_on_every_dataset(method, dataset):
    recipe = config().recipe(method, dataset)
    assert recipe["name"] == method and "extends" not in recipe
    known = methods.get(recipe["net"]).defaults
    assert set(recipe["net_options"]) <= set(known), "an option of another net leaked in"
    for section in recipe.values():
        if isinstance(section, dict) and "lr" in section:
            assert section.get("steps") or section.get("epochs")
            assert section["optimiser"] != "sgd" or "momentum" in section
            assert section["schedule"] != "poly" or "power" in section


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


# --- what users get wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        ({"methds": ["cam"]}, "weights; did you mean methods?"),
        ({"methods": "cam"}, "methods: 'cam' is not of type 'array'"),
        ({"methods": []}, "methods"),
        ({"datasets": ["Demo"]}, "datasets.0"),
        ({"seeds": [-1]}, "seeds.0: -1"),
        ({"compute": {"precision": "fp8", "cpu_threads": 2}}, "compute.precision: 'fp8' is not allowed"),
        ({"compute": {"precision": "auto", "cpu_threads": 0}}, "compute.cpu_threads: 0"),
        (
            {"runtime": {**MAIN["runtime"], "worker": 1}},
            "unknown key worker in runtime; allowed: checkpoint_seconds",
        ),
    ],
)
def test_wrong_config_names_file_and_key(change, words):
    with pytest.raises(UserError) as caught:
        config(**change)
    assert words in str(caught.value) and "config.yaml" in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="config.yaml.*'seeds' is a required property"):
        Config(CONFIG, {k: v for k, v in MAIN.items() if k != "seeds"})


@pytest.mark.parametrize(
    "stage, key, value, words",
    [
        (
            "classifier",
            "learning_rate",
            0.1,
            "unknown key learning_rate in classifier; allowed: augmentation",
        ),
        ("classifier", "lr", "fast", "classifier.lr: 'fast' is not of type 'number'"),
        ("classifier", "lr", -0.1, "classifier.lr: -0.1"),
        ("classifier", "clip_norm", 0, "classifier.clip_norm: 0 is less than or equal to the minimum of 0"),
        ("classifier", "batch_size", 2.5, "classifier.batch_size: 2.5"),
        (
            "classifier",
            "optimiser",
            "lamb",
            "classifier.optimiser: 'lamb' is not allowed; allowed: sgd, adam, adamw",
        ),
        ("seeds", "confident", {"kind": "const", "value": 1.2}, "seeds.confident.value: 1.2"),
        ("seeds", "unsure", {"kind": "const", "value": -0.1}, "seeds.unsure.value: -0.1"),
        ("seeds", "confident", {"kind": "const", "value": True}, "seeds.confident.value: True"),
        ("seeds", "confident", 0.3, "seeds.confident: 0.3 is not of type 'object'"),
        ("evaluation", "bg", {"kind": "konst", "value": 0.3}, "evaluation.bg.kind: 'konst'"),
        ("evaluation", "policy", "best", "evaluation.policy: 'best'"),
        ("cam", "scales", [], "cam.scales"),
        ("segmentation", "options", {"outputstride": 8}, "unknown key outputstride in segmentation.options"),
    ],
)
def test_wrong_recipe_names_file_key_and_value(project, stage, key, value, words):
    broken = change_method(project, lambda recipe: recipe[stage].update({key: value}))
    with pytest.raises(UserError) as caught:
        broken.recipe("cam", "demo")
    assert words in str(caught.value) and "cam.yaml" in str(caught.value)


def test_power_backgrounds_may_exceed_one(project):
    change = lambda recipe: recipe["seeds"].update(confident={"kind": "power", "value": 4})  # noqa: E731
    assert change_method(project, change).recipe("cam", "voc12")["seeds"]["confident"]["value"] == 4


def test_all_problems_at_once(project):
    broken = change_method(project, lambda r: (r["classifier"].update(lr=0, epochs=0), r.update(nets="x")))
    with pytest.raises(UserError) as caught:
        broken.recipe("cam", "demo")
    assert len(str(caught.value).splitlines()) == 3


def test_unknown_key_in_a_stage_that_has_a_from(project):
    broken = change_method(project, lambda recipe: recipe["seeds"].update(frm="cam"), "irn")
    with pytest.raises(UserError, match="irn.yaml: unknown key frm in seeds; allowed: from"):
        broken.recipe("irn", "demo")


@pytest.mark.parametrize(
    "values, words",
    [
        ({"momentum": None}, "classifier: optimiser sgd needs momentum"),
        ({"power": None}, "classifier: schedule poly needs power"),
        ({"epochs": None}, "classifier: give steps or epochs"),
    ],
)
def test_what_a_choice_needs_is_asked_for(project, values, words):
    def change(recipe):
        for key in values:
            del recipe["classifier"][key]

    with pytest.raises(UserError, match=words):
        change_method(project, change).recipe("cam", "voc12")


@pytest.mark.parametrize(
    "layer", [{"common": {"classifier": {"lr": "x"}}}, {"methods": {"cam": {"classifier": {"lr": "x"}}}}]
)
def test_a_wrong_preset_is_named(project, layer):
    rewrite(project / "presets/tiny.yaml", lambda content: (content.clear(), content.update(layer)))
    with pytest.raises(UserError, match=r"presets/tiny.yaml \(laid on method cam\): classifier.lr: 'x'"):
        config(project).recipe("cam", "demo_tiny")


def test_overrides_of_a_dataset(project):
    rewrite(
        project / "datasets/demo.yaml",
        lambda c: c.update(overrides={"cam": {"seeds": {"confident": {"value": 0.4}}}}),
    )
    resolved = config(project)
    assert resolved.recipe("cam", "demo")["seeds"]["confident"] == {"kind": "const", "value": 0.4}
    assert resolved.recipe("cam", "demo1")["seeds"]["confident"]["value"] == "found"
    assert resolved.recipe("irn", "demo")["seeds"] == {"from": "cam"}
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={"cam": {"sedes": {}}}))
    with pytest.raises(UserError, match="datasets/demo.yaml .*unknown key sedes"):
        config(project).recipe("cam", "demo")


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: 1\nb: {c: 1, c: 2}\n", r"key given twice: \['c'\]"),
        ("a: 1\na: 1\n", "key given twice"),
        ("a: [1\n", "not valid YAML"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_bad_yaml_is_one_line_with_the_file(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=f"x.yaml: .*{words}") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


def test_missing_and_binary_yaml(tmp_path):
    with pytest.raises(UserError, match="x.yaml: no such config file"):
        read_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="x.yaml: not valid YAML"):
        read_yaml(tmp_path / "x.yaml")


def test_exponents_without_a_point_are_numbers(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 1e-4\nb: 5E3\nc: 1.0e-2\nd: 12\ne: e5\nf: -2e-3\n")
    assert read_yaml(tmp_path / "x.yaml") == {
        "a": 1e-4,
        "b": 5000.0,
        "c": 0.01,
        "d": 12,
        "e": "e5",
        "f": -0.002,
    }


def test_circular_extends(project):
    broken = change_method(project, lambda recipe: recipe.update(extends="amn"))
    with pytest.raises(UserError, match="extends goes round in a circle"):
        broken.recipe("amn", "demo")


def test_circular_from(project):
    broken = change_method(project, lambda recipe: recipe.update(seeds={"from": "irn"}))
    with pytest.raises(UserError, match="seeds goes round in a circle: irn -> cam -> irn"):
        broken.owner("irn", "demo", "seeds")


@pytest.mark.parametrize("name", ["unknown", "../cam", "CAM"])
def test_unknown_recipe_lists_the_known(name):
    with pytest.raises(UserError, match="known methods: amn, amn_seed, cam, .*full, irn"):
        config().recipe(name, "demo")


def test_unknown_dataset_and_preset(project):
    with pytest.raises(UserError, match="known datasets: coco14, coco17.* demo, demo1"):
        config().dataset("vok12")
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(preset="huge"))
    with pytest.raises(UserError, match="huge.yaml.*known presets: coco, cpu_small, demo, tiny"):
        config(project).recipe("cam", "demo")


def test_recipe_without_its_first_things(project):
    (project / "methods/new.yaml").write_text("backbone: resnet50\n")
    with pytest.raises(UserError, match="methods/new.yaml"):
        config(project).recipe("new", "demo")


def test_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("WSSS_TEST_DATA")
    with pytest.raises(UserError, match="voc_mini.yaml: environment variable WSSS_TEST_DATA is not set"):
        config().dataset("voc_mini")


def test_variables_are_expanded_everywhere(monkeypatch):
    monkeypatch.setenv("A", "x")
    assert expand_env({"a": ["${A}/${A}", 3], "b": "$A"}, "f") == {"a": ["x/x", 3], "b": "$A"}


@pytest.mark.parametrize(
    "base, over, result",
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"resize": {"long_side": [1, 2]}}, {"resize": {"scale": [0.5, 1]}}, {"resize": {"scale": [0.5, 1]}}),
        ({"resize": {"long_side": [1, 2]}}, {"resize": {}}, {"resize": {}}),
        ({"seeds": {"from": "cam"}}, {"seeds": {"x": 1}}, {"seeds": {"x": 1}}),
        ({"seeds": {"x": 1}}, {"seeds": {"from": "cam"}}, {"seeds": {"from": "cam"}}),
        ({"net_options": {"a": 1}}, {"net_options": {}}, {"net_options": {"a": 1}}),
        ({"net_options": {"a": 1}}, {"net_options": {"b": 2}}, {"net_options": {"a": 1, "b": 2}}),
    ],
)
def test_merge(base, over, result):
    before = repr(base), repr(over)
    assert merge(base, over) == result
    assert (repr(base), repr(over)) == before


def test_folder_stamp_sees_content_names_and_losses(tmp_path):
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "a.png"
    path.write_bytes(b"one")
    first = folder_stamp([str(tmp_path / "images")])
    assert folder_stamp([str(tmp_path / "images")]) == first
    path.write_bytes(b"three")
    second = folder_stamp([str(tmp_path / "images")])
    path.rename(path.with_name("b.png"))
    third = folder_stamp([str(tmp_path / "images")])
    Path(tmp_path / "images" / "b.png").unlink()
    assert len({first, second, third, folder_stamp([str(tmp_path / "images")])}) == 4


@pytest.mark.parametrize("net", read_yaml(CONFIG / "schemas/net_options.yaml"))
def test_a_nets_schema_has_its_options_and_no_other(net):
    schema = read_yaml(CONFIG / "schemas/net_options.yaml")[net]
    assert set(schema["properties"]) == set(methods.get(net).defaults)


@pytest.mark.parametrize(
    "method, option, value, words",
    [
        ("cam", "freeze", "layer3", "net_options.freeze: 'layer3' is not allowed; allowed: none, stem, stage1, stage2"),
        ("cam", "bn", "affine", "net_options.bn: 'affine' is not allowed; allowed: frozen, statistics, train"),
        ("cam", "detach", "layer2", "(detach is now freeze: stage2 or none)"),
        ("seam", "freeze_stem", True, "(freeze_stem is now freeze: stem, stage1 or none)"),
        ("cam", "output_stride", 4, "net_options.output_stride: 4 is not allowed"),
        ("cam", "frieze", "none", "unknown key frieze in net_options; allowed: bn, freeze"),
        ("amn", "dropout", 1.0, "net_options.dropout: 1.0"),
        ("amn", "aspp_dilations", 6, "net_options.aspp_dilations: 6 is not of type 'array'"),
        ("amn", "mask_trick", "yes", "net_options.mask_trick: 'yes'"),
    ],
)
def test_wrong_net_options_are_named_before_anything_runs(project, method, option, value, words):
    broken = change_method(project, lambda recipe: recipe["net_options"].update({option: value}), method)
    with pytest.raises(UserError) as caught:
        broken.recipe(method, "voc12")
    assert words in str(caught.value) and f"{method}.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"affinity": {"freeze_stem": True}}, "freeze_stem is now freeze: stem, stage1 or none"),
        ({"segmentation": {"options": {"bn": "statistics"}}}, "statistics is now affine"),
        ({"evaluation": {"policy": "no_gt"}}, "no_gt is now found"),
        ({"pseudo_masks": {"pad_to": None}}, "null is now multiples_of_16"),
    ],
)
def test_a_former_name_in_a_stage_is_refused_with_the_new_one(project, change, words):
    broken = change_method(project, lambda recipe: recipe.update(merge(recipe, change)), "seam")
    with pytest.raises(UserError, match=words):
        broken.recipe("seam", "voc12")


ALL_LEARNS = {"net_options": {"freeze": "none", "bn": "train"}, "segmentation": {"options": {"bn": "train"}}}


@pytest.mark.parametrize("method", ["cam", "amn", "eps_base", "eps", "seam", "cpn"])
def test_a_random_start_with_frozen_parts_is_refused(project, method):
    def resolved(**over):
        values = merge({"weights": "none", "affinity": {"trunk": "classifier"}, **ALL_LEARNS}, over)
        if method in ("cam", "eps_base", "eps"):
            values.pop("affinity")
        return change_method(project, lambda recipe: recipe.update(merge(recipe, values)), method).recipe(method, "voc12")

    for options in ({"freeze": "stem"}, {"bn": "statistics"}, {"bn": "frozen"}):
        with pytest.raises(UserError, match=rf"{method}.yaml: net_options: weights none .* set freeze: none and bn: train"):
            resolved(net_options=options)
    with pytest.raises(UserError, match="segmentation.options: weights none .* set freeze: none and bn: train"):
        resolved(segmentation={"options": {"bn": "frozen"}})
    assert resolved(segmentation={"options": {"bn": "affine"}})["weights"] == "none"


@pytest.mark.parametrize("method", ["cam", "eps_base", "seam"])
def test_unlabelled_images_are_refused_where_image_labels_teach(project, method):
    broken = change_method(project, lambda recipe: recipe["classifier"].update(unlabelled=True), method)
    with pytest.raises(UserError, match=rf"{method}.yaml: classifier: unlabelled true .* set unlabelled: false"):
        broken.recipe(method, "voc12")


@pytest.mark.parametrize("value", [None, "512px", 8, True, 1.5])
def test_a_canvas_that_is_none_is_refused(project, value):
    broken = change_method(project, lambda recipe: recipe["pseudo_masks"].update(pad_to=value), "irn")
    with pytest.raises(UserError, match=r"irn.yaml: pseudo_masks.pad_to: "):
        broken.recipe("irn", "voc12")


def test_an_option_left_out_counts_as_frozen(project):
    def change(recipe):
        recipe["weights"] = "none"
        del recipe["net_options"]["freeze"]

    with pytest.raises(UserError, match="net_options: weights none is a random start"):
        change_method(project, change).recipe("cam", "voc12")


def test_wrong_net_options_of_a_preset_name_the_preset(project):
    rewrite(project / "presets/tiny.yaml", lambda content: content["net_options"].update(cam={"bn": "no"}))
    with pytest.raises(UserError, match=r"presets/tiny.yaml \(laid on method cam\): net_options.bn: 'no'"):
        config(project).recipe("cam", "demo_tiny")


def without_schema(project, change, net="cam"):
    rewrite(project / "schemas/net_options.yaml", lambda content: content.pop(net))
    return change_method(project, change, net)


def test_of_a_net_without_a_schema_the_names_are_checked(project):
    broken = without_schema(project, lambda recipe: recipe["net_options"].update(head_lr_scale="fast", anything=1))
    with pytest.raises(UserError, match="cam.yaml: net_options of cam: unknown name anything; known: bn, freeze, head_lr"):
        broken.recipe("cam", "voc12")
    rewrite(project / "methods/cam.yaml", lambda recipe: recipe["net_options"].pop("anything"))
    assert config(project).recipe("cam", "voc12")["net_options"]["head_lr_scale"] == "fast"


@pytest.mark.parametrize("options", [{}, {"freeze": "none"}, {"freeze": "stem", "bn": "train"}])
def test_a_random_frozen_trunk_is_refused_without_a_schema_too(project, options):
    broken = without_schema(project, lambda recipe: recipe.update(weights="none", net_options=options))
    with pytest.raises(UserError, match="cam.yaml: net_options: weights none .* set freeze: none and bn: train"):
        broken.recipe("cam", "voc12")


def test_an_unknown_net_is_named_with_its_file(project):
    with pytest.raises(UserError, match="cam.yaml: net: unknown name cma; known: amn"):
        change_method(project, lambda recipe: recipe.update(net="cma")).recipe("cam", "voc12")


def test_options_for_every_net_reach_those_that_have_them_and_come_first(project):
    def change(content):
        content["common"]["net_options"].update(tau=0.2, label_smoothing=0.1)
        content["net_options"].update(eps={"tau": 0.3})

    rewrite(project / "presets/cpu_small.yaml", change)
    found = {name: config(project).recipe(name, "voc_mini")["net_options"] for name in ("cam", "amn", "eps")}
    assert found["eps"]["tau"] == 0.3 and found["amn"]["label_smoothing"] == 0.1
    assert all(options["freeze"] == "stage2" for options in found.values())
    assert "tau" not in found["cam"] and "label_smoothing" not in found["cam"] and "dilated" not in found["amn"]


def test_an_option_for_every_net_that_none_has_is_refused(project):
    rewrite(project / "presets/tiny.yaml", lambda content: content["common"]["net_options"].update(frezee="none"))
    with pytest.raises(UserError, match="tiny.yaml: common.net_options: unknown name frezee; known: .*freeze"):
        config(project).recipe("cam", "demo_tiny")


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("datasets/demo_tiny", {"overrides": {"cma": {}}}, "overrides: unknown name cma; known: amn"),
        ("presets/tiny", {"methods": {"cma": {}}}, "tiny.yaml: methods: unknown name cma; known: amn"),
        ("presets/tiny", {"net_options": {"cma": {}}}, "net_options: unknown name cma; known: amn"),
    ],
)
def test_unknown_names_in_layers(project, file, change, words):
    rewrite(project / f"{file}.yaml", lambda content: content.update(change))
    with pytest.raises(UserError, match=words):
        config(project).recipe("cam", "demo_tiny")


@pytest.mark.parametrize("file, key", [("datasets/demo_tiny", "overrides"), ("presets/tiny", "methods")])
def test_values_for_a_stage_taken_from_another_recipe_are_refused(project, file, key):
    rewrite(
        project / f"{file}.yaml", lambda c: c.update({key: {"irn": {"seeds": {"confident": {"value": 0.4}}}}})
    )
    with pytest.raises(UserError, match=rf"{file}.yaml .*irn\): seeds is taken from recipe cam; change it there"):
        config(project).recipe("irn", "demo_tiny")
    assert config(project).recipe("amn", "demo_tiny")["seeds"]["confident"]["value"] == 0.4  # its own stage


@pytest.mark.parametrize(
    "method, change, words",
    [
        ("irn", lambda r: r.update(weights="none"), "affinity: trunk imagenet with weights none.*set trunk: classifier"),
        ("irn", lambda r: r["pseudo_masks"].pop("beta"), "pseudo_masks: refine irn needs beta"),
        ("irn", lambda r: r["pseudo_masks"].pop("pad_to"), "pseudo_masks: refine irn needs pad_to"),
        ("irn", lambda r: r.pop("pseudo_masks"), "pseudo_masks: refine irn needs bg, power"),
        ("irn", lambda r: r.pop("affinity"), "refine irn needs a section affinity"),
        ("full", lambda r: r.update(pseudo_masks={"power": 1}), "pseudo_masks: refine none needs bg"),
        ("cam", lambda r: r["seeds"]["crf_params"].pop("gt_prob"), "seeds: unary labels needs crf_params.gt_prob"),
        (
            "cam",
            lambda r: r["predictions"]["crf_params"].update(gt_prob=0.7),
            "unknown key gt_prob in predictions.crf_params",
        ),
        ("cam", lambda r: r["predictions"].pop("crf_params"), "predictions: crf needs crf_params"),
        (
            "cam",
            lambda r: r["segmentation"]["augmentation"].update(resize={"scale": [1.5, 0.5]}),
            r"segmentation: augmentation.resize.scale: \[1.5, 0.5\] must be \[low, high\]",
        ),
        (
            "cam",
            lambda r: r["classifier"]["augmentation"].update(resize={"long_side": [640, 320]}),
            r"classifier: augmentation.resize.long_side: \[640, 320\]",
        ),
    ],
)
def test_recipes_that_could_not_run_are_refused(project, method, change, words):
    with pytest.raises(UserError, match=words):
        change_method(project, change, method).recipe(method, "voc12")


def test_predictions_without_crf_need_no_parameters(project):
    def change(recipe):
        recipe["predictions"].update(crf=False)
        del recipe["predictions"]["crf_params"]

    assert change_method(project, change).recipe("cam", "voc12")["predictions"]["crf"] is False


@pytest.mark.parametrize(
    "method, expected", [("cam", {"cam"}), ("irn", {"cam", "irn"}), ("amn", {"cam", "amn"}), ("full", {"full"})]
)
def test_sources_of_a_recipe(method, expected):
    assert config().sources(method, "voc12") == expected


def test_home_is_expanded_at_the_start_of_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_env({"a": "~/x", "b": ["~", "x~/y"]}, "f") == {"a": "/home/me/x", "b": ["/home/me", "x~/y"]}


# --- a user's own data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [".", "VOC2012", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize(
    "changed", ["JPEGImages/a.jpg", "Annotations/a.xml", "SegmentationClass/a.png", "ImageSets/Segmentation/val.txt"]
)
def test_a_changed_file_of_a_users_voc_tree_is_seen(tmp_path, below, changed):
    for name in ("ImageSets/Segmentation/train.txt", "list.txt", "sbd/train.txt", f"{below}/other/huge"):
        (tmp_path / below / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / below / "ImageSets/Segmentation/train.txt").touch()
    params = {"path": str(tmp_path), "trainaug": str(tmp_path / "list.txt"), "sbd": str(tmp_path / "sbd")}
    spec = {"kind": "voc", "params": params}
    before = folder_stamp(own_data(spec))
    for name in ("other/huge", changed):
        (tmp_path / below / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / below / name).write_bytes(b"x")
        assert (folder_stamp(own_data(spec)) != before) == (name == changed)
    before = folder_stamp(own_data(spec))
    (tmp_path / "list.txt").write_text("a\n")
    assert folder_stamp(own_data(spec)) != before


def test_made_and_downloaded_data_are_not_watched():
    assert own_data({"kind": "demo", "params": {"seed": 0}}) == []
    assert own_data({"kind": "voc", "params": {"path": None, "sbd": None}}) == []


# --- numbers that are none, and sizes that cannot be meant

NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [0, None]},
        {"runtime": {**MAIN["runtime"], "checkpoint_seconds": None}},
        {"predict": {"trip": {"folder": "x", "long_side": None}}},
    ],
)
def test_no_number_passes_the_config(number, change):
    def filled(value):
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else number if value is None else value

    with pytest.raises(UserError, match=f"config.yaml: [a-z_.1]+: {number} is no number to work with"):
        config(**filled(change))


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "1e999", "9" * 5000])
def test_no_number_passes_as_text(text):
    """`--config 'runtime={checkpoint_seconds: .nan}'` gives strings."""
    with pytest.raises(UserError, match="config.yaml: runtime.checkpoint_seconds: "):
        config(runtime={**MAIN["runtime"], "checkpoint_seconds": text})


NUMBERS = [  # (keys down to a number of a recipe)
    ("classifier", "lr"), ("classifier", "weight_decay"), ("classifier", "power"), ("classifier", "momentum"), ("cam", "scales", 0),
    ("seeds", "confident", "value"), ("seeds", "crf_params", "sxy_bilateral"), ("seeds", "crf_params", "compat_gaussian"),
    ("evaluation", "bg", "value"), ("segmentation", "augmentation", "flip"), ("predictions", "crf_params", "srgb"),
]  # fmt: skip


def laid(keys, value, content):
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("keys", NUMBERS)
def test_no_number_passes_a_recipe(project, keys, number):
    broken = change_method(project, lambda recipe: laid(keys, number, recipe))
    with pytest.raises(UserError, match=f"cam.yaml: {'.'.join(map(str, keys))}: {number} is no number to work with"):
        broken.recipe("cam", "voc12")


@pytest.mark.parametrize("file, keys", [("presets/tiny", ("common", "classifier", "lr")), ("datasets/demo_tiny", ("params", "size"))])
def test_no_number_passes_a_preset_or_a_dataset(project, file, keys):
    rewrite(project / f"{file}.yaml", lambda content: laid(keys, float("nan"), content))
    with pytest.raises(UserError, match=f"{file}.yaml: {'.'.join(keys)}: nan is no number"):
        config(project).recipe("cam", "demo_tiny")


SIZES = [
    (("classifier", "steps"), 10**23, "at least 1 and at most 10000000"),
    (("classifier", "epochs"), 10**9, "at least 1 and at most 10000"),
    (("segmentation", "min_steps"), 10**8, "at least 1 and at most 10000000"),
    (("segmentation", "batch_size"), 10**6, "at least 1 and at most 4096"),
    (("cam", "batch_size"), 10**6, "at least 1 and at most 4096"),
    (("classifier", "augmentation", "crop"), 10**6, "at least 16 and at most 8192"),
    (("seeds", "crf_params", "iterations"), 10**8, "at least 0 and at most 1000"),
    (("seeds", "crf_params", "sxy_gaussian"), 1e-300, "at least 0.1 and at most 10000"),
    (("predictions", "crf_params", "iterations"), 10**8, "at least 0 and at most 1000"),
    (("segmentation", "options", "aspp_dilations"), [10**23], "at least 1 and at most 1024"),
]


@pytest.mark.parametrize("keys, value, allowed", SIZES)
def test_sizes_that_cannot_be_meant(project, keys, value, allowed):
    broken = change_method(project, lambda recipe: laid(keys, value, recipe))
    with pytest.raises(UserError, match=f"cam.yaml: {'.'.join(keys)}.*; allowed: {allowed}"):
        broken.recipe("cam", "voc12")


@pytest.mark.parametrize("seed", [2**24 + 1, 2**31, 10**23, 1.0, 1.5, True, "1.0", "x"])
def test_seeds_that_cannot_be_meant(seed):
    with pytest.raises(UserError, match="config.yaml: seeds.0"):
        config(seeds=[seed])
    assert config(seeds=[0, 2**24, "7"]).main["seeds"] == [0, 2**24, 7]


@pytest.mark.parametrize("key", ["steps", "batch_size"])
def test_whole_numbers_are_written_without_a_point(project, key):
    """JSON schema takes 100.0 for an integer, no range does."""
    with pytest.raises(UserError, match=f"classifier.{key}: 100.0 is not of type 'integer'"):
        change_method(project, lambda recipe: recipe["classifier"].update({key: 1e2})).recipe("cam", "voc12")


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2024-99-99", "not valid YAML"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("&a {b: *a}", "not valid YAML"),
    ],
)
def test_yaml_that_ended_in_a_traceback(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=f"x.yaml: {words}"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "text, words",
    [
        ("{1: x}", "top level: key 1 must be text; put it in quotes"),
        ("{b: 0x" + "f" * 5000 + "}", "b: a number of 20000 bits"),
    ],
)
def test_what_no_schema_can_allow(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=f"x.yaml: {words}"):
        check(read_yaml(tmp_path / "x.yaml"), {}, "x.yaml")


CONST, POWER = {"kind": "const", "value": 0.3}, {"kind": "power", "value": 4}
FOUND = {"kind": "const", "value": "found"}


@pytest.mark.parametrize(
    "confident, unsure, is_right",
    [
        (CONST, {**CONST, "value": 0.05}, True),
        (CONST, CONST, True),
        (CONST, {**CONST, "value": 0.31}, False),
        (POWER, {**POWER, "value": 32}, True),
        (POWER, {**POWER, "value": 3}, False),
        ({**FOUND, "shift": 0.2}, {**FOUND, "shift": -0.6}, True),
        ({**FOUND, "shift": -0.6}, {**FOUND, "shift": 0.2}, False),
        (FOUND, {**FOUND, "kind": "power", "shift": 0.1}, False),
        (POWER, {**CONST, "value": 0.27}, True),  # (1 - m)^4 = m at 0.2755
        (POWER, {**CONST, "value": 0.28}, False),
        ({**CONST, "value": 0.28}, POWER, True),
        ({**CONST, "value": 0.27}, POWER, False),
        (FOUND, CONST, True),  # not known before the cut is found: the stage looks again
    ],
)
def test_the_unsure_seed_takes_no_less_than_the_confident_one(project, confident, unsure, is_right):
    made = change_method(project, lambda recipe: recipe["seeds"].update(confident=confident, unsure=unsure))
    if is_right:
        made.recipe("cam", "voc12")
        return
    with pytest.raises(UserError, match="cam.yaml: seeds: unsure .* leaves less foreground than confident .*exchange them"):
        made.recipe("cam", "voc12")
    with pytest.raises(UserError, match="leaves less foreground"):
        refuse_reversed(confident, unsure, "seeds")


# --- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, shipped", [("methods", "cam"), ("datasets", "demo_tiny")])
@pytest.mark.parametrize("name", RESERVED)
def test_folders_of_ours_are_no_names(project, kind, shipped, name):
    shutil.copy(project / kind / f"{shipped}.yaml", project / kind / f"{name}.yaml")
    arguments = (name, "demo_tiny") if kind == "methods" else ("cam", name)
    with pytest.raises(UserError, match=f"{name}.yaml: the workflow has folders or pages of its own called {name}"):
        config(project).recipe(*arguments)


@pytest.mark.parametrize("changes", [{"datasets": ["demo\n"]}, {"methods": ["cam\n"]}, {"predict": {"a\n": "b"}}])
def test_names_end_where_they_end(changes):
    with pytest.raises(UserError):
        config(**changes)


def test_every_pattern_ends_at_the_end():
    """Python's `$` fits before a last line end too."""
    for path in sorted((CONFIG / "schemas").glob("*.yaml")):
        for pattern in re.findall(r"""(?:pattern: |^ +)(["']\^.*?["'])""", path.read_text(), re.MULTILINE):
            assert pattern.endswith("\\Z'"), f"{path.name}: {pattern}"
    with pytest.raises(UserError):
        check("abc\n", NAME, "--name")
    for key, value in (("extends", "cam\n"), ("classifier", {"from": "cam\n"}), ("classifier", {"import": "x\n"})):
        with pytest.raises(UserError):
            check({key: value}, config().schemas["method"], "x.yaml")


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
