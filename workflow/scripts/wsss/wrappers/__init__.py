"""Wrappers by name: what a recipe's `wrap:` puts around the training of any net. Imported when asked for, as methods are.

A wrapper is two modules: its class, and `options`, which planning reads too and which so has no torch: OPTIONS, a Section
(`wsss.sections`); its DEFAULTS; and check(options, where), which refuses values that do not go together.
"""

from importlib import import_module
from types import ModuleType

from wsss.errors import UserError

NONE = "none"  # undoes the `wrap` of a recipe that is extended
WRAPPERS = {
    "fsae": ("wsss.wrappers.fsae:FSAE", "wsss.wrappers.fsae_options"),
}


def entry(name: str) -> tuple[str, str]:
    """("module:Class", options module) of a wrapper. Raises UserError, listing the names, if there is none."""
    if name not in WRAPPERS:
        raise UserError(f"wrap: {name!r} is not a known wrapper; choose one of {', '.join(sorted(WRAPPERS))}, or {NONE}")
    return WRAPPERS[name]


def get(name: str) -> type:
    """The Wrapper subclass called `name`. Raises UserError, listing the names, if there is none."""
    module, _, cls = entry(name)[0].partition(":")
    return getattr(import_module(module), cls)


def options_of(name: str) -> ModuleType:
    """OPTIONS, DEFAULTS and check of a wrapper, without torch."""
    return import_module(entry(name)[1])


def module_path(name: str) -> str:
    """Dotted module of a wrapper, without importing it; code digests start here and follow its imports."""
    return entry(name)[0].partition(":")[0]
