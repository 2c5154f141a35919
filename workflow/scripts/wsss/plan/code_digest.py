"""A digest over the code that a stage really uses, so that Snakemake reruns exactly what an edit concerns.

The digest covers the stage module, everything it imports from `wsss` (static imports, transitively) and
the method's module with its imports. Methods are loaded by name, so no method is in another's closure.
It is taken over the syntax tree without what cannot change a result:

- comments and docstrings;
- words for people: strings inside `raise` statements, inside calls of `log`, of `UserError`, of `for_people` and of `about`,
  f-strings with all that they show;
- the modules of LEFT_OUT, by name. `wsss.engine` argues why, and says what is not left out.

So a reworded message retrains nothing. A text that is made in one place and raised in another goes through
`wsss.engine.explain.for_people`, or it counts as code (tests/engine/test_words.py finds those that do not).
"""

import ast
import functools
import hashlib
from importlib.util import resolve_name
from pathlib import Path

from wsss.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
# The dicts of names: one more in them changes no other's results.
REGISTRIES = ("wsss.methods", "wsss.wrappers", "wsss.refine.walks", "wsss.nets.segmenters")
# The plumbing, and what a stage says of its finished result in log and run.json.
LEFT_OUT = ("wsss.engine", "wsss.score.self_report")
# All that the engine imports from outside itself: in every digest, since the engine does not show what it uses.
BELOW_ENGINE = ("wsss.errors", "wsss.fixed", "wsss.digest")
SPEAKING = ("UserError", "for_people", "about")  # functions whose strings are words for people
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")  # and methods of `log`


@functools.cache
def code_version(*modules: str) -> str:
    """Digest (16 hex digits) over the import closure of dotted `modules` such as ``wsss.stages.cam``."""
    digest = hashlib.sha256()
    for name in sorted(closure(*modules, *BELOW_ENGINE, without=LEFT_OUT)):
        digest.update(f"{name}:{_read(_source(name))[0]}\n".encode())
    return digest.hexdigest()[:16]


def closure(*modules: str, without: tuple[str, ...] = ()) -> set[str]:
    """All `wsss` modules that `modules` import, themselves included; not through those of `without`, modules or packages."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in REGISTRIES or is_within(name, without) or _source(name) is None:
            continue
        found.add(name)
        imports = (_absolute(written, name) if written.startswith(".") else written for written in _read(_source(name))[1])
        waiting += [imported for imported in imports if is_within(imported, ("wsss",))]
    return found


def _absolute(written: str, module: str) -> str:
    """The module that a relative import in a `wsss` module or package names."""
    is_package = ROOT.joinpath(*module.split(".")[1:]).is_dir()
    try:
        return resolve_name(written, module if is_package else module.rpartition(".")[0])
    except ImportError as error:
        raise UserError(f"{module}: a relative import leads out of its package ({error}); write the whole name") from error


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of `packages` or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@functools.cache
def _source(module: str) -> str | None:
    """The text of a `wsss` module or of a package's __init__; None where there is none of that name."""
    parts = module.split(".")
    if parts[0] != "wsss":
        return None
    base = ROOT.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path.read_text("utf-8")
    return None


@functools.cache
def _read(source: str) -> tuple[str, list[str]]:
    """The digest of a module's code, and what it imports, as it is written; in one pass, which is most of what planning a method takes."""
    visitor = _WithoutWords()
    tree = visitor.visit(ast.parse(source))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), visitor.imports


class _WithoutWords(ast.NodeTransformer):
    """Takes out docstrings, and empties the strings that are words for people; notes what is imported."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self._for_people = False  # inside a raise statement, or a call that takes words

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_string(statement)]
        return super().generic_visit(node)

    def _leaf(self, node: ast.AST) -> ast.AST:
        return node

    visit_Name = visit_Load = visit_Store = _leaf  # half of all nodes, and nothing is below them

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imports += [alias.name for alias in node.names]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        dots, module = "." * node.level, node.module or ""
        self.imports += [dots + module, *(f"{dots}{module}{'.' * bool(module)}{alias.name}" for alias in node.names)]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return self._without_strings(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self._without_strings(node) if _takes_words(node.func) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if self._for_people and isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("") if self._for_people else self.generic_visit(node)

    def _without_strings(self, node: ast.AST) -> ast.AST:
        before, self._for_people = self._for_people, True
        node = self.generic_visit(node)
        self._for_people = before
        return node


def _is_string(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)


def _takes_words(function: ast.expr) -> bool:
    """Whether it is one of SPEAKING, or `log.info` or the like; every module's logger is called `log`."""
    if isinstance(function, ast.Attribute):
        return function.attr in LEVELS and isinstance(function.value, ast.Name) and function.value.id == "log"
    return isinstance(function, ast.Name) and function.id in SPEAKING
