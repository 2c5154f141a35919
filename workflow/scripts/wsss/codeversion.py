"""A digest over the code that a stage really uses, so that Snakemake reruns exactly what an edit concerns.

The digest covers the stage module, everything it imports from `wsss` (static imports, transitively) and
the method's module with its imports. Methods are loaded by name, so no method is in another's closure.
It is taken over the syntax tree without docstrings and comments: prose never retrains a network.
"""

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The dicts of names: one more in them changes no other's results.
REGISTRIES = ("wsss.methods", "wsss.wrappers", "wsss.refine.walks", "wsss.nets.segmenters")
# Says in log and run.json how a result looks, and shapes none: another threshold of a warning reruns nothing.
SAYING = ("wsss.score.self_report",)


@functools.cache
def code_version(*modules: str) -> str:
    """Digest (16 hex digits) over the import closure of dotted `modules` such as ``wsss.stages.cam``."""
    digest = hashlib.sha256()
    for name in sorted(closure(*modules, without=SAYING)):
        digest.update(f"{name}:{_tree_digest(_path(name))}\n".encode())
    return digest.hexdigest()[:16]


def closure(*modules: str, without: tuple[str, ...] = ()) -> set[str]:
    """All `wsss` modules that `modules` import, themselves included; not through those of `without`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in (*REGISTRIES, *without) and _path(name) is not None:
            found.add(name)
            waiting += _imports(_path(name))
    return found


@functools.cache
def _path(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != "wsss":
        return None
    base = ROOT.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _parse(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in body if not _is_string(statement)]
    return tree


def _is_string(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)


@functools.cache
def _tree_digest(path: Path) -> str:
    return hashlib.sha256(ast.dump(_parse(path)).encode()).hexdigest()


@functools.cache
def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] == "wsss"]
