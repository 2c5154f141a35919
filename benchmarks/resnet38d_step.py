"""One training step of ResNet38d with a 21-channel head: ours against the plain way of the reference codes.

    python benchmarks/resnet38d_step.py --crop 448 --batch 1 --device cpu --steps 3

Plain: float32, NCHW, BatchNorm and ReLU as two layers, sums out of place. Ours: the trunk and settings of the
training stages (BatchNorm and ReLU in one, sums in place; on a GPU channels_last and bf16). Both step by
forward, backward and SGD, from the same random weights on the same images, each in a process of its own, so
that its peak memory is its own. They take turns, so that other work on the machine slows both; the fastest
step counts. The losses of the first step are compared. On a CPU the trunk leaves channels_last; `--layouts`
shows why.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _steps import in_turns  # noqa: E402
from _timing import report_ratio  # noqa: E402
from wsss.nets.backbones import build_backbone  # noqa: E402
from wsss.nets.resnet38d import BottleneckUnit, ResNet38d  # noqa: E402
from wsss.train.device import autocast, pick_device  # noqa: E402


class Net(nn.Module):
    """Trunk with a frozen stem, as EPS trains it, and the mean over space of a 1x1 convolution."""

    def __init__(self):
        super().__init__()
        self.trunk = build_backbone("resnet38d", freeze="stage1").train()
        self.head = nn.Conv2d(4096, 21, 1, bias=False)


def our_features(trunk: ResNet38d, image: Tensor) -> Tensor:
    return trunk(image)[-1]


def plain_features(trunk: ResNet38d, image: Tensor) -> Tensor:
    """The same sums layer by layer."""
    x = trunk.conv1a(image)
    for block in ("b2", "b3", "b4", "b5", "b6", "b7"):
        for unit in trunk.units(block):
            t = F.relu(unit.bn_branch2a(x))
            shortcut = x if unit.conv_branch1 is None else unit.conv_branch1(t)
            y = F.relu(unit.bn_branch2b1(unit.conv_branch2a(t)))
            if isinstance(unit, BottleneckUnit):
                y = F.relu(unit.bn_branch2b2(unit.conv_branch2b1(unit.dropout(y))))
                y = unit.conv_branch2b2(unit.dropout(y))
            else:
                y = unit.conv_branch2b1(y)
            x = y + shortcut
    return F.relu(trunk.bn7(x))


def channels_last_features(trunk: ResNet38d, image: Tensor) -> Tensor:
    """Ours without leaving channels_last on a CPU."""
    trunk._contiguous = lambda image: image
    return our_features(trunk, image)


WAYS: dict[str, tuple[Callable, bool]] = {  # name: (features, channels_last and autocast)
    "plain": (plain_features, False),
    "ours": (our_features, True),
    "channels_last": (channels_last_features, True),
}


class Stepper:
    """A network on its device, ready to step."""

    def __init__(self, way: str, crop: int, batch: int, device: str, threads: int):
        self.features, ours = WAYS[way]
        self.precision = "auto" if ours else "fp32"
        self.device = pick_device(device, threads)
        torch.manual_seed(0)
        layout = torch.channels_last if ours else torch.contiguous_format
        self.net = Net().to(self.device, memory_format=layout)
        self.image = torch.randn(batch, 3, crop, crop).to(self.device, memory_format=layout)
        self.y = torch.zeros(batch, 21, device=self.device)
        self.y[:, 3] = 1
        learning = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(learning, lr=1e-6, weight_decay=5e-4)

    def step(self) -> tuple[float, float]:
        """(seconds, loss) of one step."""
        start = time.perf_counter()
        torch.manual_seed(1)  # the same dropout
        with autocast(self.device, self.precision):
            logits = self.net.head(self.features(self.net.trunk, self.image)).mean((-2, -1))
        loss = F.multilabel_soft_margin_loss(logits.float(), self.y)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        value = loss.item()  # waits for the GPU's forward and backward ...
        if self.device.type == "cuda":
            torch.cuda.synchronize()  # ... and this for SGD
        return time.perf_counter() - start, value


def main() -> None:
    """Time both ways and print the ratio."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--crop", type=int, default=448)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="timed steps each; the fastest counts")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layouts", action="store_true", help="time ours in channels_last on a CPU too")
    args = parser.parse_args()
    settings = (args.crop, args.batch, args.device, args.threads)
    print(f"ResNet38d + 21 channels, crop {args.crop}, batch {args.batch}, {args.threads} threads")
    ways = ["plain", "ours", *["channels_last"] * args.layouts]
    first, seconds, peaks = in_turns(Stepper, {way: (way, *settings) for way in ways}, args.steps)
    for way in ways:
        speed = f"{seconds[way]:.3g} s a step, {args.batch / seconds[way]:.3g} images/s"
        print(f"    {way}: {speed}, peak {peaks[way]:.0f} MB")
    plain, ours = first["plain"], first["ours"]
    print(f"losses of the first step differ by {abs(plain - ours) / abs(plain):.1e} of their size")
    report_ratio(seconds["plain"], seconds["ours"])


if __name__ == "__main__":
    main()
