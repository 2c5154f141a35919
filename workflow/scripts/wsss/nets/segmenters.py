"""The segmentation nets by name. Plain data, as the rules ask at start: no torch here; classes are imported when asked for."""

from collections.abc import Mapping
from importlib import import_module

from wsss.errors import UserError

DEFAULT = "deeplab_v2"
SEGMENTERS = {"deeplab_v2": "wsss.nets.deeplab:DeepLabV2", "deeplab_v1": "wsss.nets.deeplab_v1:DeepLabV1"}
SHARED = {"output_stride", "freeze", "bn", "head_lr_scale"}
OPTIONS = {
    "deeplab_v2": SHARED | {"aspp_dilations", "msc", "msc_scales", "balanced"},
    "deeplab_v1": SHARED | {"fov_dilation", "fov_channels", "dropout", "bn_momentum"},
}


def get(name: str) -> type:
    """The network class called `name`."""
    module, _, cls = SEGMENTERS[name].partition(":")
    return getattr(import_module(module), cls)


def module_path(name: str) -> str:
    """Dotted module of a net, without importing it; code digests start here and follow its imports."""
    return SEGMENTERS[name].partition(":")[0]


def require_options(name: str, options: Mapping, where: str) -> None:
    """UserError for an option that another net has and this one has not."""
    unused = sorted(set(options) - OPTIONS[name])
    if unused:
        raise UserError(
            f"{where}: options: net {name} has no option {', '.join(unused)}; it knows {', '.join(sorted(OPTIONS[name]))}"
        )
