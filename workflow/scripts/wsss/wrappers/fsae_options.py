"""Options of FSAE (wsss.wrappers.fsae): their defaults and what goes together. Read by planning: no torch here.

Of the strong view: jitter, blur, blur_kernels, randaugment, erasing (wsss.data.strong_view). Of the teacher: ema, teacher_mode,
teacher_map, bg, mask, upsample. Of what is learned from it: tau_c, classwise_tau, ring, ring_source, tau_r, kernel, iters. Of the loss:
lambda, warmup, norm. Of the student on the strong view: feature_dropout, patch_mask, cutmix. docs/methods/fsae.md explains each.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from wsss.errors import UserError
from wsss.sections.section import Section, about, defaults_of
from wsss.sections.training import Jitter


class FSAEOptions(Section):
    """FSAE's; defaults: the authors' published predecessor."""

    tau_c: Annotated[float, Field(gt=0, le=1), about("cells of which the teacher is at least so sure are learned, background too")] = 0.95
    classwise_tau: Annotated[bool, about("both thresholds times the class's mean confidence over that of the surest class")] = False
    ring: Annotated[Literal["own_argmax", "neighbour_class", "none"], about("label of the cells around confident foreground: the teacher's own, that of the neighbour they were reached from; or no ring at all")] = "own_argmax"
    ring_source: Annotated[Literal["fg", "all"], about("what the ring lies around: confident foreground, or all confident cells")] = "fg"
    tau_r: Annotated[float, Field(ge=0, le=1), about("threshold of the ring's cells, not above tau_c")] = 0.8
    kernel: Annotated[int, Field(ge=3, le=63), about("side of the square that the ring grows by, odd, in cells")] = 3
    iters: Annotated[int, Field(ge=1, le=64), about("how often it grows")] = 1
    lambda_: Annotated[float, Field(ge=0, le=1000), about("weight of the consistency loss; the net's own has 1")] = 1.0
    warmup: Annotated[int, Field(ge=0, le=10000000), about("steps in which lambda grows from 0")] = 0
    norm: Annotated[Literal["all", "mask"], about("the consistency loss is divided by the number of all cells, or of those learned")] = "all"
    ema: Annotated[Annotated[float, Field(ge=0, lt=1)] | Annotated[str, Field(pattern=r"^none\Z")], about("part of the teacher that stays in a step, or none: the student teaches itself. Over 1/(1 - ema) steps it forgets: about a tenth of the steps at most")] = 0.999
    teacher_mode: Annotated[Literal["train", "eval"], about("whether the teacher's dropout and BatchNorm work as in training")] = "train"
    teacher_map: Annotated[Literal["cells", "seed"], about("where labels come from: logits of single cells, which the student learns, as published; or the net's own seed maps (SIPE's prototypes, MCTformer's fused map) of the image and its mirror image, as scores (softmax at 0.1)")] = "cells"
    bg: Annotated[Literal["native", "const0", "prob"] | None, about("background beside the class maps: the net's own map; logit 0; or 1 - the largest of the maps scaled to [0, 1] (softmax at 0.1); null: native where the net's pixel_logits has one, else const0")] = None
    mask: Annotated[Literal["zero", "neginf"] | None, about("maps of absent classes: logit 0, or none at all; null: zero beside a native background, else neginf")] = None
    upsample: Annotated[int, Field(ge=1, le=8), about("logits are enlarged so many times before anything is cut, for a thinner ring")] = 1
    feature_dropout: Annotated[float, Field(ge=0, lt=1), about("of whole channels of the trunk's last map, strong view only")] = 0.0
    patch_mask: Annotated[float, Field(ge=0, lt=1), about("share of the strong view's patches, two cells a side, that are blank")] = 0.0
    cutmix: Annotated[bool, about("a box of each strong view, and of its labels, is another image's")] = False
    jitter: Annotated[Jitter | None, about("reach of the strong view's own brightness, contrast, saturation and hue")] = Jitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    blur: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], Annotated[float, Field(gt=0, le=100)]] | None, about("lowest and highest sigma of the strong view's blur, in pixels; null: none")] = (0.1, 2.0)
    blur_kernels: Annotated[tuple[Annotated[int, Field(ge=1, le=63)], ...], Field(min_length=1), about("sides of its kernel, odd, of which one is drawn a sample")] = (1, 3, 5)
    randaugment: Annotated[int, Field(ge=0, le=20), about("colour operations of the strong view, drawn with replacement")] = 5
    erasing: Annotated[float, Field(ge=0, le=1), about("probability that a box of the strong view is blank")] = 0.0


OPTIONS = FSAEOptions
DEFAULTS = defaults_of(FSAEOptions)
STRONG = ("jitter", "blur", "blur_kernels", "randaugment", "erasing")  # what a training sample depends on


def check(options: Mapping, where: str) -> None:
    """Whether values that a schema allows go together; those left out are the defaults.

    Raises:
        UserError: with `where` and the key to mend.
    """
    given = {**DEFAULTS, **options}
    if given["ring"] != "none" and given["tau_r"] > given["tau_c"]:
        raise UserError(
            f"{where}: tau_r {given['tau_r']:g} is above tau_c {given['tau_c']:g}: the ring would add nothing that is not "
            "confident anyway; set tau_r below tau_c (0.80 and 0.95), or ring: none"
        )
    if given["bg"] == "const0" and given["mask"] == "zero":
        raise tied(where)
    even = [side for side in (given["kernel"], *given["blur_kernels"]) if side % 2 == 0]
    if even:
        raise UserError(f"{where}: kernel and blur_kernels are odd numbers of cells or pixels; {even[0]} is not")
    if given["blur"] and given["blur"][0] > given["blur"][1]:
        raise UserError(f"{where}: blur: {list(given['blur'])} must be [low, high]")


def tied(where: str) -> UserError:
    """Absent classes at logit 0 beside a background at logit 0."""
    return UserError(
        f"{where}: mask zero with a constant background of 0 lets every absent class tie with the background; "
        "set mask: neginf, or bg: native where the net has a background map"
    )
