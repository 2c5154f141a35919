"""config/methods/*.yaml and config/parts/*.yaml: all sections of a recipe."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from wsss.sections.affinity import AffinityNetAffinity, IRNAffinity
from wsss.sections.backbone import Backbone
from wsss.sections.cam import Cam
from wsss.sections.classifier import Classifier
from wsss.sections.evaluation import Evaluation
from wsss.sections.predictions import Predictions
from wsss.sections.pseudo_masks import AffinityNetWalk, CutMasks, IRNWalk, NoMasks
from wsss.sections.section import LeftOut, Name, Section, about
from wsss.sections.seeds import IrLabels, Seeds
from wsss.sections.segmentation import DeepLabV1Segmentation, DeepLabV2Segmentation


class From(Section):
    """Results of another recipe."""

    from_: Name


class Elsewhere(Section):
    """Results of another recipe, or of an import command."""

    together: ClassVar[dict[str, Any]] = {"minProperties": 1, "maxProperties": 1}

    from_: LeftOut[Name] = None
    import_: LeftOut[Name] = None


class Recipe(Section):
    """A recipe; what it leaves out it has from the recipes that it extends, or not at all."""

    extends: LeftOut[Annotated[Name, about("the recipe whose values this one starts from")]] = None
    parts: LeftOut[Annotated[tuple[Name, ...], Field(json_schema_extra={"uniqueItems": True}), about("files in config/parts, laid before the recipe's own values: sections that recipes share")]] = None
    net: LeftOut[Annotated[str, about("network family: a name in wsss.methods.METHODS")]] = None
    backbone: LeftOut[Annotated[Backbone, about("trunk of the classifier")]] = None
    weights: LeftOut[Annotated[Literal["imagenet", "none"], about("initial weights of all trunks; none is a random start, a choice one makes")]] = None
    refine: LeftOut[Annotated[Literal["irn", "affinitynet", "crf", "none"], about("how CAMs become pseudo-masks: IRN's walk, AffinityNet's walk, the CRF-refined confident seed, or a threshold")]] = None
    net_options: LeftOut[Annotated[dict[str, Any], about("options of the net, see below")]] = None
    wrap: LeftOut[Annotated[str, about("what is put around the training of the classifier, whatever its net: a name in wsss.wrappers.WRAPPERS (fsae); none, the default, undoes that of a recipe that is extended")]] = None
    wrap_options: LeftOut[Annotated[dict[str, Any], about("options of the wrapper, see below")]] = None
    classifier: LeftOut[Annotated[Elsewhere | Classifier, about("trains the network whose maps become CAMs")]] = None
    cam: LeftOut[Annotated[Elsewhere | Cam, about("multi-scale CAMs of all training images")]] = None
    seeds: LeftOut[Annotated[Elsewhere | Seeds, about("two dense-CRF passes over thresholded CAMs")]] = None
    ir_labels: LeftOut[Annotated[Elsewhere | IrLabels, about("merge of the two seeds; no parameters")]] = None
    affinity: LeftOut[Annotated[Elsewhere | IRNAffinity | AffinityNetAffinity, about("trains IRN's boundary network, or AffinityNet, as `refine` says")]] = None
    pseudo_masks: LeftOut[Annotated[Elsewhere | NoMasks | CutMasks | IRNWalk | AffinityNetWalk, about("the random walk (refine: irn, affinitynet), or the threshold (refine: none)")]] = None
    evaluation: LeftOut[Annotated[Evaluation, about("scores of every stage")]] = None
    segmentation: LeftOut[Annotated[From | DeepLabV2Segmentation | DeepLabV1Segmentation, about("trains the segmentation network")]] = None
    predictions: LeftOut[Annotated[From | Predictions, about("the segmentation network over whole images")]] = None
