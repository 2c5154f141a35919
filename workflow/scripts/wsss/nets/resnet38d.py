"""Wide ResNet38 "38d": model A1 of Wu et al. (Wider or Deeper, 2016), dilated as EPS, SEAM and CPN use it.

Pre-activation units: BatchNorm and ReLU come before each convolution, and nothing after the sum.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss.nets.catalog import require_stride
from wsss.nets.norm import BatchNorm, norm_relu, set_norm


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)


class _Unit(nn.Module):
    """x -> t = relu(bn(x)) -> branch(t) + shortcut, the shortcut being x or a 1x1 convolution of t."""

    def __init__(self, inputs: int):
        super().__init__()
        self.bn_branch2a = BatchNorm(inputs)
        self.conv_branch1: nn.Conv2d | None = None

    def activate(self, x: Tensor) -> Tensor:
        """t, which some methods read as a feature map."""
        return norm_relu(self.bn_branch2a, x)

    def branch(self, t: Tensor) -> Tensor:
        """What is added to the shortcut."""
        raise NotImplementedError

    def join(self, x: Tensor, t: Tensor) -> Tensor:
        """The unit's output from its input x and t = activate(x)."""
        # In place: no convolution needs its own output in the backward pass.
        return self.branch(t).add_(x if self.conv_branch1 is None else self.conv_branch1(t))

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.activate(x))


class BasicUnit(_Unit):
    """Two 3x3 convolutions, of dilations `first` and `dilation`."""

    def __init__(
        self, inputs: int, mid: int, outputs: int, stride: int = 1, first: int = 1, dilation: int = 1
    ):
        super().__init__(inputs)
        self.conv_branch2a = _conv(inputs, mid, 3, stride, first)
        self.bn_branch2b1 = BatchNorm(mid)
        self.conv_branch2b1 = _conv(mid, outputs, 3, dilation=dilation)
        if stride != 1 or inputs != outputs:
            self.conv_branch1 = _conv(inputs, outputs, 1, stride)

    def branch(self, t: Tensor) -> Tensor:
        return self.conv_branch2b1(norm_relu(self.bn_branch2b1, self.conv_branch2a(t)))


class BottleneckUnit(_Unit):
    """1x1 to a quarter of `outputs`, dilated 3x3 to a half, 1x1, with Dropout2d before the last two."""

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float):
        super().__init__(inputs)
        self.conv_branch2a = _conv(inputs, outputs // 4, 1)
        self.bn_branch2b1 = BatchNorm(outputs // 4)
        self.conv_branch2b1 = _conv(outputs // 4, outputs // 2, 3, dilation=dilation)
        self.bn_branch2b2 = BatchNorm(outputs // 2)
        self.conv_branch2b2 = _conv(outputs // 2, outputs, 1)
        self.conv_branch1 = _conv(inputs, outputs, 1)
        self.dropout = nn.Dropout2d(dropout)

    def branch(self, t: Tensor) -> Tensor:
        x = self.dropout(norm_relu(self.bn_branch2b1, self.conv_branch2a(t)))
        x = self.dropout(norm_relu(self.bn_branch2b2, self.conv_branch2b1(x)))
        return self.conv_branch2b2(x)


class ResNet38d(nn.Module):
    """Trunk of output stride 8: image (B, 3, H, W) -> five feature maps x1..x5.

    x1: sum of the first unit of b3 (stride 4); x2, x3, x4: the activated inputs of b4 (stride 4), b5 and b6,
    in papers conv3, conv4, conv5; x5: conv6 = relu(bn7), 64 x `width` channels. Every stride-2 step maps n to
    (n - 1) // 2 + 1. bn says what of every BatchNorm is fixed (`wsss.nets.norm.set_norm`); published: "frozen",
    all of it. The dilations are the network's own; `dilations` is there for the other
    trunks. Random initial values come from torch's global generator, which the caller seeds.

    Raises:
        UserError: `strides` ask for another output stride than 8.
    """

    output_stride = 8
    tap_strides = (4, 4, 8, 8, 8)
    b3: BasicUnit
    b7: BottleneckUnit

    def __init__(
        self, strides: Sequence[int] = (2, 1, 1), dilations: Sequence[int] = (1, 1, 1), bn: str = "frozen", width: int = 64
    ) -> None:
        super().__init__()
        require_stride("resnet38d", 4 * math.prod(strides), "net", "net_options (or segmentation.options)")
        w = width
        self.out_channels = [4 * w, 4 * w, 8 * w, 16 * w, 64 * w]
        self.conv1a = _conv(3, w, 3)
        for name, inputs, outputs, count in (("b2", w, 2 * w, 3), ("b3", 2 * w, 4 * w, 3), ("b4", 4 * w, 8 * w, 6)):
            others = [BasicUnit(outputs, outputs, outputs) for _ in range(count - 1)]
            self._add(name, BasicUnit(inputs, outputs, outputs, stride=2), *others)
        others = [BasicUnit(16 * w, 8 * w, 16 * w, first=2, dilation=2) for _ in range(2)]
        self._add("b5", BasicUnit(8 * w, 8 * w, 16 * w, first=1, dilation=2), *others)
        self._add("b6", BottleneckUnit(16 * w, 32 * w, dilation=4, dropout=0.3))
        self._add("b7", BottleneckUnit(32 * w, 64 * w, dilation=4, dropout=0.5))
        self.bn7 = BatchNorm(64 * w)
        self._init_weights()
        set_norm(self, bn)

    def _add(self, name: str, first: nn.Module, *others: nn.Module) -> None:
        self.add_module(name, first)
        for i, unit in enumerate(others, start=1):
            self.add_module(f"{name}_{i}", unit)

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def units(self, block: str) -> list[_Unit]:
        """The units of one block, such as b4, b4_1 ... b4_5 of "b4"."""
        return [unit for name, unit in self.named_children() if isinstance(unit, _Unit) and name.split("_")[0] == block]

    def parts(self) -> tuple[list[nn.Module], ...]:
        """What `freeze` can name, first to last: stem (conv1a, which has no norm of its own), stage1, stage2, stage3."""
        return [self.conv1a], [*self.units("b2")], [*self.units("b3")], [*self.units("b4")]

    def forward(self, image: Tensor) -> list[Tensor]:
        if image.device.type == "cpu":
            image = self._contiguous(image)
        x = self.conv1a(image)
        for unit in self.units("b2"):
            x = unit(x)
        x = self.b3(x)
        taps = [x]
        for unit in self.units("b3")[1:]:
            x = unit(x)
        for block in ("b4", "b5", "b6"):
            first, *others = self.units(block)
            taps.append(first.activate(x))
            x = first.join(x, taps[-1])
            for unit in others:
                x = unit(x)
        taps.append(norm_relu(self.bn7, self.b7(x)))
        return taps

    def _contiguous(self, image: Tensor) -> Tensor:
        """The image, and once all weights, out of channels_last, which trains several percent slower on a CPU."""
        with torch.inference_mode(False):
            self.to(memory_format=torch.contiguous_format)
        return image.contiguous()
