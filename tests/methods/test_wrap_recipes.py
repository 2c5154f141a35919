"""The recipe key `wrap`: what it leaves alone, what is refused before anything runs, and what reruns."""

import pytest
import yaml
from config_files import change_method, config, rewrite
from helpers import copy_project, planned, snakemake
from wsss import wrappers
from wsss.errors import UserError
from wsss.plan.code_digest import closure
from wsss.sections.section import defaults_of, typed
from wsss.wrappers.fsae_options import DEFAULTS

PAIRS = {"fsae_cam": "cam", "fsae_eps": "eps", "fsae_seam": "seam", "fsae_ppc": "ppc", "fsae_sipe": "sipe"}
UNWRAPPED = ("wrap", "wrap_options", "name")
pytestmark = pytest.mark.usefixtures("photos_elsewhere")


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path / "project") / "config"


def add(project, name, **recipe):
    (project / f"methods/{name}.yaml").write_text(yaml.safe_dump(recipe))
    return config(project)


@pytest.mark.parametrize("dataset", ["voc12", "demo", "demo_tiny", "voc_animals"])
@pytest.mark.parametrize("name", PAIRS)
def test_all_but_the_length_is_the_bases(name, dataset):
    """Options, preset and stages; of the length that is twice the base's on VOC, and the same under a preset."""
    wrapped, base = config().recipe(name, dataset), config().recipe(PAIRS[name], dataset)
    length = {key: wrapped["classifier"].pop(key, None) for key in ("steps", "epochs")}
    theirs = {key: base["classifier"].pop(key, None) for key in ("steps", "epochs")}
    assert {k: v for k, v in wrapped.items() if k not in UNWRAPPED} == {k: v for k, v in base.items() if k != "name"}
    key = "steps" if theirs["steps"] else "epochs"
    assert length[key] == theirs[key] * (2 if dataset == "voc12" else 1)


@pytest.mark.parametrize("name", PAIRS)
def test_published_values_are_the_defaults(name):
    options = config().recipe(name, "voc12").get("wrap_options", {})
    assert {key: DEFAULTS[key] for key in options} == options


def test_a_wrappers_options_are_those_that_it_reads():
    for name in wrappers.WRAPPERS:
        module = wrappers.options_of(name)
        assert defaults_of(module.OPTIONS) == module.DEFAULTS == wrappers.get(name).defaults
        typed(module.DEFAULTS, module.OPTIONS)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"tau": 0.9}, "unknown key tau in wrap_options; allowed: bg, blur"),
        ({"tau_c": 1.5}, "wrap_options.tau_c: 1.5"),
        ({"bg": "zero"}, "wrap_options.bg: 'zero' is not allowed; allowed: native, const0, prob"),
        ({"ema": "never"}, "wrap_options.ema: 'never'"),
        ({"ema": 1}, "wrap_options.ema: 1"),
        ({"tau_r": 0.97}, "wrap_options: tau_r 0.97 is above tau_c 0.95.*set tau_r below tau_c"),
        ({"tau_c": 0.7}, "wrap_options: tau_r 0.8 is above tau_c 0.7"),
        ({"bg": "const0", "mask": "zero"}, "wrap_options: mask zero with a constant background.*set mask: neginf"),
        ({"kernel": 4}, "wrap_options: kernel and blur_kernels are odd numbers .*; 4 is not"),
        ({"blur": [2.0, 0.1]}, r"wrap_options: blur: \[2.0, 0.1\] must be \[low, high\]"),
    ],
)
def test_wrong_options_are_named_with_the_file(project, options, words):
    broken = change_method(project, lambda recipe: recipe["wrap_options"].update(options), "fsae_cam")
    with pytest.raises(UserError, match=f"(?s)fsae_cam.yaml.*{words}"):
        broken.recipe("fsae_cam", "voc12")


def test_a_high_ring_threshold_is_no_matter_without_a_ring(project):
    change_method(project, lambda r: r["wrap_options"].update(tau_r=0.99, ring="none"), "fsae_cam").recipe("fsae_cam", "voc12")


def test_wrong_options_of_a_preset_name_the_preset(project):
    rewrite(project / "presets/demo.yaml", lambda c: c["wrap_options"]["fsae"].update(tau_r=0.99))
    with pytest.raises(UserError, match="demo.yaml.*laid on method fsae_cam.*tau_r 0.99 is above"):
        config(project).recipe("fsae_cam", "demo")
    rewrite(project / "presets/demo.yaml", lambda c: c.update(wrap_options={"fase": {}}))
    with pytest.raises(UserError, match="demo.yaml: wrap_options: unknown name fase; known: fsae"):
        config(project).recipe("cam", "demo")


@pytest.mark.parametrize(
    "recipe, words",
    [
        ({"extends": "cam", "wrap": "nosuch"}, "wrap: unknown name nosuch; known: fsae, none"),
        ({"extends": "cam", "wrap_options": {"tau_c": 0.9}}, "wrap_options are a wrapper's, and there is none; set wrap: fsae"),
        ({"extends": "full", "wrap": "fsae"}, "full supervision trains no classifier that could be wrapped; take wrap out"),
        ({"extends": "irn", "wrap": "fsae"}, "wrap: its classifier is that of recipe cam, which has none where this one has fsae; set wrap"),
        ({"extends": "fsae_cam", "classifier": {"from": "fsae_cam"}, "wrap_options": {"tau_c": 0.9}}, "wrap_options: its classifier is that of recipe fsae_cam, which has"),
        ({"extends": "cam", "wrap": "fsae", "classifier": {"import": "own"}}, "classifier is imported, so there is no training to wrap"),
        ({"extends": "cam", "wrap": "fsae", "cam": {"import": "own"}}, "cam is imported, so there is no training to wrap"),
    ],
)
def test_where_nothing_could_be_wrapped_is_refused(project, recipe, words):
    with pytest.raises(UserError, match=f"mine.yaml: .*{words}"):
        add(project, "mine", **recipe).recipe("mine", "voc12")


def test_a_recipe_that_takes_a_wrapped_classifier(project):
    """With another refinement, and with `wrap: none` beside a classifier of its own."""
    taking = {"extends": "fsae_cam", "refine": "none", "classifier": {"from": "fsae_cam"}, "cam": {"from": "fsae_cam"}}
    assert add(project, "taking", **taking).recipe("taking", "demo")["wrap"] == "fsae"
    undone = add(project, "undone", extends="fsae_cam", wrap="none").recipe("undone", "demo")
    assert "wrap" not in undone and "wrap_options" not in undone


def test_editing_the_wrapper_concerns_wrapped_classifiers_alone():
    base = closure("wsss.stages.classifier", "wsss.methods.cam")
    wrapped = closure("wsss.stages.classifier", "wsss.methods.cam", wrappers.module_path("fsae"))
    own = {"wsss.wrappers.fsae", "wsss.wrappers.fsae_options", "wsss.wrappers.expansion", "wsss.data.strong_view"}
    assert own <= wrapped and not own & base and base <= wrapped


def test_the_workflow_plans_it_without_torch_and_names_what_is_wrong(project):
    root = project.parent
    (root / "workflow/scripts/torch.py").write_text("raise ImportError('planning has no torch')\n")
    jobs = planned(root, "results/demo_tiny/fsae_cam/miou.txt")
    assert {"fsae_cam/classifier", "fsae_cam/cam"} <= jobs and not [job for job in jobs if job.startswith("cam/")]
    change_method(project, lambda recipe: recipe["wrap_options"].update(tau_r=0.99), "fsae_cam")
    done = snakemake(root, "-n", "results/demo_tiny/fsae_cam/miou.txt")
    assert done.returncode and "tau_r 0.99 is above tau_c 0.95" in done.stdout
