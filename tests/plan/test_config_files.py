"""config.yaml, and YAML itself: what users get wrong is one line with file and key."""

import os

import pytest
from config_files import CONFIG, MAIN, config, rewrite
from wsss.errors import UserError
from wsss.recipes.config import Config, expand_env, read_yaml
from wsss.recipes.schema import check

pytestmark = pytest.mark.usefixtures("photos_elsewhere")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"methds": ["cam"]}, "did you mean methods?"),
        ({"methods": "cam"}, "methods: 'cam' is not of type 'array'; write a list, [cam]"),
        ({"methods": "[cam,irn"}, "methods: '[cam,irn' is not of type 'array'; write a list, [cam,irn] (the brackets do not match"),
        ({"methods": "cam]"}, "write a list, [cam] ("),
        ({"methods": "[cam] results/demo/cam/miou.txt"}, "write a list, [cam] ("),
        ({"methods": None}, "methods: None is not of type 'array'; write a list, [...]"),
        ({"methods": []}, "methods"),
        ({"methods": ["AMN"]}, "methods.0: 'AMN' is not allowed; allowed: [a-z0-9_]+; write amn"),
        ({"shards": 2}, "unknown key shards in top level; allowed: compute"),
        ({"shards": 2}, "shards belongs below runtime"),
        ({"runtime": {**MAIN["runtime"], "device": "gpu"}}, "allowed: auto, cpu, cuda (gpu is now cuda)"),
        ({"datasets": ["Demo"]}, "datasets.0"),
        ({"methods": ["amn cam"]}, "write amn_cam, or a comma between two names"),
        ({"methods": "cam", "seeds": [0]}, "(the file itself is right; look at what --config or --configfile gives: methods)"),
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


def test_of_a_wrong_file_nothing_is_said_of_the_command_line(project):
    rewrite(project / "config.yaml", lambda content: content.update(methods="cam"))
    with pytest.raises(UserError, match="write a list") as caught:
        config(project, methods="cam", seeds=[1])
    assert "--config" not in str(caught.value)


@pytest.mark.parametrize("name", ["Photos", "photos.v2", "My Photos"])
def test_files_of_names_that_nothing_can_ask_for_are_named(project, name):
    (project / f"datasets/{name}.yaml").write_text("kind: folder\n")
    with pytest.raises(UserError, match=f"photos.yaml: no such file; known datasets: coco14, .*; {name}.yaml is passed over: a name has small letters"):
        Config(project, MAIN).dataset("photos")


@pytest.mark.parametrize(
    "classes, words",
    [
        ("{1: cat, 2: dog}", "key 1 must be text; put it in quotes, or write a list, [A, B], where one is wanted"),
        ("cat, dog", "'cat, dog' is not of type 'array'; write a list, [cat, dog]"),
        ("[cat, yes]", "True is not of type 'string'; write it in quotes, as it stands in the file (without them YAML reads yes, no, on and off"),
        ("[cat, 1]", "write '1', in quotes"),
        ("[cat, 01]", "01 would not be read as it looks; write a plain number, or put it in quotes if it is a name"),
        ("[cat, null]", "None is not of type 'string'; write a text, in quotes"),
        ("[cat, 2024-01-01]", "write a text, in quotes"),
        ("[cat, [dog]]", "write one text, without brackets"),
    ],
)
def test_classes_that_yaml_reads_as_something_else(project, classes, words):
    (project / "datasets/mine.yaml").write_text(f"kind: folder\nparams: {{images: a, labels: b.csv, classes: {classes}}}\n".replace("classes: cat, dog", "classes: 'cat, dog'"))
    with pytest.raises(UserError) as caught:
        Config(project, MAIN).dataset("mine")
    assert words in str(caught.value) and "mine.yaml" in str(caught.value)


def test_mappings_may_be_laid_below_others(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    (tmp_path / "x.yaml").write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: 3\n  y: 4\n")
    with pytest.raises(UserError, match="key given twice"):
        read_yaml(tmp_path / "x.yaml")


@pytest.fixture(params=[0o000, 0o444])
def closed(request, project, monkeypatch):
    """config/ for somebody whom modes of folders bind, which root is not; by a short path, since those above are root's own."""
    monkeypatch.chdir(project)
    project.chmod(0o755)
    (project / "methods").chmod(request.param)
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    yield Config(".", MAIN)
    os.seteuid(uid)
    (project / "methods").chmod(0o755)  # pytest is to delete it


def test_a_folder_that_may_not_be_read_is_named(closed):
    words = "^methods: cannot be read .Permission denied.; change its mode or owner: chmod u.rx methods"
    with pytest.raises(UserError, match=words):
        closed.existing("methods", "cam")
    if not os.access("methods", os.R_OK, effective_ids=True):  # else names are seen, and what they name is not
        for ask in (closed.names, closed.misnamed):
            with pytest.raises(UserError, match=words):
                ask("methods")


def test_names_longer_than_files_may_have_are_no_files(project):
    with pytest.raises(UserError, match="aaa.yaml: no such file; known methods: amn"):
        Config(project, MAIN).existing("methods", "a" * 300)


def test_another_ending_is_named(project):
    (project / "datasets/holiday.yml").write_text("kind: folder\n")
    with pytest.raises(UserError, match=r"holiday.yml: config files end in .yaml; rename it to holiday.yaml"):
        Config(project, MAIN).dataset("holiday")


def test_what_stands_a_level_too_high_in_a_dataset_is_named(project):
    (project / "datasets/mine.yaml").write_text("kind: folder\nimages: a\nlabels: b.csv\n")
    with pytest.raises(UserError, match=r"images belongs below params; labels belongs below params"):
        Config(project, MAIN).dataset("mine")
    (project / "datasets/mine.yaml").write_text("params: {images: a, labels: b.csv}\n")
    with pytest.raises(UserError, match=r"kind is missing; add kind: demo \| voc \| coco \| folder"):
        Config(project, MAIN).dataset("mine")


def test_a_folder_in_place_of_a_file_is_named(project):
    (project / "datasets/mine.yaml").mkdir()
    with pytest.raises(UserError, match=r"mine.yaml: cannot be read \(Is a directory\); mend its mode or owner, or put a file there"):
        Config(project, MAIN).dataset("mine")


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="config.yaml.*seeds is missing; add seeds: VALUE"):
        Config(CONFIG, {k: v for k, v in MAIN.items() if k != "seeds"})


@pytest.mark.parametrize(
    "text, words",
    [
        ("a: 1\nb: {c: 1, c: 2}\n", r"key given twice: \['c'\]"),
        ("a: 1\na: 1\n", "key given twice"),
        ("a: [1\n", "not valid YAML"),
        ("a:\n\tb: 1\n", "in line 2, column 1; indent with spaces, not with tabs"),
        ("a:\n  b:1\n  c: 2\n", "a space is missing after a colon, there or in the line above"),
        ("a:\n\u00a0\u00a0b: 1\n  c: 2\n", "line 2 has no-break spaces, as web pages do: type plain ones"),
        ('a: "C:\\photos"\n', "unknown escape character .*: write single quotes, or / in paths"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)


def test_bad_yaml_is_one_line_with_the_file(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=f"x.yaml: .*{words}") as caught:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


def test_missing_and_binary_yaml(tmp_path):
    with pytest.raises(UserError, match="x.yaml: no such config file"):
        read_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"x.yaml: not valid YAML: is not UTF-8 \(byte 0\); save it as UTF-8"):
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


def test_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("WSSS_TEST_DATA")
    with pytest.raises(UserError, match="voc_mini.yaml: environment variable WSSS_TEST_DATA is not set"):
        config().dataset("voc_mini")


def test_variables_are_expanded_everywhere(monkeypatch):
    monkeypatch.setenv("A", "x")
    assert expand_env({"a": ["${A}/${A}", 3], "b": "$A"}, "f") == {"a": ["x/x", 3], "b": "$A"}


def test_home_is_expanded_at_the_start_of_a_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_env({"a": "~/x", "b": ["~", "x~/y"]}, "f") == {"a": "/home/me/x", "b": ["/home/me", "x~/y"]}

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


@pytest.mark.parametrize("seed", [2**24 + 1, 2**31, 10**23, 1.0, 1.5, True, "1.0", "x"])
def test_seeds_that_cannot_be_meant(seed):
    with pytest.raises(UserError, match="config.yaml: seeds.0"):
        config(seeds=[seed])
    assert config(seeds=[0, 2**24, "7"]).main["seeds"] == [0, 2**24, 7]


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


@pytest.mark.parametrize("changes", [{"datasets": ["demo\n"]}, {"methods": ["cam\n"]}, {"predict": {"a\n": "b"}}])
def test_names_end_where_they_end(changes):
    with pytest.raises(UserError):
        config(**changes)
