"""What every training is given: optimiser, schedule, batch, steps, augmentation."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from wsss.sections.section import LeftOut, Section, about


class Resize(Section):
    """How a training photo is resized before it is cropped: one way, or as it is."""

    together: ClassVar[dict[str, Any]] = {"maxProperties": 1}

    long_side: LeftOut[tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]]] = None
    scale: LeftOut[tuple[Annotated[float, Field(gt=0, le=16)], Annotated[float, Field(gt=0, le=16)]]] = None
    area: LeftOut[tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]] = None


class Jitter(Section):
    """Reach of each change of colour."""

    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class RandAugment(Section):
    """See `wsss.data.randaugment`."""

    count: Annotated[int, Field(ge=1, le=15)]
    magnitude: Annotated[float, Field(ge=0, le=10)]
    std: Annotated[float, Field(ge=0, le=10)]


class Augmentation(Section):
    """What is drawn for a training sample."""

    resize: Resize
    flip: Annotated[float, Field(ge=0, le=1)]
    crop: Annotated[int, Field(ge=16, le=8192)]
    padding: Literal["mean", "black"] = "mean"
    hsv: Annotated[int, Field(ge=0, le=90)] = 0
    jitter: Jitter | None = None
    randaugment: RandAugment | None = None
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0


class Training(Section):
    """What every training is given (`wsss.train`)."""

    optimiser: Annotated[Literal["sgd", "adam", "adamw"], about("optimiser")]
    lr: Annotated[float, Field(gt=0), about("base learning rate; heads have their own multiple of it")]
    momentum: LeftOut[Annotated[float, Field(ge=0, lt=1), about("SGD's momentum; the published classifier runs had none in effect")]] = None
    weight_decay: Annotated[float, Field(ge=0), about("weight decay")]
    clip_norm: Annotated[float | None, Field(gt=0), about("largest norm of the gradient, taken over all that learns: a longer one is scaled down to it before the step; null, the default: none")] = None
    schedule: Annotated[Literal["poly", "cosine", "constant"], about("poly: lr (1 - step/steps)^power; cosine: half a wave from lr to min_lr")]
    power: LeftOut[Annotated[float, Field(ge=0, le=100), about("exponent of poly")]] = None
    poly_steps: Annotated[int | None, Field(ge=1, le=10000000), about("steps after which poly stands still, at its last value, no more than steps; null: all")] = None
    min_lr: Annotated[float, Field(ge=0), about("where cosine ends; 0 by default")] = 0.0
    warmup_epochs: Annotated[int | None, Field(ge=1, le=10000), about("epochs over which the rate rises in a line from warmup_lr to lr, as a part of `epochs` where steps are given; null, the default: none")] = None
    warmup_steps: Annotated[int | None, Field(ge=1, le=10000000), about("the same in steps, whatever warmup_epochs says")] = None
    warmup_lr: LeftOut[Annotated[float, Field(ge=0), about("rate at which the warm-up begins")]] = None
    rate_per: Annotated[Literal["step", "epoch"], about("step, the default: a new rate every step; epoch: one rate an epoch, that which the schedule has for the epoch before (MCTformer as released, through timm)")] = "step"
    batch_size: Annotated[int, Field(ge=1, le=4096), about("images a step")]
    epochs: LeftOut[Annotated[int, Field(ge=1, le=10000), about("passes over the training images, incomplete batches dropped")]] = None
    min_steps: Annotated[int | None, Field(ge=1, le=10000000), about("least number of steps, where epochs of few images would be fewer; null: none")] = None
    steps: Annotated[int | None, Field(ge=1, le=10000000), about("optimiser steps, whatever epochs and min_steps say; null: by those")] = None
    augmentation: Annotated[Augmentation, about("resize ({long_side: [lo, hi]}, {scale: [lo, hi]}, {area: [lo, hi]}: a window of that share of the photo, stretched over the crop, or {}), flip probability, square crop in pixels, padding of smaller images (mean colour, the default, or black); hsv: largest shift of hue (in 2 degrees), saturation and value (of 255); jitter: reach of brightness, contrast, saturation and hue, null or left out: none; randaugment: how many operations are chosen (each done with probability 0.5), their magnitude of 10 and its deviation, null or left out: none; erasing: probability that a box of the crop is noise")]
