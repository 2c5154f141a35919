"""The section affinity, by `refine`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from wsss.sections.backbone import Backbone
from wsss.sections.section import FrozenPart, about, keys_of
from wsss.sections.training import Training


class Affinity(Training):
    """What both refinements that walk train their network with."""

    unlabelled: Annotated[bool, about("learn from images without labels too: background all over; for nets that learn from labels of pixels (AMN, IRN, AffinityNet); default false")] = False
    backbone: Annotated[Backbone, about("trunk; IRN's is frozen")]
    trunk: Annotated[Literal["imagenet", "classifier", "none"], about("weights of the trunk: ImageNet's (published); or the recipe's own classifier's where nets start from scratch; or none, a random start, where that classifier is no convolutional network (AffinityNet)")]
    radius: Annotated[int, Field(ge=2, le=20), about("of training pairs, in cells of stride 4 (IRN) or 8 (AffinityNet)")]


class IRNAffinity(Affinity):
    """Of refine irn: the boundary network."""

    displacement: Annotated[bool, about("IRN: train its displacement branch too; no effect on semantic masks")]


class AffinityNetAffinity(Affinity):
    """Of refine affinitynet."""

    renamed: ClassVar[dict[str | None, str]] = {"freeze_stem": "freeze: stem, stage1 or none"}

    dilated: Annotated[bool, about("AffinityNet: a ResNet's layers are dilated as in DeepLab; no effect on resnet38d")]
    freeze: Annotated[FrozenPart, about("AffinityNet: what of the trunk learns nothing: the first convolution and its norm, also the first residual stage, also the second, also the third")]
    bn: Annotated[Literal["frozen", "statistics", "train"], about("AffinityNet: what of the trunk's BatchNorms is fixed: statistics, scale and offset; the statistics alone; or nothing")]
    head_lr_scale: Annotated[float, Field(gt=0), about("AffinityNet: learning rate of the new convolutions over the trunk's")]


BY_REFINE: dict[str, type[Affinity]] = {"irn": IRNAffinity, "affinitynet": AffinityNetAffinity}


def network_keys(refine: str) -> tuple[str, ...]:
    """The keys that describe the network; the others say how it is trained."""
    return ("backbone", "radius", *(key for key in keys_of(BY_REFINE[refine]) if key not in keys_of(Affinity)))
