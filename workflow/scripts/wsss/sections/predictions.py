"""The section predictions."""

from typing import Annotated

from pydantic import Field

from wsss.sections.crf import SoftmaxCrf
from wsss.sections.scales import Scales
from wsss.sections.section import LeftOut, Section, about


class Predictions(Section):
    """The segmentation network over whole images."""

    scales: Annotated[Scales, about("image scales, each with its mirror image")]
    flip: Annotated[bool, about("average with the mirror image")]
    batch_size: Annotated[int, Field(ge=1, le=4096), about("images of equal size at once")]
    known_labels: Annotated[bool, about("a training photo's mask has no class but its labels; photos of val are predicted without")] = True
    crf: Annotated[bool, about("dense CRF on the probabilities; scores are given with and without")]
    crf_params: LeftOut[Annotated[SoftmaxCrf, about("dense-CRF parameters")]] = None
