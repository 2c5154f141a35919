"""A background rule, which seeds, pseudo-masks and scores have."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from wsss.constants import LARGEST_SHIFT
from wsss.sections.section import LeftOut, Number, Section, about


class Background(Section):
    """A background score: `kind`, and what that kind takes (`wsss.recipes.checks`)."""

    together: ClassVar[dict[str, Any]] = {  # no score is above 1; (1 - max)^64 is background at scores below 0.045 only
        "if": {"properties": {"kind": {"const": "const"}}},
        "then": {"properties": {"value": {"exclusiveMaximum": 1}}},
        "else": {"properties": {"value": {"maximum": 64}}},
    }

    kind: Annotated[Literal["const", "power", "map"], about("map: the method's own background map, where it has one (SIPE)")]
    value: LeftOut[Annotated[Annotated[Number, Field(gt=0)] | Annotated[str, Field(pattern=r"^found\Z")], about("found: by the stage threshold")]] = None
    shift: LeftOut[Annotated[Number, Field(ge=-LARGEST_SHIFT, le=LARGEST_SHIFT), about("of a found cut: the share of its way to 1, or to 0")]] = None
    scale: LeftOut[Annotated[Number, Field(gt=0, le=16), about("of a map: what it is multiplied with; 1")]] = None


class Rule(NamedTuple):
    """A background as it is used: of a kind, with a number; see `wsss.refine.background`."""

    kind: str
    value: float
