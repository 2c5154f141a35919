"""Parameters of dense CRFs."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.sections.section import LeftOut, Number, Section, about

Width = Annotated[Number, Field(ge=0.1, le=10000)]  # thinner ones overflow the lattice
Weight = Annotated[Number, Field(ge=0, le=10000)]


Backend = Literal["auto", "lattice", "torch", "pydensecrf"]


class SoftmaxCrf(Section):
    """A dense CRF that starts from probabilities; widths in pixels and grey levels."""

    iterations: Annotated[int, Field(ge=0, le=1000)]
    sxy_gaussian: Width
    compat_gaussian: Weight
    sxy_bilateral: Width
    srgb: Width
    compat_bilateral: Weight
    backend: LeftOut[Annotated[Backend, about("who computes it; left out: `crf.backend` of config/config.yaml")]] = None


class LabelCrf(SoftmaxCrf):
    """A dense CRF that may start from labels."""

    gt_prob: LeftOut[Annotated[float, Field(gt=0, lt=1), about("how far labels are trusted, with `unary: labels` only")]] = None
