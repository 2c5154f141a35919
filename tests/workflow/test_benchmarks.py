"""The benchmark programs are run by hand and seldom: what they import must be there all the same."""

import ast
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((REPOSITORY / "benchmarks").glob("*.py")) + sorted((REPOSITORY / "docs").glob("*.py"))


def imported(program):
    """(module, name) of each `from wsss... import name` of a program."""
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wsss":
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_imports_of_a_program_are_there(program):
    for module, name in imported(program):
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")


def test_programs_use_the_library():
    assert sum(len(list(imported(program))) for program in PROGRAMS) > 50
