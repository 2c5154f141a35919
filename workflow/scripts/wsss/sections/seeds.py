"""The sections seeds and ir_labels."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.sections.background import Background
from wsss.sections.crf import LabelCrf
from wsss.sections.section import LeftOut, Section, about


class Seeds(Section):
    """Two dense-CRF passes over thresholded CAMs."""

    confident: Annotated[Background, about("background of the confident pass")]
    unsure: Annotated[Background, about("background of the unsure pass")]
    unary: Annotated[Literal["labels", "scores"], about("what the CRF starts from: labels trusted by gt_prob (IRN), the default, or the maps beside their background as probabilities (EPS, SEAM), without gt_prob")] = "labels"
    probabilities: Annotated[bool, about("also keep the CRF's probabilities, which AffinityNet learns from; default false")] = False
    crf_params: Annotated[LabelCrf, about("dense-CRF parameters")]
    fill_from: LeftOut[Annotated[str, about("recipe whose seeds stand in, where these say background, for classes that these CAMs leave out (EPS: what does not stand out)")]] = None
    fill_below: Annotated[float, Field(gt=0, le=1), about("a class is filled up where its area here, over its area with fill_from, is below this value; each area is by the cut that its own scores say")] = 0.68


class IrLabels(Section):
    """Merge of the two seeds; no parameters."""
