"""Config files with what looks right and is not: refused with file, key and mend, and no mend leads to the next refusal."""

import shutil

import pytest
import yaml
from helpers import REPOSITORY
from wsss.errors import UserError
from wsss.recipes.config import Config
from wsss.recipes.net_options import needs
from wsss.recipes.schema import read_yaml


@pytest.fixture
def resolve(tmp_path):
    """Resolve recipe `mine`, with what is laid on it; `main` changes config.yaml."""
    folder = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", folder)

    def resolved(recipe="{extends: cam}", dataset="{kind: voc, params: {}}", **main):
        (folder / "methods/mine.yaml").write_text(recipe)
        (folder / "datasets/own.yaml").write_text(dataset)
        return Config(folder, {**read_yaml(folder / "config.yaml"), **main}).recipe("mine", "own")

    return resolved


def refused(resolve, *parts, without=(), **given):
    with pytest.raises(UserError) as error:
        resolve(**given)
    for part in parts:
        assert part in str(error.value), error.value
    for part in without:
        assert part not in str(error.value), error.value


@pytest.mark.parametrize("number", ["010", "-017", "1:30", "0_7"])
def test_numbers_that_are_not_read_as_they_look(resolve, number):
    refused(resolve, "mine.yaml", f"{number} would not be read as it looks", recipe=f"{{extends: cam, classifier: {{batch_size: {number}}}}}")


@pytest.mark.parametrize(
    "recipe, words",
    [
        ("{extends: cam, classifier: {lr: 1:30.5}}", "1:30.5 would not be read as it looks"),
        ("{extends: cam, classifier: {<<: {lr: 0.1}, <<: {lr: 0.2}}}", "key given twice: ['<<']"),
        ("{extends: fsae_cam, wrap_options: {bg: none}}", "allowed: native, const0, prob, null; write null for none"),
        ("{extends: cam, classifier: {from: irn, lr: 0.2}}", "unknown key lr in classifier; allowed: from or import alone"),
        ("{extends: cam, classifier: {from: irn, import: mine}}", "from and import cannot stand together"),
        ("{extends: amn, classifier: {labels_from: eps}}", "cam.aux_from is cam, but the classifier learns from labels of eps"),
        ("{extends: amn, classifier: {from: amn}, cam: {aux_from: eps_filled}}", "cam.aux_from is eps_filled, but the classifier of recipe amn learns from labels of cam"),
        ("{extends: cam_seed, segmentation: {lr: 0.05}, predictions: {from: amn}}", "segmentation is its own, but predictions of recipe amn is taken"),
        ("{extends: irn, segmentation: {from: cam}}", "pseudo_masks is its own, but segmentation of recipe cam is taken"),
    ],
)
def test_what_does_not_go_together(resolve, recipe, words):
    refused(resolve, "mine.yaml", words, recipe=recipe)


def test_overrides_of_recipes_that_nobody_asks_for(resolve):
    refused(resolve, "own.yaml: overrides.sipe: unknown key clasifier", dataset="{kind: voc, params: {}, overrides: {sipe: {clasifier: {lr: 1}}}}")
    refused(resolve, "overrides.sipe: classifier.lr", dataset="{kind: voc, params: {}, overrides: {sipe: {classifier: {lr: -1}}}}")


@pytest.mark.parametrize("key, value", [("net", "sipe"), ("wrap", "fsae")])
def test_net_and_wrap_belong_to_recipes(resolve, key, value):
    """Which options a preset lays goes by them."""
    refused(resolve, "own.yaml", f"{key} is for files in config/methods", dataset=f"{{kind: voc, params: {{}}, overrides: {{mine: {{{key}: {value}}}}}}}")


def test_numbers_of_photo_folders_on_the_command_line(resolve):
    """`--config` gives strings."""
    assert resolve(predict={"trip": {"folder": "x", "long_side": "640"}})


@pytest.mark.parametrize("number, value", [("16", 16), ("0x10", 16), ("1_000", 1000), ("+8", 8)])
def test_whole_numbers(resolve, number, value):
    assert resolve(f"{{extends: cam, classifier: {{batch_size: {number}}}}}")["classifier"]["batch_size"] == value


@pytest.mark.parametrize("key, value", [("seeds", [0, 0]), ("methods", ["cam", "cam"]), ("datasets", ["demo", "demo"])])
def test_the_same_row_twice(resolve, key, value):
    refused(resolve, "config.yaml", key, "non-unique", **{key: value})


@pytest.mark.parametrize(
    "dataset",
    [
        "{kind: folder, params: {images: '', labels: x.csv}}",
        "{kind: folder, params: {images: x, labels: ''}}",
        "{kind: folder, params: {images: x, labels: x.csv, masks: ''}}",
        "{kind: voc, params: {path: ''}}",
    ],
)


def test_an_empty_path_is_none(resolve, dataset):
    refused(resolve, "own.yaml", "params.", "non-empty", dataset=dataset)


def test_only_voc_has_a_test_server(resolve):
    refused(resolve, "own.yaml: test: only datasets of kind voc have a test server; take it out", dataset="{kind: folder, test: more, params: {images: x, labels: y}}")


def test_classes_that_are_numbers_want_quotes(resolve):
    refused(resolve, "own.yaml: params.classes.0: 3 is not of type 'string'; write '3', in quotes", dataset="{kind: folder, params: {images: x, labels: y, classes: [3, cat]}}")


def test_an_empty_variable_is_not_set(resolve, monkeypatch):
    monkeypatch.setenv("WSSS_HOLE", "")
    refused(resolve, "WSSS_HOLE is not set, or empty", dataset="{kind: voc, params: {path: '${WSSS_HOLE}/voc'}}")


def test_counts_of_a_split_that_is_none(resolve):
    refused(resolve, "own.yaml", "unknown key training", "train, trainaug, val", dataset="{kind: voc, params: {expected_counts: {training: 5}}}")


def test_extends_belongs_to_recipes(resolve, tmp_path):
    refused(resolve, "own.yaml", "extends is for files in config/methods", dataset="{kind: voc, params: {}, overrides: {mine: {extends: irn}}}")


@pytest.mark.parametrize(
    "key, words",
    [
        ("evaluation: {bg: {kind: const, value: 1}}", "below 1"),
        ("evaluation: {bg: {kind: const, value: '0.3'}}", "a number without quotes, or found"),
        ("classifier: {power: 1.0e+9}", "at most 100"),
        ("classifier: {steps: '20'}", "write a whole number, without quotes, or null"),
    ],
)


def test_values(resolve, key, words):
    refused(resolve, "mine.yaml", words, recipe=f"{{extends: cam, {key}}}")


def test_names_of_photo_folders(resolve):
    refused(resolve, "unknown key Trip in predict; allowed: names of [a-z0-9_]+", predict={"Trip": "x"})


def test_a_rate_that_would_not_fall_to_its_end(resolve):
    refused(resolve, "poly_steps (19830) is more than steps (100)", "poly_steps: null", recipe="{extends: ppc_eps, classifier: {steps: 100}}")
    assert resolve("{extends: ppc_eps, classifier: {steps: 100, poly_steps: null}}")
    assert resolve("{extends: ppc_eps, classifier: {steps: 100, poly_steps: 30}}")  # as eps_released has on COCO


@pytest.mark.parametrize(
    "recipe, words",
    [
        ("{extends: cam, classifier: {labels_from: irn}}", "learns nothing from another recipe's labels"),
        ("{extends: cam, net: amn, net_options: {}}", "labels_from: RECIPE"),
        ("{extends: cam, net: amn, net_options: {}, classifier: {labels_from: cam}}", "cam: {aux_from: RECIPE}"),
        ("{extends: cam, net: eps}", "learns from saliency maps"),
        ("{extends: eps, classifier: {saliency: false}}", "learns from saliency maps"),
        ("{extends: cam, classifier: {saliency: true}}", "learns nothing from saliency maps"),
    ],
)


def test_what_a_net_learns_from_is_known_before_anything_runs(resolve, recipe, words):
    refused(resolve, "config/methods/mine.yaml: c", words, recipe=recipe)


@pytest.mark.parametrize(
    "recipe, words",
    [
        ("{extends: eps_filled, seeds: {probabilities: true}}", "seeds: fill_from fills up labels, of which probabilities know nothing"),
        ("{extends: cam, seeds: {fill_below: 0.5}}", "seeds: fill_below says when fill_from is used"),
    ],
)
def test_seeds_that_are_filled_up(resolve, recipe, words):
    refused(resolve, words, recipe=recipe)


@pytest.mark.parametrize("line", ["wsss.methods.cam.CAM", "wsss.method.cam:CAM", "wsss/methods/cam.py:CAM", "wsss.methods.cam:Cam"])
def test_a_line_of_the_registry_that_is_written_wrongly(monkeypatch, line):
    from wsss import methods

    monkeypatch.setitem(methods.METHODS, "misspelt", line)
    with pytest.raises(UserError, match="mend its line in wsss.methods.METHODS, which reads wsss.methods.MODULE:CLASS"):
        needs("misspelt")


def test_what_each_net_needs():
    from wsss import methods

    for net in methods.METHODS:
        family = methods.get(net)
        assert needs(net) == family.spec_for(family.defaults).needs, net


def test_advice_for_transformers_leads_to_a_recipe(resolve):
    """`trunk: imagenet`, `classifier` and `none` once sent each to the next."""
    mend = ["freeze: none and bn: train"]
    for trunk in ("imagenet", "classifier", "none"):
        recipe = f"{{extends: mctformer, weights: none, affinity: {{trunk: {trunk}}}}}"
        refused(resolve, *mend, without=["set trunk: classifier", "set trunk: imagenet"], recipe=recipe)
    assert resolve("{extends: mctformer, weights: none, affinity: {trunk: none, freeze: none, bn: train}}")
    recipe = yaml.safe_dump({"extends": "mctformer", "affinity": {"trunk": "classifier"}})
    refused(resolve, "set trunk: imagenet or none", recipe=recipe)
