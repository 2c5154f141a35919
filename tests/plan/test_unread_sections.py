"""Sections and options that nothing would read, cuts that reach the recipes they fit, and what a borrowed network was trained with."""

import pytest
import yaml
from config_files import config, rewrite
from wsss.errors import UserError
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.show import shown
from wsss.recipes.schema import read_yaml

pytestmark = pytest.mark.usefixtures("photos_elsewhere")


def resolved(project, dataset, name="mine", overrides=None, **files):
    """The recipe `name`, with further files in config/methods and overrides in the dataset's file."""
    for file, content in files.items():
        (project / f"methods/{file}.yaml").write_text(yaml.safe_dump(content))
    if overrides is not None:
        rewrite(project / f"datasets/{dataset}.yaml", lambda c: c.update(overrides=overrides))
    return config(project).recipe(name, dataset)


UNREAD = [
    ("cam", {"pseudo_masks": {"bg": {"value": 0.4}}}, "pseudo_masks: masks of refine crf are the confident seeds; set seeds.confident in its place"),
    ("amn_eps", {"pseudo_masks": {"bg": {"value": 0.4}}}, "pseudo_masks: masks of refine crf"),
    ("cam", {"affinity": {"lr": 0.3}}, "affinity: refine crf has no affinity network; take the section out, or set refine: irn"),
    ("amn_seed", {"affinity": {"lr": 0.3}}, "affinity: refine none has no affinity network"),
    ("eps", {"pseudo_masks": {"power": 2}}, "pseudo_masks: refine none has no use for power; take it out"),
    ("full", {"pseudo_masks": {"bg": {"value": 0.4}}}, "pseudo_masks: the recipe learns from ground truth; take the section out"),
]


@pytest.mark.parametrize(("recipe", "values", "words"), UNREAD)
def test_a_section_that_nothing_reads_is_refused(project, recipe, values, words):
    """In an override, and in a file of one's own."""
    rewrite(project / "datasets/demo.yaml", lambda c: c.update(overrides={recipe: values}))
    with pytest.raises(UserError, match=rf"demo.yaml \(laid on method {recipe}\): {words}"):
        config(project).recipe(recipe, "demo")
    (project / "methods/mine.yaml").write_text(yaml.safe_dump({"extends": recipe, **values}))
    with pytest.raises(UserError, match=f"mine.yaml: {words}"):
        config(project).recipe("mine", "demo1")


def test_a_layer_that_turns_to_a_walk_brings_its_sections(project):
    walk = {key: config(project).recipe("irn", "voc12")[key] for key in ("refine", "affinity", "pseudo_masks")}
    rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides={"cam": walk}))
    assert config(project).recipe("cam", "voc12")["pseudo_masks"] == walk["pseudo_masks"]


def test_masks_without_a_walk_may_be_given_a_cut(project):
    """As the diagnosis advises: a part of it is enough. It holds for recipes that extend this one and have no refinement either."""
    found = {}
    for cut in ({"value": 0.3}, {"shift": 0.2}):
        rewrite(project / "datasets/demo.yaml", lambda c, cut=cut: c.update(overrides={"eps": {"pseudo_masks": {"bg": cut}}}))
        found |= {(name, *cut): config(project).recipe(name, "demo").get("pseudo_masks") for name in ("eps", "fsae_eps", "eps_crf")}
    number, moved = ({"bg": {"kind": "const", **bg}} for bg in ({"value": 0.3}, {"value": "found", "shift": 0.2}))
    assert found == {
        ("eps", "value"): number, ("fsae_eps", "value"): number, ("eps_crf", "value"): None,
        ("eps", "shift"): moved, ("fsae_eps", "shift"): moved, ("eps_crf", "shift"): None,
    }  # fmt: skip


def test_the_cut_of_a_walk_is_none_of_plain_maps(project):
    """amn_seed extends amn, whose value on COCO, and whose override, are of walked maps."""
    rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides={"irn": {"pseudo_masks": {"bg": {"value": 0.4}}}}))
    made = config(project)
    values = {(name, dataset): made.recipe(name, dataset)["pseudo_masks"]["bg"]["value"] for name in ("amn", "amn_seed") for dataset in ("coco14", "voc12")}
    assert values == {("amn", "coco14"): 0.22, ("amn_seed", "coco14"): 0.25, ("amn", "voc12"): 0.4, ("amn_seed", "voc12"): 0.25}


def test_a_cut_for_all_leaves_those_with_a_background_map_alone(project):
    """Its own kind of rule reaches them, also those that extend the recipe it is for."""
    laid_on = {
        "cam": {"seeds": {"confident": {"value": 0.3}}, "evaluation": {"policy": "found"}},
        "sipe": {"seeds": {"confident": {"scale": 0.5}}},
    }
    rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides=laid_on))
    for name in ("sipe", "fsae_sipe"):
        recipe = config(project).recipe(name, "voc12")
        assert recipe["seeds"]["confident"] == {"kind": "map", "scale": 0.5} and recipe["evaluation"]["policy"] == "map"


def test_a_cut_for_a_recipe_with_a_background_map_is_refused_for_those_that_extend_it_too(project):
    rewrite(project / "datasets/voc12.yaml", lambda c: c.update(overrides={"sipe": {"seeds": {"confident": {"kind": "const", "value": 0.3}}}}))
    for name in ("sipe", "fsae_sipe"):
        with pytest.raises(UserError, match="voc12.yaml.*seeds.confident: the CAMs have a background map"):
            config(project).recipe(name, "voc12")


def test_options_of_a_net_that_another_recipe_trains_are_refused(project):
    """What the default says aloud, what shapes maps alone, and what is for a parent whose network is not used may stand."""
    def options(name, **overrides):
        return resolved(project, "voc12", name, {key: {"net_options": value} for key, value in overrides.items()})["net_options"]

    with pytest.raises(UserError, match="voc12.yaml .of method irn.: net_options.head_lr_scale: its classifier is that of recipe cam, which has 10 where this one has 99"):
        options("irn", irn={"head_lr_scale": 99})
    assert options("cpn_affinitynet", seam={"head_lr_scale": 5})
    assert options("amn_seed", amn_seed={"mask_trick": False, "dropout": 0.1})["mask_trick"] is False


@pytest.mark.parametrize("elsewhere", [{"import": "corrected"}, {"from": "irn"}])
@pytest.mark.parametrize("base", ["amn_eps", "eps", "irn"])
def test_masks_from_elsewhere_need_no_refinement(project, base, elsewhere):
    """Corrected masks are such; a cut for the recipe before leaves them as they are."""
    mine = {"extends": base, "pseudo_masks": elsewhere}
    assert resolved(project, "demo", mine=mine)["pseudo_masks"] == elsewhere
    if base == "eps":
        cut = {"eps": {"pseudo_masks": {"bg": {"value": 0.3}}}}
        assert resolved(project, "demo", overrides=cut, mine=mine)["pseudo_masks"] == elsewhere


def test_a_cut_of_plain_maps_makes_no_section_where_there_is_a_background_map(project):
    borrowed = dict.fromkeys(("classifier", "cam", "seeds", "ir_labels"), {"from": "sipe"})
    mine = {"extends": "eps", "net": "sipe", "backbone": "resnet50", **borrowed, "evaluation": {"bg": {"kind": "map"}, "policy": "map"}}
    assert "pseudo_masks" not in resolved(project, "voc12", overrides={"eps": {"pseudo_masks": {"bg": {"value": 0.3}}}}, mine=mine)


@pytest.mark.parametrize("refine", ["crf", "none"])
def test_a_walk_may_be_turned_off_in_a_file_and_in_an_override(project, refine):
    """Its network stays, unread; the cut of its walked maps is none of plain ones."""
    for recipe in (
        resolved(project, "demo1", mine={"extends": "irn", "refine": refine}),
        resolved(project, "voc12", "irn", overrides={"irn": {"refine": refine}}),
    ):
        assert recipe["refine"] == refine and "pseudo_masks" not in recipe
    kept = resolved(project, "demo1", mine={"extends": "other", "refine": refine}, other={"extends": "irn", "pseudo_masks": {"import": "x"}})
    assert kept["pseudo_masks"] == {"import": "x"}


def test_an_override_that_turns_a_walk_off_and_is_wrong_is_the_one_that_is_named(project):
    with pytest.raises(UserError, match=r"datasets/voc12.yaml \(laid on method irn\): evaluation.policy"):
        resolved(project, "voc12", "irn", overrides={"irn": {"refine": "none", "evaluation": {"policy": "map"}}})


def test_a_section_for_a_walk_that_a_later_layer_turns_on_is_read(project):
    walk = {key: config(project).recipe("irn", "voc12")[key] for key in ("affinity", "pseudo_masks")}
    mine = {"extends": "cam", "affinity": walk["affinity"]}
    turned = {"mine": {"refine": "irn", "pseudo_masks": walk["pseudo_masks"], "affinity": walk["affinity"]}}
    assert resolved(project, "voc12", overrides=turned, mine=mine)["affinity"] == walk["affinity"]


def test_a_part_of_a_cut_is_completed_for_those_that_do_not_read_it(project):
    mine, kid = {"extends": "eps", "pseudo_masks": {"bg": {"value": 0.3}}}, {"extends": "mine", "refine": "crf"}
    assert resolved(project, "voc12", "kid", mine=mine, kid=kid)["refine"] == "crf"
    with pytest.raises(UserError, match=r"datasets/voc12.yaml \(laid on method mine\): evaluation.policy"):
        resolved(project, "voc12", overrides={"mine": {"evaluation": {"policy": "map"}}})


def test_an_option_may_be_said_again_where_a_preset_sets_another(project):
    """The published value, which both recipes would have without the preset."""
    assert resolved(project, "demo", mine={"extends": "amn_seed", "net_options": {"head_lr_scale": 20}})["net_options"]["head_lr_scale"] == 1


def test_labels_that_inference_does_not_read_may_be_any(project):
    mine = {"extends": "amn", "net_options": {"mask_trick": False}, "classifier": {"labels_from": "eps_filled"}}
    assert resolved(project, "demo", mine=mine)["classifier"]["labels_from"] == "eps_filled"
    with pytest.raises(UserError, match="inference reads what the network learned from"):
        resolved(project, "demo", mine={**mine, "net_options": {}})


def test_labels_of_a_net_that_does_not_say_what_it_reads_are_compared(project, monkeypatch):
    monkeypatch.setattr("wsss.recipes.config.aux", lambda net, options: None)
    with pytest.raises(UserError, match="inference reads what the network learned from"):
        resolved(project, "demo", mine={"extends": "amn", "classifier": {"labels_from": "eps_filled"}})


def test_layers_that_a_borrowed_network_does_not_have_are_refused(project):
    with pytest.raises(UserError, match=r"map_layers \(40\) is more than depth \(12\)"):
        resolved(project, "voc12", mine={"extends": "mctformer", "classifier": {"from": "mctformer"}, "net_options": {"map_layers": 40}})
    with pytest.raises(UserError, match=r"datasets/voc12.yaml \(of method mctformer\): net_options: map_layers"):
        resolved(project, "voc12", "mctformer", overrides={"mctformer": {"net_options": {"map_layers": 40}}})


def test_a_recipe_without_scores_is_refused(project):
    mine = {"net": "cam", "backbone": "resnet50", "weights": "none", "refine": "none", "pseudo_masks": {"bg": {"kind": "const", "value": 0.3}}}
    with pytest.raises(UserError, match="mine.yaml: evaluation is missing"):
        resolved(project, "voc12", mine=mine)
    with pytest.raises(UserError, match="mine.yaml: evaluation.bg: kind is missing"):
        resolved(project, "voc12", mine={**mine, "evaluation": {"bg": {"value": 0.3}, "policy": "fixed"}})


def test_a_cut_for_all_leaves_those_that_learn_from_ground_truth_alone(project):
    mine = {"extends": "eps", "segmentation": {"labels": "ground_truth"}}
    assert "pseudo_masks" not in resolved(project, "voc12", overrides={"eps": {"pseudo_masks": {"bg": {"value": 0.4}}}}, mine=mine)


@pytest.mark.parametrize("dataset", ["voc12", "coco14", "demo"])
def test_every_shipped_recipe_can_be_shown(project, dataset):
    plan = Plan(project, read_yaml(project / "config.yaml"))
    for name in plan.config.names("methods"):
        assert shown(plan, Row(dataset, name)).startswith(f"recipe {name} on {dataset}")


def test_options_are_shown_as_they_are_used(project):
    """A borrowed network's, with the file of the recipe that trains it."""
    trains = {"extends": "amn", "net_options": {"aspp_dilations": [1, 2], "mask_trick": False}}
    resolved(project, "voc12", "borrows", trains=trains, borrows={"extends": "amn", "classifier": {"from": "trains"}})
    plan, row = Plan(project, read_yaml(project / "config.yaml")), Row("voc12", "borrows")
    used, lines = plan.params("cam", row)["net_options"], [line.split() for line in shown(plan, row).splitlines()]
    told = {words[0].removeprefix("net_options."): words for words in lines if words and words[0].startswith("net_options.")}
    assert used["aspp_dilations"] == [1, 2] and used["mask_trick"] is True
    assert told["aspp_dilations"][1:3] == ["[1,", "2]"] and told["aspp_dilations"][-1].endswith("trains.yaml") and told["mask_trick"][1] == "true"


@pytest.mark.parametrize("dataset", ["demo", "voc_animals"])
def test_one_pass_of_the_crf_in_a_short_training(project, dataset):
    seeds = resolved(project, dataset, "ppc_eps")["seeds"]
    assert seeds["confident"] | {"shift": 0} == seeds["unsure"] | {"shift": 0} and seeds["unsure"]["shift"] == 0
