"""Options of FSAE (wsss.wrappers.fsae): their defaults and what goes together. Read by planning: no torch here.

Of the strong view: jitter, blur, blur_kernels, randaugment, erasing (wsss.data.strong_view). Of the teacher: ema, teacher_mode,
bg, mask, upsample. Of what is learned from it: tau_c, classwise_tau, ring, ring_source, tau_r, kernel, iters. Of the loss:
lambda, warmup, norm. Of the student on the strong view: feature_dropout, patch_mask, cutmix. docs/methods/fsae.md explains each.
"""

from collections.abc import Mapping

from wsss.errors import UserError

DEFAULTS = {
    "tau_c": 0.95,
    "tau_r": 0.80,
    "kernel": 3,
    "iters": 1,
    "ring": "own_argmax",
    "ring_source": "fg",
    "lambda": 1.0,
    "warmup": 0,
    "norm": "all",
    "ema": 0.999,
    "teacher_mode": "train",
    "bg": None,
    "mask": None,
    "upsample": 1,
    "classwise_tau": False,
    "feature_dropout": 0.0,
    "patch_mask": 0.0,
    "cutmix": False,
    "jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    "blur": [0.1, 2.0],
    "blur_kernels": [1, 3, 5],
    "randaugment": 5,
    "erasing": 0.0,
}
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
