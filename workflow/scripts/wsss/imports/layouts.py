"""Names of tensors in the authors' checkpoints, and what they are called here.

A layout is a list of rules (pattern of their name, our name); the first that fits counts. Our name None: known, and
of no use here. Whatever no rule knows is refused, as is a tensor of ours that nothing fills: nothing is guessed.
Several of their names may mean one tensor of ours, since the released networks register their layers two or three
times; their values must then agree.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

Rule = tuple[str, str | None]

# A ResNet registered as a whole, as stages, and as a list of them.
_TRUNK = [
    (r"resnet\d+\.fc\..*", None),
    (r"resnet\d+\.(.*)", r"backbone.\1"),
]
_FOUR_STAGES = [  # the stem and layer1 are one stage
    (r"(?:stage1|backbone\.0)\.0\.(.*)", r"backbone.conv1.\1"),
    (r"(?:stage1|backbone\.0)\.1\.(.*)", r"backbone.bn1.\1"),
    (r"(?:stage1|backbone\.0)\.4\.(.*)", r"backbone.layer1.\1"),
    *[(rf"(?:stage{n}|backbone\.{n - 1})\.0\.(.*)", rf"backbone.layer{n}.\1") for n in (2, 3, 4)],
]
_FIVE_STAGES = [  # the stem is a stage of its own
    (r"(?:stage1|backbone\.0)\.0\.(.*)", r"backbone.conv1.\1"),
    (r"(?:stage1|backbone\.0)\.1\.(.*)", r"backbone.bn1.\1"),
    *[(rf"(?:stage{n + 1}|backbone\.{n})\.0\.(.*)", rf"backbone.layer{n}.\1") for n in (1, 2, 3, 4)],
]
# IRN's training network is a subclass that holds tables of paths; its branches stand in lists as well.
_IRN_HEADS = [
    (r"path_indices_?\d+|disp_target", None),
    (r"(?:fc_edge6|edge_layers\.5)\.(.*)", r"edge.score.\1"),
    *[(rf"(?:fc_edge{n}|edge_layers\.{n - 1})\.([01]\..*)", rf"edge.taps.{n - 1}.\1") for n in range(1, 6)],
    (r"(?:mean_shift|fc_dp7\.4|dp_layers\.6\.4)\.running_mean", "displacement.mean_shift"),
    (r"(?:fc_dp7|dp_layers\.6)\.3\.(.*)", r"displacement.score.\1"),
    (r"(?:fc_dp7|dp_layers\.6)\.([01]\..*)", r"displacement.all.\1"),
    (r"(?:fc_dp6|dp_layers\.5)\.([01]\..*)", r"displacement.deep.\1"),
    *[(rf"(?:fc_dp{n}|dp_layers\.{n - 1})\.([01]\..*)", rf"displacement.taps.{n - 1}.\1") for n in range(1, 6)],
]
# ResNet38d: the names of its layers are ours (b2 ... b7, bn7), without a prefix.
_RESNET38D = [(r"((?:conv1a|b[2-7](?:_\d)?|bn7)\..*)", r"backbone.\1")]
# MCTformer: timm's names, which are ours. The last norm, and V1's linear head, are there and nothing passes them.
_VIT = [(r"norm\.(?:weight|bias)", None), (r"((?:cls_token|pos_embed)|(?:patch_embed|blocks)\..*)", r"backbone.\1")]
_PCM = [(r"(f8_3|f8_4|f9)\.(.*)", r"pcm.\1.\2"), (r"(fc8)\.(.*)", r"\1.\2")]

LAYOUTS: dict[str, list[Rule]] = {
    "cam": [*_TRUNK, *_FOUR_STAGES, (r"(?:classifier|newly_added\.0)\.(.*)", r"classifier.\1")],
    "eps_base": [*_RESNET38D, (r"fc8\.(.*)", r"classifier.\1")],
    "eps": [*_RESNET38D, (r"fc8\.(.*)", r"classifier.\1")],
    "seam": [*_RESNET38D, *_PCM],
    "cpn": [*_RESNET38D, *_PCM, (r"(f10)\.(.*)", r"prcm.\1.\2")],
    "sipe": [
        *_TRUNK,
        (r"(?:stage\d|backbone|newly_added)\..*", None),  # the same tensors again, in lists
        (r"(classifier)\.(.*)", r"\1.\2"),
        *[(rf"side{n}\.(.*)", rf"side.{n - 1}.\1") for n in (1, 2, 3, 4)],
    ],
    "ppc": [*_RESNET38D, *_PCM, (r"fc_proj\.(.*)", r"projector.\1")],
    "ppc_eps": [*_RESNET38D, *_PCM, (r"proj_fc\.(.*)", r"projector.\1")],
    "mctformer_v1": [*_VIT, (r"head\.(?:weight|bias)", None)],
    "mctformer_v2": [*_VIT, (r"head\.(.*)", r"classifier.\1")],
    "irn": [*_TRUNK, *_FIVE_STAGES, *_IRN_HEADS],
    "affinitynet": [*_RESNET38D, *[(rf"f8_{n}\.(.*)", rf"side.{n - 3}.\1") for n in (3, 4, 5)], (r"f9\.(.*)", r"all.\1")],
}


def amn_rules(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[Rule]:
    """AMN's layout, whose names of the head are not known here: its tensors are told by their shapes.

    The label encoder is the one matrix of its shape with the bias beside it; the parallel convolutions are taken in
    the file's order, that of their dilations. The trunk stands as four stages or as five.
    """
    stages = _FIVE_STAGES if any(re.match(r"stage5\.|backbone\.4\.", name) for name in state) else _FOUR_STAGES
    encoder, first = expected["label_encoder.weight"].shape, expected["classifier.convs.0.weight"].shape
    heads = [(name, value.shape) for name, value in state.items() if name.endswith(".weight")]
    ours = [(name, "label_encoder") for name, shape in heads if shape == encoder]
    groups: dict[str, list[str]] = {}  # the head may be registered more than once
    for name in (name for name, shape in heads if shape == first):
        groups.setdefault(re.sub(r"\d+\.weight\Z", "", name), []).append(name)
    ours += [(name, f"classifier.convs.{n}") for names in groups.values() for n, name in enumerate(names)]
    rules = [(rf"{re.escape(name.removesuffix('.weight'))}\.(.*)", rf"{target}.\1") for name, target in ours]
    return [*rules, *_TRUNK, *stages]


def eps_background_first(name: str, value: Tensor) -> Tensor:
    """The background is the last row of EPS's classifier, also in PPC on EPS; here it is the first."""
    return value.roll(1, 0) if name in ("classifier.weight", "fc8.weight") else value


CHANGES: dict[str, Callable[[str, Tensor], Tensor]] = {"eps": eps_background_first, "ppc_eps": eps_background_first}


def target_of(name: str, rules: list[Rule]) -> tuple[bool, str | None]:
    """(whether a rule knows the name, our name)."""
    for pattern, ours in rules:
        if match := re.fullmatch(pattern, name):
            return True, match.expand(ours) if ours else None
    return False, None
