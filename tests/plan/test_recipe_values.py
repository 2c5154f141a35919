"""Values of a recipe that are wrong, or do not go together: refused with file, key and what is allowed."""


import pytest
from config_files import change_method, config, rewrite
from wsss import methods
from wsss.errors import UserError
from wsss.found import refuse_reversed
from wsss.imports.command_line import NAME
from wsss.recipes.merge import merge
from wsss.recipes.net_options import option_names, options_class
from wsss.recipes.schema import check
from wsss.sections.background import Background
from wsss.sections.dataset import dataset_schema
from wsss.sections.json_schema import json_schema
from wsss.sections.main import Main
from wsss.sections.recipe import Recipe
from wsss.sections.section import defaults_of, typed

pytestmark = pytest.mark.usefixtures("photos_elsewhere")


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


@pytest.mark.parametrize("net", methods.METHODS)
def test_a_nets_typed_options_are_those_that_it_reads(net):
    kind = options_class(net)
    assert kind is not None and defaults_of(kind) == methods.get(net).defaults
    typed(methods.get(net).defaults, kind)
    assert option_names(net) == set(methods.get(net).defaults)


@pytest.mark.parametrize(
    "method, option, value, words",
    [
        ("cam", "freeze", "layer3", "net_options.freeze: 'layer3' is not allowed; allowed: none, stem, stage1, stage2"),
        ("cam", "bn", "affine", "net_options.bn: 'affine' is not allowed; allowed: frozen, statistics, train"),
        ("cam", "detach", "layer2", "(detach is now freeze: stage2 or none)"),
        ("seam", "freeze_stem", True, "(freeze_stem is now freeze: stem, stage1 or none)"),
        ("cam", "output_stride", 4, "net_options.output_stride: 4 is not allowed"),
        ("cam", "frieze", "none", "unknown key frieze in net_options; allowed: bn, freeze"),
        ("cam", "frieze", "none", "; did you mean freeze?"),
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


@pytest.fixture
def untyped(monkeypatch):
    """As if nets had plain dicts of defaults, as one of your own may."""
    monkeypatch.setattr("wsss.recipes.options.options_class", lambda net: None)


@pytest.mark.usefixtures("untyped")
def test_of_a_net_without_types_the_names_are_checked(project):
    broken = change_method(project, lambda recipe: recipe["net_options"].update(head_lr_scale="fast", anything=1))
    with pytest.raises(UserError, match="cam.yaml: net_options of cam: unknown name anything; known: bn, freeze, head_lr"):
        broken.recipe("cam", "voc12")
    rewrite(project / "methods/cam.yaml", lambda recipe: recipe["net_options"].pop("anything"))
    assert config(project).recipe("cam", "voc12")["net_options"]["head_lr_scale"] == "fast"


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("options", [{}, {"freeze": "none"}, {"freeze": "stem", "bn": "train"}])
def test_a_random_frozen_trunk_is_refused_without_types_too(project, options):
    broken = change_method(project, lambda recipe: recipe.update(weights="none", net_options=options))
    with pytest.raises(UserError, match="cam.yaml: net_options: weights none .* set freeze: none and bn: train"):
        broken.recipe("cam", "voc12")


def test_an_unknown_net_is_named_with_its_file(project):
    with pytest.raises(UserError, match="cam.yaml: net: unknown name cma; known: amn"):
        change_method(project, lambda recipe: recipe.update(net="cma")).recipe("cam", "voc12")


@pytest.mark.parametrize(
    "method, change, words",
    [
        ("irn", lambda r: r.update(weights="none"), "affinity: trunk imagenet with weights none.*set trunk: classifier"),
        ("irn", lambda r: r["pseudo_masks"].pop("beta"), "pseudo_masks: refine irn needs beta"),
        ("irn", lambda r: r["pseudo_masks"].pop("pad_to"), "pseudo_masks: refine irn needs pad_to"),
        ("irn", lambda r: r.pop("pseudo_masks"), "pseudo_masks: refine irn needs bg, power"),
        ("irn", lambda r: r.pop("affinity"), "refine irn needs a section affinity"),
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

NO_NUMBERS = (float("nan"), float("inf"), float("-inf"))

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


@pytest.mark.parametrize("key", ["steps", "batch_size"])
def test_whole_numbers_are_written_without_a_point(project, key):
    """JSON schema takes 100.0 for an integer, no range does."""
    with pytest.raises(UserError, match=f"classifier.{key}: 100.0 is not of type 'integer'"):
        change_method(project, lambda recipe: recipe["classifier"].update({key: 1e2})).recipe("cam", "voc12")

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
        refuse_reversed(Background(**confident), Background(**unsure), "seeds")


def patterns(schema):
    """All patterns in a JSON schema, those of keys too."""
    if isinstance(schema, list):
        return [found for value in schema for found in patterns(value)]
    if not isinstance(schema, dict):
        return []
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return [*own, *schema.get("patternProperties", {}), *(found for value in schema.values() for found in patterns(value))]


@pytest.mark.parametrize("schema", [json_schema(Main), json_schema(Recipe), dataset_schema()])
def test_every_pattern_ends_at_the_end(schema):
    """Python's `$` fits before a last line end too."""
    assert patterns(schema)
    assert all(pattern.startswith("^") and pattern.endswith("\\Z") for pattern in patterns(schema))


def test_names_end_where_they_end():
    with pytest.raises(UserError):
        check("abc\n", NAME, "--name")
    for key, value in (("extends", "cam\n"), ("classifier", {"from": "cam\n"}), ("classifier", {"import": "x\n"})):
        with pytest.raises(UserError):
            check({key: value}, json_schema(Recipe), "x.yaml")


def test_options_that_do_not_go_together_are_told_before_anything_runs(project):
    broken = change_method(project, lambda recipe: recipe.setdefault("net_options", {}).update(negatives=[13, 4]), "ppc")
    with pytest.raises(UserError, match=r"ppc.yaml: net_options: negatives: \[13, 4\] must be \[first, last\]"):
        broken.recipe("ppc", "demo")


def test_randaugment_is_refused_where_places_in_the_photo_count(project):
    """SIPE's mask of what lies in the photo would say nothing of pixels that RandAugment moved away."""
    moved = {"randaugment": {"count": 2, "magnitude": 9, "std": 0.5}}
    broken = change_method(project, lambda recipe: recipe["classifier"]["augmentation"].update(moved), "sipe")
    with pytest.raises(UserError, match="sipe.yaml: classifier: augmentation.randaugment moves or hides pixels of the image alone"):
        broken.recipe("sipe", "voc12")
