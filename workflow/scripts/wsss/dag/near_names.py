"""A target that no rule makes: the run's last line names the file that was meant."""

import functools
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from snakemake.exceptions import MissingRuleException

from wsss.dag.mistakes import Mistake
from wsss.plan.near_targets import file_of, near_target, seed_fault, usual_files
from wsss.recipes.config import MISNAMED


def name_near_targets(workflow: Any, names: dict[str, list[str]], misnamed: Iterable[Path] = ()) -> None:
    """Where no rule makes what a user asks for, the run's last line names the file that was meant.

    What it says comes after Snakemake has found no rule, so that it refuses nothing that a workflow around this one makes.

    Args:
        names: wildcard -> the names it may stand for, first the one to show where the user wrote none.
        misnamed: config files whose names no target can have.
    """
    # Not above: before a run has begun this module of Snakemake and snakemake.rules import each other.
    from snakemake.workflow import DAG

    jobs_of_file, job_of_rule = DAG.file2jobs, DAG.rule2job
    if hasattr(jobs_of_file, "__wrapped__"):
        return

    @functools.wraps(jobs_of_file)
    async def file2jobs(self: Any, file: str, *args: Any, **more: Any) -> Any:
        try:
            return await jobs_of_file(self, file, *args, **more)
        except MissingRuleException:
            asked = {_below(target) for target in workflow.dag_settings.targets}
            written = _below(file)
            if words := written in asked and (_misnamed(written, misnamed) or _meant(file, written, workflow.rules, names)):
                raise Mistake(f"{file}: nothing makes a file of this name; {words}") from None
            raise

    @functools.wraps(job_of_rule)
    async def rule2job(self: Any, rule: Any) -> Any:
        example = _example(rule.name, [rule], names)
        if rule.has_wildcards() and example:
            raise Mistake(f"{rule.name} is a rule for files of many names; ask for one of them, such as {example}")
        return await job_of_rule(self, rule)

    DAG.file2jobs, DAG.rule2job = file2jobs, rule2job


def _below(file: str) -> str:
    """The path from the working directory, which may be written by way of a link to it."""
    plain = os.path.relpath(file)
    return os.path.relpath(os.path.realpath(file)) if plain.startswith("..") else plain


def _misnamed(written: str, files: Iterable[Path]) -> str | None:
    """What to say where a part of the target is called after a config file of a name that is not allowed."""
    found = next((path for path in files if path.stem in written.split("/")), None)
    return f"config/{found.parent.name}/{found.name} {MISNAMED}" if found else None


def _meant(file: str, written: str, rules: Iterable[Any], names: dict[str, list[str]]) -> str | None:
    """The file that was meant, else what files there are; None where a workflow around this one makes others alone.

    Args:
        file: the target as the user wrote it; `written` is the same from the working directory.
    """
    near = near_target(written, _outputs(rules), names) or _example(written, rules, names)
    if near == written != file:
        return f"targets are written from the working directory: {near}"
    if near and near != written:
        return f"did you mean {near}?{seed_fault(written)}"
    usual = ", ".join(usual_files(_outputs(rules)))
    return f"ask for one of {usual}; datasets and methods are the files of config/datasets and config/methods" if usual else None


def _outputs(rules: Iterable[Any]) -> list[str]:
    return [str(path) for rule in rules for path in rule.output]


def _example(word: str, rules: Iterable[Any], names: dict[str, list[str]]) -> str | None:
    """A file of the rule that is called much like this."""
    meant = get_close_matches(word, [rule.name for rule in rules], 1)
    files = (file_of(path, names) for path in _outputs(rule for rule in rules if rule.name in meant))
    return next(filter(None, files), None)
