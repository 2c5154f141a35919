"""What makes the planning of thousands of jobs fast: answers found once for all shards, scripts looked at once."""

import gc
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake.cli  # first: its modules import each other
import snakemake.common
import snakemake.dag
import snakemake.rules
from helpers import REPOSITORY, copy_project, own_photos
from helpers import snakemake as run
from snakemake.common import get_input_function_aux_params
from snakemake.exceptions import WorkflowError
from snakemake.iocontainers import Wildcards
from wsss.errors import UserError


@pytest.fixture
def planning(monkeypatch):
    """The names of rules/planning.smk, with a stand-in for the class it changes; the collector is put back."""

    class ScriptProcessor:
        looked_at = []

        def process_job(self, job):
            self.looked_at.append(job.rule.script)

    before = gc.get_threshold()
    monkeypatch.setattr(snakemake.dag, "ScriptProcessor", ScriptProcessor)
    monkeypatch.setattr(snakemake.rules, "InputFunctionException", snakemake.rules.InputFunctionException)
    for module in (snakemake.common, snakemake.rules):  # put back afterwards
        monkeypatch.setattr(module, "get_function_params", module.get_function_params)
    names = {"workflow": SimpleNamespace(basedir=str(REPOSITORY))}
    exec(compile((REPOSITORY / "rules/planning.smk").read_text(), "planning.smk", "exec"), names)
    yield names
    gc.set_threshold(*before)


@dataclass(frozen=True)
class Rule:
    script: str


def wildcards(**values):
    return Wildcards(fromdict=values)


def test_all_shards_share_an_answer_and_nothing_else_does(planning):
    asked_for = []

    @planning["asked"]
    def answer(w, stage="cam"):
        asked_for.append((w.method, stage))
        return {"of": w.method}

    shards = [answer(wildcards(dataset="demo", method="amn", shard=str(n), shards="8")) for n in range(8)]
    assert asked_for == [("amn", "cam")] and all(found is shards[0] for found in shards)
    answer(wildcards(dataset="demo", method="irn", shard="1", shards="8"))
    answer(wildcards(dataset="voc12", method="amn", shard="1", shards="8"))
    answer(wildcards(dataset="demo", method="amn"), "seeds")
    assert len(asked_for) == 4


def test_a_mistake_ends_in_its_own_words_every_time(planning):
    @planning["asked"]
    def answer(w):
        raise UserError("no such thing; mend it")

    for _ in range(2):
        with pytest.raises(WorkflowError, match="no such thing; mend it"):
            answer(wildcards(method="amn"))


def test_snakemake_still_knows_what_a_function_takes(planning):
    answer = planning["asked"](lambda w: 1)
    assert get_input_function_aux_params(answer, {"input": 1, "threads": 2}) == {}
    assert get_input_function_aux_params(lambda w, threads: 1, {"input": 1, "threads": 2}) == {"threads": 2}
    find = snakemake.rules.get_function_params
    assert find is snakemake.common.get_function_params and find(answer) is find(answer)


def test_a_script_is_looked_at_once_a_rule(planning):
    processor = snakemake.dag.ScriptProcessor()
    for script, jobs in (("a.py", 3), ("b.py", 2), ("{method}.py", 2), (Path("c.py"), 2)):
        rule = Rule(script)
        for _ in range(jobs):
            processor.process_job(SimpleNamespace(rule=rule))
    assert processor.looked_at == ["a.py", "b.py", "{method}.py", "{method}.py", Path("c.py")]


def test_another_snakemake_is_left_alone(planning, monkeypatch):
    monkeypatch.delattr(snakemake.dag, "ScriptProcessor")
    planning["check_scripts_once"]()
    assert not hasattr(snakemake.dag, "ScriptProcessor")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = copy_project(tmp_path_factory.mktemp("words") / "project")
    own_photos(made)
    (made / "config/methods/round.yaml").write_text("{extends: amn, classifier: {labels_from: round}}")
    return made


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["results/own/cam/miou.txt"], "own has no ground-truth masks, so there is no mIoU; ask for results/own/cam/predictions/index.json"),
        (["results/demo_tiny/foo/miou.txt"], "config/methods/foo.yaml: no such file; known methods: amn, amn_seed, cam"),
        (["--config", "methods=[foo]"], "config/methods/foo.yaml: no such file; known methods: amn, amn_seed, cam"),
        (["results/own/report/miou.txt"], "report is a folder of the workflow's own"),
        (["results/own/full/predictions/index.json"], "own has no ground-truth masks, from which full learns; leave full out of `methods`"),
        (["results/own/round/cam/index.json"], "round.yaml: classifier.labels_from: the labels of round are made with this classifier itself"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_around_it(project, arguments, words):
    """Found while rules are asked, of inputs and of params, or while the Snakefile is read."""
    done = run(project, "-n", *arguments)
    lines = done.stdout.strip().splitlines()
    assert done.returncode != 0 and lines[-2] == "WorkflowError:" and words in lines[-1], done.stdout
    assert "Traceback" not in done.stdout and "File " not in done.stdout


def test_an_error_that_is_nobodys_mistake_keeps_its_traceback(project, tmp_path):
    rules = project / "rules/inputs/evaluation.smk"
    text = rules.read_text()
    rules.write_text(text + "\n\ndef evaluation_inputs(w):\n    return {}['x']\n")
    done = run(project, "-n", "results/demo_tiny/cam/miou.txt")
    rules.write_text(text)
    assert done.returncode != 0 and "InputFunctionException in rule evaluation" in done.stdout and "Traceback" in done.stdout


@pytest.mark.parametrize(
    "content, words",
    [
        ("seeds: [1]\n", "key given twice: ['seeds']"),
        ("extra: 010\n", "010 would not be read as it looks"),
        ("extra: &x {a: *x}\n", "not valid YAML"),
        (None, "not valid YAML: 'utf-8' codec can't decode"),
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
