"""Trunks by name: ResNets with configurable strides and dilations in torchvision's key layout, and ResNet38d."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn

from wsss.errors import UserError
from wsss.nets.norm import BatchNorm, set_norm
from wsss.nets.residual import BasicBlock, Bottleneck
from wsss.nets.resnet38d import ResNet38d

# Strides of layer2, layer3, layer4 for each output stride.
STRIDES = {8: (2, 1, 1), 16: (2, 2, 1), 32: (2, 2, 2)}
# How much of a trunk learns nothing, each with what stands before it.
FREEZE = ("none", "stem", "stage1", "stage2", "stage3")
Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """ResNet without its classifier: image (B, 3, H, W) -> list of five feature maps x1..x5.

    x1 is taken after the max-pool (stride 4), x2..x5 after layer1..layer4; `out_channels[i]` is the
    width of tap i. Every stride-2 step maps n to (n - 1) // 2 + 1. Keys are torchvision's without
    `fc.*`. Random initial values come from torch's global generator, which the caller seeds.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        block: Block,
        blocks: Sequence[int],
        width: int = 64,
        strides: Sequence[int] = STRIDES[16],
        dilations: Sequence[int] = (1, 1, 1),
        bn: str = "frozen",
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.out_channels = [width] + [width * 2**i * block.expansion for i in range(4)]
        settings = zip((1, *strides), (1, *dilations), strict=True)
        for i, (stride, dilation) in enumerate(settings):
            stage = _stage(block, blocks[i], self.out_channels[i], width * 2**i, stride, dilation)
            self.add_module(f"layer{i + 1}", stage)
        self.tap_strides = (4, *accumulate(strides, mul, initial=4))
        self.output_stride = self.tap_strides[-1]
        self._init_weights()
        set_norm(self, bn)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def parts(self) -> tuple[list[nn.Module], ...]:
        """What `freeze` can name, first to last: stem (the convolution and its BatchNorm), stage1, stage2, stage3."""
        return [self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3]

    def forward(self, image: Tensor) -> list[Tensor]:
        taps = [self.maxpool(self.relu(self.bn1(self.conv1(image))))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            taps.append(layer(taps[-1]))
        return taps


Trunk = ResNet | ResNet38d


def _stage(block: Block, count: int, inplanes: int, planes: int, stride: int, dilation: int) -> nn.Sequential:
    outplanes = planes * block.expansion
    shortcut = None
    if stride != 1 or inplanes != outplanes:
        conv = nn.Conv2d(inplanes, outplanes, 1, stride=stride, bias=False)
        shortcut = nn.Sequential(conv, BatchNorm(outplanes))
    first = block(inplanes, planes, stride, shortcut, norm_layer=BatchNorm)
    rest = [block(outplanes, planes, norm_layer=BatchNorm) for _ in range(count - 1)]
    stage = nn.Sequential(first, *rest)
    _dilate(stage, dilation)
    return stage


def _dilate(stage: nn.Module, dilation: int) -> None:
    # Set afterwards, as in DeepLab: every 3x3 convolution of the stage is dilated, the first block's too.
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (dilation, dilation)


BACKBONES: dict[str, Callable[..., Trunk]] = {
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet_small": partial(ResNet, BasicBlock, (2, 2, 2, 2), width=32),
    "resnet38d": ResNet38d,
}


def build_backbone(
    name: str, strides: Sequence[int] | None = None, dilations: Sequence[int] = (1, 1, 1), bn: str = "frozen", freeze: str = "none"
) -> Trunk:
    """Build a trunk with random weights.

    `strides` and `dilations` are those of layer2, layer3, layer4; the default is a trunk's own: output
    stride 16 (IRN) and no dilation, for resnet38d 8 and its own dilations, which `dilations` leaves alone.
    bn says what of every BatchNorm is fixed (`wsss.nets.norm.set_norm`); nets trained from scratch want "train".
    freeze: "none"; "stem": the first convolution and its BatchNorm learn nothing; "stage1": nor does the first
    residual stage (layer1; in resnet38d b2 to b2_2); "stage2": nor the second (layer2; b3 to b3_2); "stage3": nor the third (layer3; b4 to b4_5). Of a frozen part
    the statistics are fixed too, whatever `bn` says.
    `resnet_small` is a ResNet-18 of half the width, without pretrained weights.

    Every trunk has `out_channels` and `tap_strides` (of its five taps), `output_stride`, `parts()` (what `freeze`
    names), and keys of its own. Raises UserError for an unknown name, or an output stride the trunk does not have.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone: {name!r} is not known; choose one of {', '.join(BACKBONES)}")
    layout = {} if strides is None else {"strides": tuple(strides)}
    trunk = BACKBONES[name](**layout, dilations=tuple(dilations), bn=bn)
    freeze_parts(trunk, freeze)
    return trunk


def freeze_parts(trunk: Trunk, freeze: str) -> None:
    """Stop training what `freeze` names: no gradients, BatchNorm statistics fixed. Raises UserError for another word."""
    if freeze not in FREEZE:
        raise UserError(f"freeze: {freeze!r} is not known; choose one of {', '.join(FREEZE)}")
    for part in trunk.parts()[: FREEZE.index(freeze)]:
        for module in part:
            module.requires_grad_(False)
            set_norm(module, "frozen")


def field_keeping(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Dilations of layer2..layer4: each stride of 2 left out doubles them from there on, (2, 1, 1) -> (1, 2, 4)."""
    return tuple(accumulate((2 // stride for stride in strides), mul))


def load_pretrained(module: nn.Module, state: Mapping[str, Tensor], what: str = "weights") -> None:
    """Load `state` into `module` strictly, without the ImageNet classifier `fc.*`; any float dtype.

    Raises UserError, naming the first offending keys, when keys or shapes do not match.
    """
    given = {key: value for key, value in state.items() if not key.startswith("fc.")}
    own = {key: value for key, value in module.state_dict().items() if not _is_counter(key)}
    missing = [key for key in own if key not in given]
    unknown = [key for key in given if key not in own and not _is_counter(key)]
    shapes = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    found = {"missing": missing, "not expected": unknown, "of another shape": shapes}
    faults = [f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in found.items() if keys]
    if faults:
        raise UserError(f"{what}: not for this network: {'; '.join(faults)}; take weights of its backbone")
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(given[key])


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")
