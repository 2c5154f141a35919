"""The section cam."""

from typing import Annotated

from pydantic import Field

from wsss.rownames import MOST_NETS
from wsss.sections.scales import Scales
from wsss.sections.section import LeftOut, Section, about


class Cam(Section):
    """Multi-scale CAMs of all training images."""

    scales: Annotated[Scales, about("image scales, each with its mirror image")]
    batch_size: Annotated[int, Field(ge=1, le=4096), about("images of equal size at once")]
    networks: LeftOut[Annotated[int, Field(ge=1, le=MOST_NETS), about("networks trained with other seeds whose maps are averaged (docs/methods/cam.md)")]] = None
    aux_from: LeftOut[Annotated[str, about("recipe whose IR labels inference reads (AMN's mask trick)")]] = None
