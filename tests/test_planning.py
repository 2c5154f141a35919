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
from helpers import REPOSITORY
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
