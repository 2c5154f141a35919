"""A recipe from its layers: extends, parts, presets, overrides, and what goes wrong between them."""

import shutil
from pathlib import Path

import pytest
import yaml
from config_files import change_method, config, rewrite
from wsss.errors import UserError
from wsss.recipes.merge import merge
from wsss.rownames import RESERVED

pytestmark = pytest.mark.usefixtures("photos_elsewhere")


@pytest.mark.parametrize(
    "layer, place",
    [({"common": {"classifier": {"lr": "x"}}}, r" \(laid on method cam\)"), ({"methods": {"cam": {"classifier": {"lr": "x"}}}}, ": methods.cam")],
)
def test_a_wrong_preset_is_named(project, layer, place):
    rewrite(project / "presets/tiny.yaml", lambda content: (content.clear(), content.update(layer)))
    with pytest.raises(UserError, match=f"presets/tiny.yaml{place}: classifier.lr: 'x'"):
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
    with pytest.raises(UserError, match="datasets/demo.yaml: overrides.cam: unknown key sedes"):
        config(project).recipe("cam", "demo")


@pytest.mark.parametrize(
    "method, values",
    [("eps", {"classifier": {"epochs": 10}}), ("cam", {"segmentation": {"min_steps": 20}}), ("cam", {"classifier": {"epochs": 10, "steps": 600}})],
)
def test_passes_that_steps_overrule_are_refused(project, method, values):
    """Of the dataset's file, of a preset, and of a recipe; with steps: null they count."""
    def resolved(over):
        rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides={method: over}))
        return config(project).recipe(method, "voc12")

    (stage, inner), = values.items()
    with pytest.raises(UserError, match=rf"voc12.yaml \(laid on method {method}\): {stage}.* has no effect beside steps: .*; set steps: null there too"):
        resolved(values)
    assert resolved({stage: inner | {"steps": None, "epochs": 7}})[stage]["epochs"] == 7
    (project / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": method, **values}))
    with pytest.raises(UserError, match="mine.yaml: .* has no effect beside steps"):
        config(project).recipe("mine", "voc12")


def test_passes_that_steps_overrule_are_gone(project):
    """EPS counts in steps: without them it has no length, not the passes of a recipe below it. Where the rate counts in epochs they stay."""
    def resolved(**values):
        rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides={"eps": {"classifier": values}}))
        return config(project).recipe("eps", "voc12")["classifier"]

    assert "epochs" not in resolved()
    with pytest.raises(UserError, match="classifier: give steps or epochs"):
        resolved(steps=None)
    assert resolved(schedule="cosine", rate_per="epoch", epochs=12)["epochs"] == 12
    assert resolved(steps=None, epochs=3)["epochs"] == 3
    with pytest.raises(UserError, match="min_steps has no effect beside steps"):
        resolved(schedule="cosine", rate_per="epoch", epochs=12, min_steps=5)


def test_options_are_held_together_when_all_layers_are_laid(project):
    """dim 96 has no five heads; 160 has."""
    (project / "methods/mine.yaml").write_text("extends: mctformer\n")
    def resolved(over):
        rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={"mctformer": {"net_options": {"heads": 5}}, **over}))
        return config(project).recipe("mine", "demo")["net_options"]

    assert resolved({"mine": {"net_options": {"dim": 160}}})["heads"] == 5
    with pytest.raises(UserError, match="datasets/demo.yaml .*net_options: .*5"):
        resolved({})


def test_settings_of_a_network_that_nothing_walks_with(project):
    (project / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": "cam", "affinity": {"steps": 5}}))
    with pytest.raises(UserError, match="mine.yaml: affinity: refine crf has no affinity network; take the section out, or set refine: irn"):
        config(project).recipe("mine", "voc12")


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
    with pytest.raises(UserError, match="known methods: amn, amn_eps, amn_eps_irn, amn_seed, .*full, irn"):
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


def test_wrong_net_options_of_a_preset_name_the_preset(project):
    rewrite(project / "presets/tiny.yaml", lambda content: content["net_options"].update(cam={"bn": "no"}))
    with pytest.raises(UserError, match=r"presets/tiny.yaml \(laid on method cam\): net_options.bn: 'no'"):
        config(project).recipe("cam", "demo_tiny")


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


def laid(keys, value, content):
    for key in keys[:-1]:
        content = content[key]
    content[keys[-1]] = value


@pytest.mark.parametrize("file, keys", [("presets/tiny", ("common", "classifier", "lr")), ("datasets/demo_tiny", ("params", "size"))])
def test_no_number_passes_a_preset_or_a_dataset(project, file, keys):
    rewrite(project / f"{file}.yaml", lambda content: laid(keys, float("nan"), content))
    with pytest.raises(UserError, match=f"{file}.yaml: {'.'.join(keys)}: nan is no number"):
        config(project).recipe("cam", "demo_tiny")


@pytest.mark.parametrize("kind, shipped", [("methods", "cam"), ("datasets", "demo_tiny")])
@pytest.mark.parametrize("name", RESERVED)
def test_folders_of_ours_are_no_names(project, kind, shipped, name):
    shutil.copy(project / kind / f"{shipped}.yaml", project / kind / f"{name}.yaml")
    arguments = (name, "demo_tiny") if kind == "methods" else ("cam", name)
    with pytest.raises(UserError, match=f"{name}.yaml: the workflow has folders or pages of its own called {name}"):
        config(project).recipe(*arguments)


def test_a_part_comes_between_what_is_extended_and_the_recipe(project):
    (project / "parts/mine.yaml").write_text("{classifier: {lr: 0.2, batch_size: 3}, cam: {batch_size: 2}}")
    (project / "methods/mine.yaml").write_text("{extends: cam, parts: [mine], classifier: {batch_size: 5}}")
    made = config(project)
    classifier = made.recipe("mine", "voc12")["classifier"]
    assert (classifier["lr"], classifier["batch_size"], classifier["momentum"]) == (0.2, 5, 0)
    sources = {key: Path(path).parts[-2:] for key, path in made.origins("mine", "voc12").items()}
    assert sources["classifier", "lr"] == ("parts", "mine.yaml")
    assert sources["classifier", "batch_size"] == ("methods", "mine.yaml")
    assert sources["classifier", "momentum"] == ("methods", "cam.yaml")


@pytest.mark.parametrize(
    "recipe, part, words",
    [
        ("{extends: cam, parts: [yours]}", "{}", r"mine.yaml: parts: .*yours.yaml: no such file; known parts: affinitynet_seam"),
        ("{extends: cam, parts: [mine]}", "{extends: cam}", "parts/mine.yaml: extends is for files in config/methods"),
        ("{extends: cam, parts: [mine]}", "{parts: [irn_seeds]}", "parts/mine.yaml: parts is for files in config/methods"),
        ("{extends: cam, parts: [mine]}", "{net: amn}", "parts/mine.yaml: net is for files in config/methods"),
        ("{extends: cam, parts: [mine]}", "{cam: {scale: [1]}}", "parts/mine.yaml: unknown key scale in cam"),
        ("{extends: cam, parts: mine}", "{}", "methods/mine.yaml: parts: 'mine' is not of type 'array'"),
    ],
)
def test_a_wrong_part_is_named(project, recipe, part, words):
    (project / "parts/mine.yaml").write_text(part)
    (project / "methods/mine.yaml").write_text(recipe)
    with pytest.raises(UserError, match=words):
        config(project).recipe("mine", "voc12")


def test_parts_are_not_laid_on_by_a_dataset(project):
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={"cam": {"parts": ["irn_seeds"]}}))
    with pytest.raises(UserError, match="datasets/demo.yaml .*: parts is for files in config/methods"):
        config(project).recipe("cam", "demo")


def test_an_error_names_the_file_that_brought_it(project):
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={"cam": {"classifier": {"augmentation": {"resize": {"scale": [2, 1]}}}}}))
    with pytest.raises(UserError, match=r"config/datasets/demo.yaml \(laid on method cam\): classifier: augmentation.resize.scale"):
        config(project).recipe("cam", "demo")
    rewrite(project / "methods/cam.yaml", lambda c: c["classifier"]["augmentation"].update(resize={"scale": [3, 1]}))
    with pytest.raises(UserError, match="^config/methods/cam.yaml: classifier: augmentation.resize.scale"):
        config(project).recipe("cam", "voc12")


def test_a_recipe_that_is_asked_for_and_is_not_there_is_named_with_who_asks(project):
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={"cam": {"cam": {"from": "nosuch"}}}))
    with pytest.raises(UserError, match=r"^recipe cam on demo: cam.from: .*methods/nosuch.yaml: no such file"):
        config(project).owner("cam", "demo", "cam")


def test_seeds_of_another_recipe_may_be_made_of_its_own_cams(project):
    (project / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": "cam", "seeds": {"from": "other"}, "ir_labels": {"from": "other"}}))
    (project / "methods/other.yaml").write_text(yaml.safe_dump({"extends": "cam", "classifier": {"from": "mine"}, "cam": {"from": "mine"}}))
    assert config(project).recipe("mine", "voc12")["seeds"] == {"from": "other"}


@pytest.mark.parametrize(
    "recipe, words",
    [
        ({"extends": "irn", "net": "seam"}, "net: its classifier is that of recipe cam, which has cam where this one has seam"),
        ({"extends": "irn", "backbone": "resnet101"}, "backbone: its classifier is that of recipe cam, which has resnet50 where this one has resnet101"),
        ({"extends": "amn", "cam": {"from": "cam"}}, "classifier is its own, but cam of recipe cam is taken, which rests on another classifier"),
        ({"extends": "amn", "seeds": {"from": "cam"}}, "cam is its own, but seeds of recipe cam is taken"),
        ({"extends": "amn", "ir_labels": {"from": "cam"}}, "cam is its own, but ir_labels of recipe cam is taken"),
    ],
)
def test_a_network_or_a_stage_that_nothing_would_use_is_refused(project, recipe, words):
    (project / "methods/mine.yaml").write_text(yaml.safe_dump(recipe))
    asked = config(project)
    for _ in ("asked once", "asked again"):
        with pytest.raises(UserError, match=f"mine.yaml: {words}"):
            asked.recipe("mine", "voc12")
