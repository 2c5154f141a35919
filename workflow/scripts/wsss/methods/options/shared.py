"""Options that several nets have, and the base of all: what each is, and in which range."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wsss.sections.section import FrozenPart, Section, about

Freeze = Annotated[FrozenPart, about("what of the trunk learns nothing: the first convolution and its norm, also the first residual stage (layer1; resnet38d: b2), also the second (layer2; b3: CAM's gradient cut), also the third (layer3; b4)")]
BatchNorm = Annotated[Literal["frozen", "statistics", "train"], about("what of the trunk's BatchNorms is fixed: statistics, scale and offset; the statistics alone; or nothing")]
OutputStride = Annotated[Literal[8, 16, 32], about("of the trunk")]
HeadScale = Annotated[float, Field(gt=0), about("learning rate of the head over the trunk's")]
Dilated = Annotated[bool, about("a ResNet's layers are dilated as in DeepLab, so that they see as far as at stride 32; no effect on resnet38d")]
ChannelDropout = Annotated[float, Field(ge=0, lt=1), about("of whole channels before the classifier, in training only")]
HardShare = Annotated[float, Field(gt=0, le=1), about("share of values, the largest ones, that cross regularisation looks at (OHEM)")]
Tau = Annotated[float, Field(ge=0, le=1), about("a present class is foreground where more than this share of its area is salient")]
Lambda = Annotated[float, Field(ge=0, le=1), about("weight of the foreground's map in the saliency estimate; the rest is the background's")]


class TrunkOptions(Section):
    """Of a net on a convolutional trunk: their former names are refused with the new ones."""

    renamed: ClassVar[dict[str | None, str]] = {"freeze_stem": "freeze: stem, stage1 or none", "detach": "freeze: stage2 or none"}


class DenseTrunkOptions(TrunkOptions):
    """Of the nets whose released code trains ResNet38d at stride 8: EPS, SEAM, CPN and PPC."""

    freeze: Freeze = "stage1"
    bn: BatchNorm = "frozen"
    output_stride: OutputStride = 8
    dilated: Dilated = True
    head_lr_scale: HeadScale = 10.0
