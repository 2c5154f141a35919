"""Options of the net cpn."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.methods.options.pixel_correlation import PixelCorrelationOptions
from wsss.sections.section import about


class CPNOptions(PixelCorrelationOptions):
    """CPN's."""

    pair: Annotated[Literal["superpixels", "grid"], about("complementary parts of a crop: random superpixels (SLIC), or cells of a grid")] = "superpixels"
    segments: Annotated[int, Field(ge=1, le=100000), about("superpixels of a crop, about (pair: superpixels)")] = 300
    compactness: Annotated[float, Field(gt=0), about("of superpixels; more: squarer (pair: superpixels)")] = 10
    grid_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1), about("sides of cells in pixels, of which one is drawn a sample (pair: grid)")] = (224, 448)
    prcm_key: Annotated[Literal["transpose", "reference"], about("keys of the regions: by class, or as the released code reads them, mixing classes and channels")] = "transpose"
    prcm_similarity: Annotated[Literal["dot", "cosine", "none"], about("of regions and pixels: as released; at unit length, where no single pixel takes all the weight; none: PCM alone")] = "dot"
    skip_hidden_cls: Annotated[bool, about("no classification loss for a part that shows nothing; false as released")] = False
