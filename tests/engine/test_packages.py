"""Who rests on whom, as docs/follow_one_run.md draws it."""

import ast
from graphlib import TopologicalSorter

from helpers import LIBRARY, REPOSITORY

ROOT = LIBRARY / "wsss"


def imported(path):
    """The packages, or single modules at the top, that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "wsss":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("wsss."):
            yield node.module.split(".")[1]


def packages():
    """Package -> those that it imports from."""
    found = {}
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        found.setdefault(own, set()).update(set(imported(path)) - {own})
    return found


def test_no_package_rests_on_itself_by_way_of_others():
    TopologicalSorter(packages()).prepare()  # raises CycleError, which names them


def test_the_guide_draws_them_from_the_bottom_up():
    text = (REPOSITORY / "docs/follow_one_run.md").read_text()
    lines = text.split("From the bottom up:")[1].split("```")[1].splitlines()
    drawn = [word.rstrip("/") for line in lines for word in line.split("  ")[0].split()]
    found = packages()
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders <= set(drawn) and set(drawn) <= set(found)
    for place, name in enumerate(drawn):
        assert found[name] & folders <= set(drawn[:place]), name
