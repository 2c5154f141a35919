"""Options of the net seam."""

from typing import Annotated

from pydantic import Field

from wsss.methods.options.pixel_correlation import PixelCorrelationOptions
from wsss.sections.section import about


class SEAMOptions(PixelCorrelationOptions):
    """SEAM's."""

    second_scale: Annotated[float, Field(gt=0, le=1), about("size of the smaller copy that must give the same maps")] = 0.3
