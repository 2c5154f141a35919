"""`python -m wsss`: what a recipe is made of, and a finished stage once more."""

import io
import json
import shutil
import sys

import jsonschema
import pytest
from helpers import REPOSITORY, Chain, artefacts, folder_dataset
from wsss.__main__ import main
from wsss.engine.command import ended
from wsss.errors import UserError
from wsss.plan.again import run_again
from wsss.recipes.schema import read_yaml


def test_show_names_the_file_of_each_value_and_the_way_of_the_data(capsys):
    assert main(["show", "amn", "demo"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["net_options.label_smoothing", "0.4", "config/methods/amn.yaml"] in lines  # its own
    assert ["segmentation.steps", "200", "config/presets/demo.yaml"] in lines  # the preset's, over cam's 20,000
    assert ["refine", '"irn"', "config/methods/irn.yaml"] in lines  # extended
    stages = [line[0].rstrip(":") for line in lines if line and "/" in line[0] and line[0].endswith(":")]
    assert stages.index("cam/ir_labels") < stages.index("amn/classifier") < stages.index("amn/affinity")
    assert ["ir_labels", "results/demo/cam/ir_labels/index.json"] in lines


def test_show_has_the_options_that_no_file_sets(tmp_path, capsys):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config/methods/mine.yaml").write_text("extends: cam\nnet: amn\nnet_options: {dropout: 0.3}\nclassifier: {labels_from: cam}\ncam: {aux_from: cam}\n")
    assert main(["show", "mine", "voc12", "--config", str(tmp_path / "config")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["net_options.label_smoothing", "0.4", "default", "of", "net", "amn"] in lines
    assert [line[1:] for line in lines if line[:1] == ["net_options.dropout"]] == [["0.3", "config/methods/mine.yaml"]]


def test_show_says_what_the_dataset_file_overrides(tmp_path, capsys):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    path = tmp_path / "config/datasets/demo.yaml"
    path.write_text(path.read_text() + "overrides: {cam: {segmentation: {steps: 7}}}\n")
    assert main(["show", "cam", "demo", "--config", str(tmp_path / "config")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["segmentation.steps", "7", "config/datasets/demo.yaml"] in lines


def test_show_takes_the_name_of_a_row(capsys):
    assert main(["show", "cam.seed1", "demo"]) == 0
    assert capsys.readouterr().out.startswith("recipe cam on demo")
    for name, words in (("", "is no row's name"), ("cam.seedx", "is no row's name"), ("cam.netx", "is no row's name"), ("cam.seed1.seed2", "is no row's name"), ("cam.net2", "show cam")):
        assert main(["show", name, "demo"]) == 1
        assert words in capsys.readouterr().err


def test_a_wrong_name_is_one_line(capsys):
    assert main(["show", "anm", "demo"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("wsss: ") and said.err.count("\n") == 1 and "anm.yaml" in said.err and not said.out


def raised(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    "error, status, words",
    [
        (UserError("a.png: bad"), 1, "wsss: a.png: bad\n"),
        (PermissionError(13, "", "run.json"), 1, "wsss: run.json: no permission; change its mode or owner\n"),
        (KeyboardInterrupt(), 130, "wsss: stopped\n"),
    ],
)
def test_a_command_ends_in_its_own_words(error, status, words, capsys):
    assert ended(raised(error), "wsss: ") == status
    assert capsys.readouterr().err == words


def test_a_terminal_that_lacks_letters_or_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert ended(lambda: print("möp")) == 0 and sys.stdout.buffer.getvalue() == b"m\\xf6p\n"
    monkeypatch.setattr(sys, "stdout", None)
    assert ended(lambda: print("möp")) == 0


def test_schemas_for_editors_take_what_is_shipped_and_mark_what_is_wrong(tmp_path):
    assert main(["schema", str(tmp_path / "made")]) == 0
    config = REPOSITORY / "config"
    checked = 0
    for kind in ("config", "datasets", "methods", "parts", "presets"):
        schema = json.loads((tmp_path / f"made/{kind}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        for path in [config / "config.yaml"] if kind == "config" else (config / kind).glob("*.yaml"):
            assert not [error.message for error in validator.iter_errors(read_yaml(path))], path
            checked += 1
            assert not validator.is_valid({**read_yaml(path), "no_key": 1}), path
    assert checked > 40
    recipe = jsonschema.Draft202012Validator(json.loads((tmp_path / "made/methods.json").read_text()))
    assert not recipe.is_valid({"net": "amn", "net_options": {"tau": 0.4}})
    assert recipe.is_valid({"net": "eps", "net_options": {"tau": 0.4}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A chain up to its CAMs."""
    chain = Chain(folder_dataset(tmp_path_factory.mktemp("again")), "cam")
    chain.run("classifier")
    chain.run("cam", {"model": "classifier/model.safetensors"})
    return chain.results


def test_a_finished_stage_gives_the_same_bytes_again(finished, tmp_path, capsys):
    for stage in ("classifier", "cam"):
        assert main(["run", str(finished / stage / "run.json"), "--into", str(tmp_path / stage)]) == 0
        assert artefacts(tmp_path / stage) == artefacts(finished / stage)
        assert capsys.readouterr().out.strip() == str(tmp_path / stage)


def test_again_never_touches_the_results(finished, tmp_path):
    with pytest.raises(UserError, match="holds the results of the stage itself"):
        run_again(finished / "cam/run.json", finished / "cam")
    with pytest.raises(UserError, match="no run.json of a stage"):
        run_again(finished / "dataset.json")
    shutil.copytree(finished / "cam", tmp_path / "cam")
    text = (tmp_path / "cam/run.json").read_text()
    (tmp_path / "cam/run.json").write_text(text.replace("classifier/model.safetensors", "classifier/gone.safetensors"))
    with pytest.raises(UserError, match="gone.safetensors: an input of the stage is not there"):
        run_again(tmp_path / "cam/run.json")


def test_a_part_of_the_images_is_not_run_alone(finished, tmp_path):
    """Its record lies a folder deeper, and what is run would take the stage's index away."""
    shutil.copytree(finished / "cam", tmp_path / "cam/shards")
    record = tmp_path / "cam/shards/1of2.run.json"
    facts = json.loads((finished / "cam/run.json").read_text())
    record.write_text(json.dumps(facts | {"params": facts["params"] | {"shard": "1of2"}}))
    for into in (None, tmp_path / "new"):
        with pytest.raises(UserError, match="1of2.run.json: the stage ran in parts"):
            run_again(record, into)
    assert not (tmp_path / "new").exists()


def test_again_goes_into_no_folder_of_photos_or_of_another_stage(finished):
    """Masks and photos may have the same names."""
    record = finished / "cam/run.json"
    with pytest.raises(UserError, match="images: holds the photos of own; give another folder with --into"):
        run_again(record, finished.parent / "images")
    with pytest.raises(UserError, match="classifier: holds what another stage, or one with other settings, made; give another"):
        run_again(record, finished / "classifier")


def test_again_goes_into_no_folder_of_other_settings(finished, tmp_path):
    """The same stage with the same inputs, as a recipe has it that takes another's classifier."""
    shutil.copytree(finished / "cam", tmp_path / "cam")
    facts = json.loads((tmp_path / "cam/run.json").read_text())
    facts["params"]["settings"]["batch_size"] += 1
    (tmp_path / "cam/run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="cam: holds what another stage, or one with other settings, made"):
        run_again(finished / "cam/run.json", tmp_path / "cam")


@pytest.mark.parametrize("name", ["labels.csv", "model.safetensors"])
def test_again_says_what_it_wants_and_to_delete_nothing(tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert main(["run", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert "give the run.json of a stage" in said and "delete" not in said and "--force" not in said


def test_again_writes_over_no_files_of_the_users(finished, tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    with pytest.raises(UserError, match="holds files that this stage has not made.*give a new folder"):
        run_again(finished / "cam/run.json", tmp_path)
    with pytest.raises(UserError, match="mine.png: is a file; give a new folder"):
        run_again(finished / "cam/run.json", tmp_path / "mine.png")
    with pytest.raises(UserError, match="none/run.json: no such file; give the run.json of a stage"):
        run_again(finished / "none/run.json")


def test_folders_in_place_of_files_and_the_other_way_round(finished, tmp_path, capsys):
    assert main(["run", str(finished / "cam")]) == 1
    assert "cam: is a folder, and a JSON file is wanted; give the file in it" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["schema", str(tmp_path / "file")]) == 1
    assert "file: cannot write: a file stands where a folder is needed" in capsys.readouterr().err
