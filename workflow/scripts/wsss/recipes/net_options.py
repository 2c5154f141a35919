"""What planning asks of a net, read from its module's text: what plans has no torch, so the module is not imported."""

import ast
import functools
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from wsss import methods
from wsss.errors import UserError
from wsss.sections.section import Section, defaults_of, keys_of, typed


@functools.cache
def option_names(net: str) -> frozenset[str]:
    """The keys of `defaults` of the net's class, as it stands in its module or comes from the class before it.

    Raises:
        UserError: no such net, or `defaults` cannot be read: neither a dict of names nor `defaults_of(CLASS)`.
    """
    module, _, name = methods.entry(net).partition(":")
    return frozenset(_Class(module, name).options())


@functools.cache
def options_class(net: str) -> type[Section] | None:
    """The typed options of the net, which have no torch; None where its class has a plain dict of defaults.

    Raises:
        UserError: no such net, or `defaults` is not written as `defaults_of(CLASS)` or a dict of names.
    """
    module, _, name = methods.entry(net).partition(":")
    return _Class(module, name).options_class()


def defaults(net: str) -> dict[str, Any]:
    """The values of the net's options where a recipe says nothing; {} for a plain dict of defaults, of which only the names are read.

    Raises:
        UserError: see `options_class`.
    """
    kind = options_class(net)
    return {} if kind is None else defaults_of(kind)


def aux(net: str, options: dict[str, Any]) -> frozenset[str] | None:
    """What inference reads of another recipe under these options; None where the net's typed options do not say so (`aux`).

    A net whose options do not is asked for its `Spec.aux` when CAMs are made.
    """
    kind = options_class(net)
    told = getattr(kind, "aux", None)
    return None if kind is None or told is None else told(typed(options, kind))


def by_place(net: str) -> bool:
    """Whether a training goes by where things lie in the crop, though image labels are all it learns from: `by_place` of the typed options."""
    return bool(getattr(options_class(net), "by_place", False))


def at_test(net: str) -> frozenset[str]:
    """The options that shape maps alone, and no training: `at_test` of the typed options. A recipe may set them for a network that another one trained."""
    return getattr(options_class(net), "at_test", frozenset[str]())


@functools.cache
def has_bg_map(net: str) -> bool:
    """Whether the net's maps have a background's among them: what its `spec_for` says of bg_map.

    Raises:
        UserError: no such net, or what it says is not True or False.
    """
    module, _, name = methods.entry(net).partition(":")
    return _Class(module, name).bg_map()


@functools.cache
def needs(net: str) -> frozenset[str]:
    """What the net learns from beside image labels (saliency, ir_labels): `needs` of its `spec_for`, as it is written there.

    Raises:
        UserError: no such net.
    """
    module, _, name = methods.entry(net).partition(":")
    return frozenset(_Class(module, name).needs())


METHODS_LINE = "its line in wsss.methods.METHODS, which reads wsss.methods.MODULE:CLASS"


class _Class:
    """A class in the text of a module."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name, self.tree = module, name, _tree(module)
        found = [node for node in self.tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        if not found:
            raise UserError(f"{module}: there is no class {name} at the top of this module; mend {METHODS_LINE}, or the import of it")
        self.node = found[0]

    def options(self) -> list[str]:
        """The keys of `defaults`."""
        owner, value = self._defaults()
        if isinstance(value, ast.Dict):
            return [name for pair in zip(value.keys, value.values, strict=True) for name in owner._entry(*pair)]
        return list(keys_of(owner._section(value)))

    def options_class(self) -> type[Section] | None:
        """What `defaults_of` is given; None where `defaults` is a dict."""
        owner, value = self._defaults()
        return None if isinstance(value, ast.Dict) else owner._section(value)

    def _defaults(self) -> tuple["_Class", ast.expr]:
        """What `defaults` is set to, and the class that does so: this one or the one before it."""
        assigned = [node for node in self.node.body if "defaults" in _targets(node)]
        values = [node.value for node in assigned if isinstance(node, ast.Assign | ast.AnnAssign)]
        if not values and len(self.node.bases) == 1:
            return self._named(self.node.bases[0])._defaults()
        if len(values) != 1 or values[0] is None:
            raise self._unread()
        return self, values[0]

    def _section(self, value: ast.expr) -> type[Section]:
        """The class CLASS of `defaults_of(CLASS)`, imported: such modules have no torch."""
        if not isinstance(value, ast.Call) or ast.unparse(value.func) != "defaults_of" or len(value.args) != 1:
            raise self._unread()
        module, name = self._imported().get(ast.unparse(value.args[0]), ("", ""))
        found = getattr(import_module(module), name, None) if module else None
        if not (isinstance(found, type) and issubclass(found, Section)):
            raise self._unread()
        return found

    def bg_map(self) -> bool:
        """As written in `spec_for` of the class, or of the class before it; False where none says so."""
        said = self._said("bg_map")
        written = {value.value for value in said if isinstance(value, ast.Constant) and isinstance(value.value, bool)}
        if len(written) > 1 or not all(isinstance(value, ast.Constant) and isinstance(value.value, bool) for value in said):
            raise UserError(f"{self.module}: bg_map of {self.name} cannot be read without running it; write bg_map=True in spec_for")
        if written:
            return written.pop()
        base = self._before()
        return base is not None and base.bg_map()

    def needs(self) -> set[str]:
        """As written in `spec_for` of the class, or of the class before it; nothing where none says so."""
        said, base = self._said("needs"), self._before()
        if not said:
            return set() if base is None else base.needs()
        written = [_texts(value) for value in said]
        first = written[0]
        if first is None or any(one != first for one in written):
            raise UserError(f'{self.module}: needs of {self.name} cannot be read without running it; write needs=frozenset({{"saliency"}}) in spec_for, with all of them')
        return first

    def _calls(self) -> list[ast.Call]:
        """The calls in `spec_for`. UserError where it gives a Spec that was made elsewhere, or whose values have no names."""
        functions = [node for node in self.node.body if isinstance(node, ast.FunctionDef) and node.name == "spec_for"]
        calls = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Call)]
        made_here = any(_called(call) in ("Spec", "spec_for") for call in calls)
        nameless = any(_is_spec(call) and (len(call.args) > 1 or any(word.arg is None for word in call.keywords)) for call in calls)
        if functions and not made_here or nameless:
            raise UserError(f"{self.module}: the Spec of {self.name} cannot be read without running it; let spec_for return Spec(stride=..., bg_map=True), with names")
        return calls

    def _said(self, key: str) -> list[ast.expr]:
        return [word.value for call in self._calls() for word in call.keywords if word.arg == key]

    def _before(self) -> "_Class | None":
        """The class whose Spec this one changes or takes over; None where it writes a whole one."""
        if any(map(_is_spec, self._calls())) or not self.node.bases:
            return None
        if len(self.node.bases) > 1:
            raise UserError(f"{self.module}: {self.name} has several bases, so its Spec cannot be read without running it; write spec_for in the class itself")
        base = self._named(self.node.bases[0])
        return None if base.name == "Method" else base

    def _entry(self, key: ast.expr | None, value: ast.expr) -> list[str]:
        """The names of one entry: a text, or all those of `**Other.defaults`."""
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return [key.value]
        if key is None and isinstance(value, ast.Attribute) and value.attr == "defaults":
            return self._named(value.value).options()
        raise self._unread()

    def _named(self, name: ast.expr) -> "_Class":
        """The class that this module calls `name`: its own, imported, or of an imported module."""
        dotted = ast.unparse(name)
        if any(isinstance(node, ast.ClassDef) and node.name == dotted for node in self.tree.body):
            return _Class(self.module, dotted)
        imported = self._imported()
        first, _, rest = dotted.partition(".")
        if first not in imported or "." in rest:
            raise self._unread()
        module, source = imported[first]
        return _Class(f"{module}.{source}", rest) if rest else _Class(module, source)

    def _imported(self) -> dict[str, tuple[str, str]]:
        """Names that the module imports, each with the module it is from and its name there."""
        return {
            alias.asname or alias.name: (source, alias.name)
            for node in self.tree.body
            if isinstance(node, ast.ImportFrom)
            for source in [_source(node, self.module)]
            for alias in node.names
        }

    def _unread(self) -> UserError:
        return UserError(
            f"{self.module}: the options of {self.name} cannot be read without running it; write defaults as a dict, "
            '{"name": value, **Base.defaults}, or as defaults_of(CLASS), and import Base and CLASS from their own modules'
        )


@functools.cache
def _tree(module: str) -> ast.Module:
    spec = _spec_of(module)
    if spec is None or spec.origin is None:
        raise UserError(f"{module}: there is no such module; mend {METHODS_LINE}")
    try:
        return ast.parse(Path(spec.origin).read_text("utf-8"))
    except SyntaxError as error:
        raise UserError(f"{spec.origin}: not valid Python: line {error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{spec.origin}: not UTF-8 ({error}); save it so") from error


def _spec_of(module: str) -> ModuleSpec | None:
    """Where a module is; None where it is not."""
    try:
        return find_spec(module)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"{module}: its package imports {error.name}, which is not installed") from error
        return None  # what comes before the last dot is no package


def _source(node: ast.ImportFrom, module: str) -> str:
    """The module that an import in `module` is from, relative or not."""
    if not node.level:
        return node.module or ""
    written, spec = "." * node.level + (node.module or ""), _spec_of(module)
    try:
        return resolve_name(written, spec.parent if spec else None)
    except ImportError as error:
        raise UserError(f"{module}: imports {written}, which leads out of its package; write the whole name") from error


def _texts(value: ast.expr) -> set[str] | None:
    """The texts of `frozenset({"a", "b"})` or `frozenset()`; None of anything else."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "frozenset" or value.keywords:
        return None
    if not all(isinstance(argument, ast.Set) for argument in value.args):
        return None
    inside = [item for argument in value.args if isinstance(argument, ast.Set) for item in argument.elts]
    texts = {item.value for item in inside if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    return texts if len(texts) == len(inside) else None


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_spec(call: ast.Call) -> bool:
    return _called(call) == "Spec"


def _targets(node: ast.stmt) -> list[str]:
    """The names that a statement of a class body sets."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
