"""The section segmentation, by `net`."""

from typing import Annotated, Literal

from wsss.sections.backbone import Backbone
from wsss.sections.section import about
from wsss.sections.segmenter_options import DeepLabV1Options, DeepLabV2Options
from wsss.sections.training import Training


class Segmentation(Training):
    """Trains the segmentation network."""

    backbone: Annotated[Backbone, about("trunk")]
    labels: Annotated[Literal["pseudo_masks", "ground_truth"], about("what it learns from; ground_truth is full supervision")]


class DeepLabV2Segmentation(Segmentation):
    """Of net deeplab_v2."""

    net: Annotated[Literal["deeplab_v2"], about("DeepLab-V2, the default, or V1 with a large field of view (SEAM, CPN)")] = "deeplab_v2"
    options: Annotated[DeepLabV2Options, about("network options")]


class DeepLabV1Segmentation(Segmentation):
    """Of net deeplab_v1."""

    net: Annotated[Literal["deeplab_v1"], about("DeepLab-V2, the default, or V1 with a large field of view (SEAM, CPN)")] = "deeplab_v1"
    options: Annotated[DeepLabV1Options, about("network options")]


BY_NET: dict[str, type[Segmentation]] = {"deeplab_v2": DeepLabV2Segmentation, "deeplab_v1": DeepLabV1Segmentation}
