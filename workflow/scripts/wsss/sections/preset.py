"""config/presets/*.yaml; the values themselves are checked when they are laid on a recipe."""

from typing import Annotated, Any

from wsss.sections.section import LeftOut, Section, about


class ByRefine(Section):
    """Laid on recipes of one refinement."""

    irn: LeftOut[dict[str, Any]] = None
    affinitynet: LeftOut[dict[str, Any]] = None


class Preset(Section):
    """Values that small data or another dataset needs."""

    common: LeftOut[Annotated[dict[str, Any], about("laid on every recipe; of its net_options a net gets those it has")]] = None
    net_options: LeftOut[Annotated[dict[str, dict[str, Any]], about("laid on the options of single nets, by net, after those of common")]] = None
    wrap_options: LeftOut[Annotated[dict[str, dict[str, Any]], about("laid on the options of single wrappers, by wrapper")]] = None
    refine: LeftOut[Annotated[ByRefine, about("laid on recipes of one refinement")]] = None
    methods: LeftOut[Annotated[dict[str, dict[str, Any]], about("laid on single recipes, by name")]] = None
