"""The methods by name. Names map to "module:Class" strings and are imported when asked for, so that adding
or editing one method touches no other."""

from importlib import import_module

from wsss.errors import UserError

METHODS = {
    "cam": "wsss.methods.cam:CAM",
    "amn": "wsss.methods.amn:AMN",
    "eps": "wsss.methods.eps:EPS",
    "eps_base": "wsss.methods.eps:EPSBase",
    "seam": "wsss.methods.seam:SEAM",
    "cpn": "wsss.methods.cpn:CPN",
    "sipe": "wsss.methods.sipe:SIPE",
    "ppc": "wsss.methods.ppc:PPC",
    "ppc_eps": "wsss.methods.ppc:PPCEPS",
    "mctformer_v1": "wsss.methods.mctformer:MCTformerV1",
    "mctformer_v2": "wsss.methods.mctformer:MCTformerV2",
}


def entry(name: str) -> str:
    """The "module:Class" of a method. Raises UserError, listing the names, if there is none."""
    if name not in METHODS:
        raise UserError(f"net: {name!r} is not a known method; choose one of {', '.join(sorted(METHODS))}")
    return METHODS[name]


def get(name: str) -> type:
    """The Method subclass called `name`. Raises UserError, listing the names, if there is none."""
    module, _, cls = entry(name).partition(":")
    return getattr(import_module(module), cls)


def module_path(name: str) -> str:
    """Dotted module of a method, without importing it; code digests start here and follow its imports."""
    return entry(name).partition(":")[0]
