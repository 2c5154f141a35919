"""Options of the nets ppc and ppc_eps."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.engine.explain import for_people
from wsss.methods.options.pixel_correlation import PixelCorrelationOptions
from wsss.methods.options.shared import Lambda, Tau
from wsss.sections.section import about

ProjectorDropout = Annotated[float, Field(ge=0, lt=1), about("of whole channels before the classifier and the projector, in training only")]
ContrastBackground = Annotated[float, Field(ge=0, le=1), about("score of the background where a pixel's pseudo-label is chosen; classes go from 0 to 1")]
PrototypeShare = Annotated[float, Field(gt=0, le=1), about("a class's prototype is the mean of its highest cells in the batch, as many as this part of one image's")]


def negatives_fault(first: int, last: int) -> str | None:
    """What is wrong with the ranks of negatives, None where nothing is."""
    return for_people(f"negatives: [{first}, {last}] must be [first, last]; give the lower rank first") if first > last else None


class PPCOptions(PixelCorrelationOptions):
    """Of PPC on SEAM."""

    dropout: ProjectorDropout = 0.5
    second_size: Annotated[int, Field(ge=8, le=8192), about("side, in pixels, of the smaller copy that must give the same maps")] = 128
    projection: Annotated[int, Field(ge=1, le=65536), about("channels of the features that the contrast compares")] = 128
    contrast_weight: Annotated[float, Field(ge=0), about("of each of the three terms of the contrast")] = 0.1
    contrast_background: ContrastBackground = 0.2
    prototype_share: PrototypeShare = 0.125
    temperature: Annotated[float, Field(gt=0), about("of the contrast")] = 0.1
    negatives: Annotated[tuple[Annotated[int, Field(ge=1, le=1000000)], Annotated[int, Field(ge=1, le=1000000)]], about("within a view: sort the prototypes by similarity to the pixel, the most similar first; those from the first to the last of these ranks are its negatives")] = (4, 13)
    semi_hard: Annotated[float, Field(ge=0.5, le=1), about("within a view: take this share of the class's pixels, the least similar to its prototype; of these keep the more similar ones, half as many as the class has pixels; the other half is random")] = 0.6
    mask_prototypes: Annotated[bool, about("prototypes are made of images that have the class; false as released: of all")] = False
    background_prototype: Annotated[Literal["constant", "inverse"], about("of the background: of any cells, since all have one score, as released, or of those where no class is")] = "constant"

    def fault(self) -> str | None:
        """What of the values does not go together."""
        return negatives_fault(*self.negatives)


class PPCEPSOptions(PPCOptions):
    """Of PPC on EPS."""

    dropout: ProjectorDropout = 0.0
    contrast_background: ContrastBackground = 0.1
    prototype_share: PrototypeShare = 0.0625
    tau: Tau = 0.4
    lambda_: Lambda = 0.5
    second_saliency: Annotated[Literal["stretched", "direct"], about("saliency of the smaller copy: resized with it, then to its grid, as released, or from the crop to the grid")] = "stretched"
    ecr_background: Annotated[Literal["first_class", "background"], about("the map that cross regularisation's targets keep whole: as released that of the first class, or the background's")] = "first_class"
