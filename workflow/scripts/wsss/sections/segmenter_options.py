"""Options of the segmentation networks, with their ranges and defaults. Planning reads them, so there is no torch here."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.sections.section import FrozenPart, Section, about


class DeepLabV2Options(Section):
    """DeepLab-V2's."""

    output_stride: Annotated[Literal[8, 16], about("of the trunk")] = 8
    aspp_dilations: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1), about("V2: of the four parallel convolutions")] = (6, 12, 18, 24)
    msc: Annotated[bool, about("V2: multi-scale loss (0.5, 0.75, 1 and their maximum)")] = True
    msc_scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], about("V2: extra scales of the multi-scale loss")] = (0.5, 0.75)
    balanced: Annotated[bool, about("V2: balanced cross-entropy: background and foreground weigh alike")] = False
    freeze: Annotated[FrozenPart, about("what of the trunk learns nothing, as in net_options; default none")] = "none"
    bn: Annotated[Literal["frozen", "affine", "train"], Field(json_schema_extra={"renamed": {"statistics": "affine"}}), about("what of the trunk's BatchNorms is fixed: statistics, scale and offset; scale and offset alone, with the batch's statistics (V1 as published); or nothing")] = "frozen"
    head_lr_scale: Annotated[float, Field(gt=0), about("learning rate of the head over the trunk's")] = 10.0


class DeepLabV1Options(Section):
    """DeepLab-V1's, with a large field of view."""

    output_stride: Annotated[Literal[8, 16], about("of the trunk")] = 8
    fov_dilation: Annotated[int, Field(ge=1, le=1024), about("V1: of the 3x3 convolution behind the trunk")] = 12
    fov_channels: Annotated[int, Field(ge=1, le=16384), about("V1: width of the head")] = 512
    dropout: Annotated[float, Field(ge=0, lt=1), about("V1: before the classifier, in training only")] = 0.5
    bn_momentum: Annotated[float, Field(gt=0, le=1), about("V1: share of a batch in the running statistics; the published 3e-4 is too little for a few hundred steps")] = 0.0003
    freeze: Annotated[FrozenPart, about("what of the trunk learns nothing, as in net_options; default none")] = "none"
    bn: Annotated[Literal["frozen", "affine", "train"], Field(json_schema_extra={"renamed": {"statistics": "affine"}}), about("what of the trunk's BatchNorms is fixed: statistics, scale and offset; scale and offset alone, with the batch's statistics (V1 as published); or nothing")] = "affine"
    head_lr_scale: Annotated[float, Field(gt=0), about("learning rate of the head over the trunk's")] = 10.0


BY_NET: dict[str, type[Section]] = {"deeplab_v2": DeepLabV2Options, "deeplab_v1": DeepLabV1Options}
