"""The section saliency of a dataset, by `make`."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.sections.section import Section, about

FEATURE_CUT_BACKBONE = "resnet18"


class MadeSaliency(Section):
    """Maps of all training images, made for recipes that learn from them."""

    make: Annotated[Literal["robust_background", "feature_cut", "command"], about("from the images alone, with an ImageNet network, or by a command of yours")]
    fallback: Annotated[bool, about("true: only where the dataset has no maps of its own; default false: the made ones are used in any case")] = False


class RobustBackground(MadeSaliency):
    """Made from the images alone."""

    superpixels: Annotated[int, Field(ge=20, le=2000), about("regions an image, about; default 250")] = 250
    long_side: Annotated[int, Field(ge=64, le=1024), about("larger images are worked on at this side; default 400")] = 400


class FeatureCut(MadeSaliency):
    """Made with the features of an ImageNet network."""

    long_side: Annotated[int, Field(ge=128, le=768), about("every image is worked on at this side; default 500")] = 500


class SaliencyCommand(MadeSaliency):
    """Made by a command of yours."""

    command: Annotated[str, Field(min_length=1), about("your own model's, run without a shell; {list} (file of `id<TAB>image` lines) and {out} (folder for id.png) are filled in")]


SALIENCY: dict[str, type[MadeSaliency]] = {"robust_background": RobustBackground, "feature_cut": FeatureCut, "command": SaliencyCommand}
