"""The segmentation nets by name. Plain data, as the rules ask at start: no torch here; classes are imported when asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from wsss.errors import UserError
from wsss.sections.section import defaults_of, keys_of
from wsss.sections.segmenter_options import BY_NET

DEFAULT = "deeplab_v2"
SEGMENTERS = {"deeplab_v2": "wsss.nets.deeplab:DeepLabV2", "deeplab_v1": "wsss.nets.deeplab_v1:DeepLabV1"}


def get(name: str) -> type:
    """The network class called `name`."""
    module, _, cls = SEGMENTERS[name].partition(":")
    return getattr(import_module(module), cls)


def module_path(name: str) -> str:
    """Dotted module of a net, without importing it; code digests start here and follow its imports."""
    return SEGMENTERS[name].partition(":")[0]


def whole_options(name: str, options: Mapping) -> dict[str, Any]:
    """The values of all options of a net, those that `options` leaves out included."""
    return {**defaults_of(BY_NET[name]), **options}


def require_options(name: str, options: Mapping, where: str) -> None:
    """UserError for an option that another net has and this one has not."""
    known = keys_of(BY_NET[name])
    unused = sorted(set(options) - set(known))
    if unused:
        raise UserError(
            f"{where}: options: net {name} has no option {', '.join(unused)}; it knows {', '.join(sorted(known))}"
        )
