"""config/datasets/*.yaml."""

import functools
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from wsss.constants import LONG_SIDE
from wsss.sections.json_schema import json_schema, of_type
from wsss.sections.saliency import SALIENCY, MadeSaliency
from wsss.sections.section import LeftOut, Name, Section, TextOrNull, about


class DemoParams(Section):
    """Of kind demo."""

    version: Annotated[str, about("of the generator; another one than the code's is refused")]
    seed: Annotated[int, Field(ge=0, le=16777216), about("of the generator")]
    train: Annotated[int, Field(ge=1, le=1000000), about("training scenes")]
    val: Annotated[int, Field(ge=1, le=1000000), about("validation scenes")]
    size: Annotated[int, Field(ge=64, le=512), about("pixels a side, about")]


class VocCounts(Section):
    """Number of images a split must have."""

    train: Annotated[int | None, Field(ge=0)] = None
    trainaug: Annotated[int | None, Field(ge=0)] = None
    val: Annotated[int | None, Field(ge=0)] = None


class VocParams(Section):
    """Of kind voc."""

    path: Annotated[TextOrNull, about("your VOCdevkit/VOC2012 folder; null downloads")] = None
    trainaug: Annotated[TextOrNull, about("your list of trainaug ids")] = None
    sbd: Annotated[TextOrNull, about("your SBD folder")] = None
    labels: Annotated[TextOrNull, about("CSV id,labels with image labels, in place of Annotations")] = None
    saliency: Annotated[TextOrNull, about("your folder of saliency maps (8-bit gray ID.png); default: SALImages in the tree")] = None
    aug_masks: Annotated[bool, about("make SegmentationClassAug (needed by method full)")] = False
    expected_counts: LeftOut[Annotated[VocCounts, about("number of images a split must have")]] = None


class CocoCounts(Section):
    """Number of images train and val must have, over what the list says."""

    train: Annotated[int | None, Field(ge=0)] = None
    val: Annotated[int | None, Field(ge=0)] = None


class CocoParams(Section):
    """Of kind coco."""

    together: ClassVar[dict[str, Any]] = {
        "if": {"properties": {"year": {"const": 2014}}},
        "then": {"properties": {"list": {"enum": [82783, 82081, "all", "annotated"]}}},
        "else": {"properties": {"list": {"enum": [118287, 117266, "all", "annotated"]}}},
    }

    year: Annotated[Literal[2014, 2017], about("of the split and of the ids' form")]
    path: Annotated[TextOrNull, about("your folder with annotations/, train{year}/ and val{year}/; null downloads")] = None
    list_: Annotated[Literal[82783, 82081, 118287, 117266, "all", "annotated"], about("which images, by the number of training images the field calls a list by: all, or those with an annotation (2014: 82783, 82081; 2017: 118287, 117266; val follows); the words leave the count unchecked")]
    crowd: Annotated[Literal["class", "ignore", "skip"], about("crowd regions: their class in masks and labels (default), 255 in masks but in the labels, or neither")] = "class"
    train_list: Annotated[TextOrNull, about("your list of training ids (COCO_train2014_000000000009 or 000000000009)")] = None
    val_list: Annotated[TextOrNull, about("your list of val ids")] = None
    labels: Annotated[TextOrNull, about("CSV id,labels with image labels, in place of the annotations'")] = None
    saliency: Annotated[TextOrNull, about("your folder of saliency maps of training images (8-bit gray ID.png)")] = None
    expected_counts: LeftOut[Annotated[CocoCounts, about("number of images train and val must have, over what the list says")]] = None


class FolderParams(Section):
    """Of kind folder."""

    images: Annotated[str, Field(min_length=1), about("folder of images")]
    labels: Annotated[str, Field(min_length=1), about("CSV of image labels")]
    classes: LeftOut[Annotated[tuple[str, ...], Field(min_length=1), about("class names; default: those in the CSV")]] = None
    masks: Annotated[TextOrNull, about("folder of ground-truth masks")] = None
    saliency: Annotated[TextOrNull, about("folder of saliency maps, 8-bit gray PNGs")] = None
    allow_unlabelled: Annotated[bool, about("images without a label are background only")] = False
    long_side: Annotated[int | None, Field(ge=32, le=8192), about("pixels; larger photos are worked on in copies of that size, `python -m wsss export` gives masks of their own size; null: photos as they are")] = LONG_SIDE


class Dataset(Section):
    """config/datasets/NAME.yaml; `params` by `kind`, `saliency` by its `make`."""

    kind: Annotated[Literal["demo", "voc", "coco", "folder"], about("the builder")]
    preset: LeftOut[Annotated[Name, about("a file in config/presets laid on every recipe")]] = None
    overrides: LeftOut[Annotated[dict[str, dict[str, Any]], about("values laid on single recipes, by name")]] = None
    saliency: LeftOut[Annotated[dict[str, Any], about("makes saliency maps of all training images for the recipes that learn from them (docs/saliency.md)")]] = None
    test: Annotated[TextOrNull, about("kind voc: the folder of the unpacked VOC2012test.tar, for results/DATASET/METHOD/test/results.tar, which VOC's server scores")] = None
    params: dict[str, Any]


PARAMS: dict[str, type[Section]] = {"demo": DemoParams, "voc": VocParams, "coco": CocoParams, "folder": FolderParams}


@functools.cache
def dataset_schema() -> dict[str, Any]:
    """The JSON schema of a dataset's file, with the `params` of each kind and the `saliency` of each `make`."""
    found = dict(json_schema(Dataset))
    found["allOf"] = [
        {"if": _is("kind", kind), "then": {"properties": {"params": json_schema(params)}}} for kind, params in PARAMS.items()
    ]
    saliency = {**of_type(MadeSaliency), "additionalProperties": True}
    saliency["allOf"] = [{"if": _is("make", make), "then": json_schema(made)} for make, made in SALIENCY.items()]
    found["properties"] = {**found["properties"], "saliency": found["properties"]["saliency"] | saliency}
    return found


def _is(key: str, value: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"const": value}}}
