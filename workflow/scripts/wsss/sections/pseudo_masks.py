"""The section pseudo_masks, by `refine`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from wsss.sections.background import Background
from wsss.sections.section import Number, Section, about, part_of

Beta = Annotated[Number, Field(gt=0, le=1024), about("exponent on affinities")]
ExpTimes = Annotated[int, Field(ge=0, le=12), about("2^exp_times steps of the walk")]
Radius = Annotated[int, Field(ge=2, le=20), about("of the walk, in cells of stride 4 (IRN) or 8 (AffinityNet)")]


class NoMasks(Section):
    """Of refine crf, whose masks are the confident seed."""


class CutMasks(Section):
    """Of refine none: CAMs cut at a threshold."""

    bg: Annotated[Background, about("background score")]


class IRNWalk(CutMasks):
    """Of refine irn."""

    power: Annotated[Number, Field(gt=0, le=64), about("IRN: exponent on the CAM before the walk (AMN 1.3)")]
    beta: Beta
    exp_times: ExpTimes
    radius: Radius
    normalise: Annotated[Literal["global", "per_class"], about("IRN: divide walked maps by one maximum (published) or by each class's")]
    pad_to: Annotated[Annotated[int, Field(ge=16, le=8192)] | Annotated[str, Field(pattern=r"^(none|multiples_of_16)\Z")], Field(json_schema_extra={"renamed": {None: "multiples_of_16"}}), about("IRN: canvas of the boundary network, whose GroupNorm sees all of it: shorter sides are padded to this many pixels, longer ones stay; or none; or multiples_of_16")]


class AffinityNetWalk(CutMasks):
    """Of refine affinitynet."""

    beta: Beta
    exp_times: ExpTimes
    radius: Radius
    pairs: Annotated[Literal["all", "inner"], about("AffinityNet: link all cells within the radius, or as released not those along the border with each other")]


BY_REFINE: dict[str, type[Section]] = {"irn": IRNWalk, "affinitynet": AffinityNetWalk, "crf": NoMasks, "none": CutMasks}


def of_refine(settings: dict[str, Any], refine: str) -> dict[str, Any]:
    """The keys that `refine` reads: refine none and crf have no use for the walk of a recipe that they extend, and leave it there."""
    return part_of(settings, BY_REFINE[refine])
