"""Methods against saliency sources: the table, and what is refused before hours of work."""

import pytest
from helpers import REPOSITORY
from wsss.errors import UserError
from wsss.plan import saliency_table as planned
from wsss.plan.plan import Plan
from wsss.recipes.schema import read_yaml
from wsss.report.saliency_table import saliency_table


def run(seed, val):
    facts = {"split": "train (16 images)", "threshold_policy": "fixed"}
    return {"stages": {"seed": {"miou": seed, "provenance": facts}, "segmentation": {"miou": val, "provenance": {"split": "val (8 images)"}}}}


def test_a_row_a_method_and_figure_a_column_a_source():
    scores = {"voc12": {"eps": run(69.22, 70.0), "eps.seed1": run(69.22, 72.0)}, "voc12_rbd": {"eps": run(40.0, 41.0)}}
    markdown, latex = saliency_table({"voc12": "given", "voc12_rbd": "made by robust_background"}, scores)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert lines[0] == "| method | figure | voc12 (given) | voc12_rbd (made by robust_background) |"
    assert lines[2:] == ["| eps | seed | 69.2 ± 0.0 | 40.0 |", "| eps | val | 71.0 ± 1.4 | 41.0 |"]
    assert "seed on train (16 images), val on val (8 images)" in markdown and "cut at the recipe's threshold (eps)" in markdown
    assert "standard deviation" in markdown and "n being 2" in markdown and r"eps & val & 71.0 $\pm$ 1.4 & 41.0 \\" in latex


@pytest.fixture
def plan_of():
    def made(files, methods=("eps", "cam")):
        main = read_yaml(REPOSITORY / "config/config.yaml")
        plan = Plan(REPOSITORY / "config", {**main, "datasets": list(files), "methods": list(methods)})
        known = plan.config.dataset
        base = known("demo_tiny")
        specs = {name: {**base, **change} for name, change in files.items()}
        plan.config.dataset = lambda name: specs.get(name) or known(name)
        plan.config.recipe = lambda recipe, dataset, ask=plan.config.recipe: ask(recipe, "demo_tiny")
        plan.config.owner = lambda recipe, dataset, stage, ask=plan.config.owner: ask(recipe, "demo_tiny", stage)
        return plan

    return made


MADE = {"saliency": {"make": "robust_background"}}


def test_only_methods_that_learn_from_maps_and_what_made_them(plan_of):
    plan = plan_of({"own": {}, "rbd": MADE})
    planned.refuse(plan, None)
    assert planned.scores(plan, None) == {"own": {"eps": "results/own/eps/scores.json"}, "rbd": {"eps": "results/rbd/eps/scores.json"}}
    assert planned.sources(plan, None) == {"own": "given", "rbd": "made by robust_background"}


@pytest.mark.parametrize(
    ("files", "methods", "words"),
    [
        ({"own": {}}, ("eps",), "names own only"),
        ({"own": {}, "rbd": MADE}, ("cam",), r"none of `methods` \(cam\) learns"),
        ({"own": {}, "rbd": {**MADE, "preset": "demo", "params": {"version": "1", "seed": 0, "train": 17, "val": 8, "size": 96}}}, ("eps",), "differ in params.train, preset"),
    ],
)
def test_nothing_to_compare_is_one_line(plan_of, files, methods, words):
    with pytest.raises(UserError, match=words):
        planned.refuse(plan_of(files, methods), None)
