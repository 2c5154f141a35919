"""The plan: answers found once, mistakes in one line, and neither Snakemake nor torch to plan with."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from helpers import LIBRARY, REPOSITORY, copy_project, edit, environment, own_photos
from helpers import snakemake as run
from wsss.errors import UserError
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.stages import STAGES
from wsss.recipes.config import Config
from wsss.recipes.schema import read_yaml


@pytest.fixture
def plan():
    return Plan(REPOSITORY / "config", yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()))


def test_planning_needs_neither_snakemake_nor_torch():
    code = "import sys, wsss.plan.targets; print(sorted({'snakemake', 'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment(), "PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_all_shards_share_an_answer(plan, monkeypatch):
    shards = [SimpleNamespace(dataset="demo_tiny", method="amn", shard=str(n), shards="8") for n in range(8)]
    about = STAGES["seeds"].subject
    first = plan.inputs("seeds", about(shards[0]))
    monkeypatch.setattr(Config, "recipe", None)  # not asked again
    assert all(plan.inputs("seeds", about(shard)) is first for shard in shards)


def test_rows_share_no_answer(plan):
    rows = [Row("demo_tiny", "amn"), Row("demo_tiny", "amn", 2), Row("demo_tiny", "irn"), Row("demo", "amn")]
    paths = [plan.inputs("pseudo_masks", row)["affinity"] for row in rows]
    assert paths == [
        "results/demo_tiny/amn/affinity/model.safetensors",
        "results/demo_tiny/amn.seed2/affinity/model.safetensors",
        "results/demo_tiny/irn/affinity/model.safetensors",
        "results/demo/amn/affinity/model.safetensors",
    ]


def test_what_a_stage_takes_from_another_recipe(plan):
    """AMN learns from the IR labels of cam, with its own seed; its thresholds stand with its own CAMs."""
    row = Row("demo_tiny", "amn", 3)
    assert plan.inputs("classifier", row)["ir_labels"] == "results/demo_tiny/cam.seed3/ir_labels/index.json"
    assert plan.artefact(Row("demo_tiny", "irn"), "threshold", "threshold.json").startswith("results/demo_tiny/cam/threshold")


def test_a_cut_is_found_with_what_the_network_learned_from(tmp_path):
    project = copy_project(tmp_path / "project")
    for name, text in {"mine": "classifier: {from: amn}\n", "theirs": "classifier: {import: theirs}\n"}.items():
        (project / f"config/methods/{name}.yaml").write_text(f"extends: amn\n{text}")
    plan = Plan(project / "config", read_yaml(project / "config/config.yaml"))
    files = {name: plan.files_read("threshold", Row("demo_tiny", name, 3)) for name in ("amn", "mine", "cam", "eps")}
    assert files["amn"]["ir_labels"] == files["mine"]["ir_labels"] == "results/demo_tiny/cam.seed3/ir_labels/index.json"
    assert set(files["cam"]) == {read.name for read in plan.reads(Row("demo_tiny", "theirs"), "threshold")} == {"cam"}
    assert set(files["eps"]) == {"cam"}
    assert plan.inputs("threshold", Row("demo_tiny", "eps"))["own_maps"] == "results/demo_tiny/saliency.json"
    assert "own_maps" not in plan.inputs("threshold", Row("demo_tiny", "cam"))


def test_several_networks_share_labels_and_differ_in_their_seed(tmp_path):
    """Further networks are classifiers with a seed of their own; what they learn from is the row's."""
    project = copy_project(tmp_path / "project")
    edit(project / "config/datasets/demo_tiny.yaml", lambda c: c.update(overrides={"amn": {"cam": {"networks": 3}}}))
    plan = Plan(project / "config", yaml.safe_load((project / "config/config.yaml").read_text()))
    row, second = Row("demo_tiny", "amn", 2), Row("demo_tiny", "amn", 2, 2)
    read = plan.files_read("cam", row)
    names = {"model": "amn.seed2", "model_2": "amn.seed2.net2", "model_3": "amn.seed2.net3"}
    assert {name: read[name] for name in names} == {k: f"results/demo_tiny/{v}/classifier/model.safetensors" for k, v in names.items()}
    assert Row.of(SimpleNamespace(dataset="demo_tiny", method="amn.seed2.net2")) == second
    assert plan.inputs("classifier", second) == plan.inputs("classifier", row)
    seeds = [plan.param("classifier", "seed", Row("demo_tiny", "amn", seed, net)) for seed in (0, 1, 2**24) for net in range(1, 9)]
    assert len(set(seeds)) == 24 and seeds[0] == 0 and seeds[8] == 1
    assert plan.param("evaluation", "backbones", row)["classifier"].endswith("(3 networks of amn)")
    files = [link[0].method for link in plan.behind(row, "predictions") if link[1] == "classifier"]
    assert sorted(files) == ["amn.seed2", "amn.seed2.net2", "amn.seed2.net3", "cam.seed2"]


def test_networks_that_no_cam_averages_are_refused(tmp_path):
    project = copy_project(tmp_path / "project")
    edit(project / "config/datasets/demo_tiny.yaml", lambda c: c.update(overrides={"eps": {"cam": {"networks": 2}}}))
    plan = Plan(project / "config", yaml.safe_load((project / "config/config.yaml").read_text()))
    assert plan.inputs("classifier", Row("demo_tiny", "eps", 1, 2))
    for row in (Row("demo_tiny", "eps", 0, 3), Row("demo_tiny", "cam", 0, 2)):
        with pytest.raises(UserError, match=rf"{row.method}: no recipe averages so many networks of {row.recipe}"):
            plan.inputs("classifier", row)
    names = {read.name for read in plan.reads(Row("demo_tiny", "eps_filled"), "diagnosis")}
    assert {"check1_eps", "check2_eps", "check1_cam"} <= names and "check2_cam" not in names


def test_an_imported_classifier_is_one_network(tmp_path):
    project = copy_project(tmp_path / "project")
    mine = {"extends": "cam", "classifier": {"import": "released"}, "cam": {"networks": 2}}
    (project / "config/methods/mine.yaml").write_text(yaml.safe_dump(mine))
    plan = Plan(project / "config", yaml.safe_load((project / "config/config.yaml").read_text()))
    with pytest.raises(UserError, match="mine.yaml: cam.networks: the imported classifier is one network"):
        plan.inputs("cam", Row("demo_tiny", "mine"))


def test_every_file_that_is_read_is_made(plan):
    """What the stages of the table read of each other, they make, for every recipe."""
    for recipe in plan.config.names("methods"):
        row = Row("demo_tiny", recipe)
        for maker, stage in plan.behind(row, "predictions"):
            for read in plan.reads(maker, stage):
                assert read.file in STAGES[read.stage].makes.values(), (recipe, stage, read)


ANSWERS = """
import sys
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.stages import STAGES
from wsss.recipes.schema import read_yaml
config = sys.argv[1]
plan = Plan(config, {**read_yaml(config + "/config.yaml"), "methods": ["cam", "amn", "cpn", "full"]})
print(plan.params("report", "demo"), plan.inputs("report", "demo"))
for recipe in plan.main["methods"]:
    row = Row("demo", recipe)
    print(plan.behind(row, "predictions"), plan.params("evaluation", row), plan.inputs("diagnosis", row))
"""


def test_answers_do_not_hang_on_the_order_of_sets():
    """Snakemake compares params: one that comes in another order makes its job run again."""
    command = [sys.executable, "-c", ANSWERS, str(REPOSITORY / "config")]
    known = {**environment(), "PYTHONPATH": str(LIBRARY)}
    said = {
        subprocess.run(command, env={**known, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True).stdout
        for seed in range(4)
    }
    assert len(said) == 1 and "threshold" in said.pop()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = copy_project(tmp_path_factory.mktemp("words") / "project")
    own_photos(made)
    (made / "config/methods/round.yaml").write_text("{extends: amn, classifier: {labels_from: round}}")
    (made / "config/methods/own_fill.yaml").write_text("{extends: eps_filled, seeds: {fill_from: own_fill}}")
    (made / "config/methods/fill_sipe.yaml").write_text("{extends: cam, seeds: {fill_from: sipe}}")
    return made


def test_cams_are_made_with_the_options_of_the_training(project):
    """Its own of what is done at test beside them: weights do not tell dilations."""
    (project / "config/methods/trains.yaml").write_text("{extends: amn, net_options: {aspp_dilations: [1, 2]}}")
    (project / "config/methods/borrows.yaml").write_text("{extends: amn, classifier: {from: trains}, net_options: {mask_trick: false}}")
    plan = Plan(project / "config", yaml.safe_load((project / "config/config.yaml").read_text()))
    options = plan.params("cam", Row("voc12", "borrows"))["net_options"]
    assert options["aspp_dilations"] == [1, 2] and options["mask_trick"] is False
    for name in ("trains", "borrows"):
        (project / f"config/methods/{name}.yaml").unlink()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["results/own/cam/miou.txt"], "own has no ground-truth masks, so there is no mIoU; ask for results/own/cam/predictions/index.json"),
        (["results/voc12/cam/test/results.tar"], "config/datasets/voc12.yaml: name the folder of VOC's test images, `test: FOLDER`"),
        (["results/demo_tiny/cam/test/results.tar"], "the test server is VOC's, this dataset is of kind demo; ask for results/demo_tiny/cam/miou.txt"),
        (["results/own/table.md"], "own has no ground-truth masks, so there is no table of scores; ask for results/own/report/index.html"),
        (["results/demo_tiny/foo/miou.txt"], "config/methods/foo.yaml: no such file; known methods: amn, amn_eps, amn_eps_irn, amn_seed"),
        (["--config", "methods=[foo]"], "config/methods/foo.yaml: no such file; known methods: amn, amn_eps, amn_eps_irn, amn_seed"),
        (["--config", "methods=[amnn]"], "; did you mean amn?"),
        (["results/own/report/miou.txt"], "the workflow has folders or pages of its own called report"),
        (["results/own/full/predictions/index.json"], "own has no ground-truth masks, from which full learns; leave full out of `methods`"),
        (["results/own/round/cam/index.json"], "round.yaml: classifier.labels_from: the labels of round are made with this classifier itself"),
        (["results/own/own_fill/seeds/index.json"], "own_fill.yaml: seeds.fill_from: the labels of own_fill are made with this seeds itself"),
        (["results/own/fill_sipe/seeds/index.json"], "fill_sipe.yaml: seeds.fill_from: the CAMs of recipe sipe have a background map of their own"),
    ],
)


def test_a_mistake_is_one_line_and_nothing_around_it(project, arguments, words):
    """Found while rules are asked, of inputs and of params, or while the Snakefile is read."""
    done = run(project, "-n", *arguments)
    lines = done.stdout.strip().splitlines()
    assert done.returncode != 0 and lines[-2] == "WorkflowError:" and words in lines[-1], done.stdout
    assert "Traceback" not in done.stdout and "File " not in done.stdout


def test_an_error_that_is_nobodys_mistake_keeps_its_traceback(project):
    module = project / "workflow/scripts/wsss/plan/scores.py"
    text = module.read_text()
    module.write_text(text.replace('    plan.recipe(row)  # a name', '    {}["x"]\n    plan.recipe(row)  # a name'))
    done = run(project, "-n", "results/demo_tiny/cam/miou.txt")
    module.write_text(text)
    assert done.returncode != 0 and "InputFunctionException in rule evaluation" in done.stdout and "KeyError" in done.stdout


@pytest.mark.parametrize(
    "content, words",
    [
        ("seeds: [1]\n", "key given twice: ['seeds']"),
        ("extra: 010\n", "010 would not be read as it looks"),
        ("extra: &x {a: *x}\n", "not valid YAML"),
        (None, "is not UTF-8 (byte 0); save it as UTF-8"),
    ],
    ids=["twice", "octal", "itself", "utf16"],
)


def test_the_config_file_is_read_as_any_other(tmp_path, content, words):
    project = copy_project(tmp_path / "project")
    path = project / "config/config.yaml"
    path.write_bytes(path.read_text().encode("utf-16") if content is None else path.read_bytes() + content.encode())
    done = run(project, "-n", "results/demo_tiny/manifest.csv")
    lines = done.stdout.strip().splitlines()
    assert done.returncode != 0 and lines[-2] == "WorkflowError:" and "config.yaml: " in lines[-1] and words in lines[-1], done.stdout
    assert "Traceback" not in done.stdout
