"""The section evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.sections.background import Background
from wsss.sections.section import Section, about


class Evaluation(Section):
    """Scores of every stage."""

    bg: Annotated[Background, about("published threshold of the seed, a number; where none is published, policy: found")]
    policy: Annotated[Literal["fixed", "best_on_train_gt", "found", "map"], Field(json_schema_extra={"renamed": {"no_gt": "found"}}), about("which threshold the seed's headline figure takes; the first three are always written. found: with refine none, masks take it too. map: none, the net has a background map")]
