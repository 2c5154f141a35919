"""Where this project differs from the released code on purpose: one table, shown in docs/parity.md.

A difference is measured by `parity.differ` under its name, for each network that it names; where no figure of the golden
files can be had, `figure` says what is known.
"""

from dataclasses import dataclass

SGD = ("irn_cam", "irn", "eps", "seam", "affinitynet", "cpn")


@dataclass(frozen=True)
class Difference:
    """One difference. `option` is what sets it in a recipe, "-" where nothing does; `what` begins with theirs."""

    networks: tuple[str, ...]
    option: str
    what: str
    why: str
    of: str = ""  # what a measured figure is a part of
    figure: str = ""  # in words, for what is not measured


DIFFERENCES = {
    "momentum": Difference(
        (*SGD, "sipe"),
        "`classifier.momentum`, `affinity.momentum`",
        "theirs: weight decay in the place of momentum, 1e-4 or 5e-4; ours 0",
        "a slip in the released code; none was in effect",
        "of the norm of a tensor's change in three steps, at most",
    ),
    "stored CAM": Difference(
        ("irn_cam", "amn", "eps", "seam", "cpn", "sipe", "ppc_seam", "ppc_eps"),
        "-",
        "theirs: float32 at image size; ours: the network's own maps, float16, put together when read",
        "a fraction of the bytes, no pickle",
        "pixels of a seed (112 x 144 pixels, random weights)",
    ),
    "canvas": Difference(
        ("irn",),
        "`pseudo_masks.pad_to`",
        "theirs: 512 x 512, larger images are cropped; ours the same, but nothing is cropped; here `multiples_of_16` in its place",
        "GroupNorm takes its statistics over the canvas; nothing of an image may be lost",
        "boundary probability, absolute, at one cell (an image of 112 x 144 pixels, random weights)",
    ),
    "first class": Difference(
        ("ppc_eps",),
        "`net_options.ecr_background`",
        "theirs (`first_class`, the default), since the background is their last channel: cross regularisation's targets keep the map of the first class whole, and compare the background with the classes; ours on request: `background`",
        "the published figures are of the first; the second is what SEAM says",
        "cross regularisation of maps by formula",
    ),
    "displacement": Difference(
        ("irn",),
        "`affinity.displacement`",
        "theirs: always trained; ours on request",
        "that branch shares no trainable parameter with the boundary branch",
        figure="none in semantic masks",
    ),
    "dropout at inference": Difference(
        ("amn",),
        "`net_options.dropout`",
        "theirs: on at inference, so maps are random; ours: off",
        "an oversight: the released network never leaves training mode",
        "probability, absolute, at one pixel of one scale",
    ),
    "batch of one kind": Difference(
        ("amn",),
        "-",
        "theirs: NaN for a batch without foreground or without background; ours: that half is 0",
        "a loss must be finite for every legal batch",
        figure="only such batches",
    ),
    "CRF of the readme": Difference(
        ("eps",),
        "`seeds.crf_params` of eps_crf",
        "theirs: the function's own numbers (3 / 3; 80, 13 / 10); ours: those that the readme names (1 / 3; 67, 3 / 4)",
        "the readme says how its figures were made",
        "pixels after the CRF",
    ),
    "background channel": Difference(
        ("eps", "ppc_eps", "pixmatch"),
        "-",
        "theirs: the last channel; ours: the first, as everywhere here",
        "one order for all methods; imports turn it",
        figure="none",
    ),
    "ties of a maximum": Difference(
        ("seam", "cpn", "ppc_seam", "ppc_eps", "pixmatch"),
        "-",
        "theirs: one of several equal values takes the gradient; ours: they share it",
        "no value is preferred for its place",
        figure="gradients at exact ties only; losses agree",
    ),
    "cut at zero": Difference(
        ("seam", "cpn"),
        "-",
        "theirs: what lies within 1e-5 of a class's minimum ends below zero, absent classes at -1; ours: 0",
        "(1 - max)^alpha must not exceed 1; no mask changes",
        "absolute, at the lowest pixel",
    ),
    "halved CAM": Difference(
        ("cpn",),
        "-",
        "theirs: stored at half its height; ours: whole",
        "thresholds and (1 - max)^alpha need the whole; an import says `scale: 0.5`",
        "absolute, at the highest value",
    ),
    "prcm_key": Difference(
        ("cpn",),
        "`net_options.prcm_key`",
        "theirs (`reference`): the block of keys is read row by row; ours (`transpose`): a class's key is its own",
        "their reading mixes classes and channels",
        "largest weight",
    ),
    "superpixels": Difference(
        ("cpn",),
        "-",
        "theirs: SLIC on the normalised crop; ours: on its colours",
        "the normalised values lie outside what SLIC converts",
        "pixels that are at a superpixel's edge for one of the two only",
    ),
    "padding": Difference(
        ("pixmatch",),
        "-",
        "theirs: cells in the padding of a crop are learned from like all others; ours: they are in no mask",
        "there is no image in them, and the strong view changes their colour",
        figure="none in a crop without padding",
    ),
    "blur": Difference(
        ("pixmatch",),
        "`wrap_options.blur_kernels`",
        "theirs: the kernel of the strong view's blur is drawn once a run, without a seed; ours: for each sample, by its seed",
        "a run must repeat, and not rest on one draw",
        figure="the strong view only",
    ),
    "layers that nothing passes": Difference(
        ("mctformer_v1", "mctformer_v2"),
        "-",
        "theirs: the last norm, and V1's linear head, are built and never used; ours: they are not there",
        "768 and 7,700 parameters without a gradient",
        figure="none",
    ),
    "pairs at the border": Difference(
        ("affinitynet",),
        "`pseudo_masks.pairs`",
        "theirs (`inner`): cells within 4 of the left, right and lower border are not linked with each other; ours: `all`",
        "a band along the border keeps much of the CAM it began with",
        "pixels of a mask of 12 x 15 cells, which are nearly all border (random weights)",
    ),
    "probabilities in 8 bits": Difference(
        ("affinitynet",),
        "`seeds.probabilities`",
        "theirs: float32; ours: round(255 p)",
        "a quarter of the bytes",
        "labels of cells",
    ),
}
