"""A training step of SEAM, CPN and PPC: losses over the present classes against losses over all of VOC's 20.

    python benchmarks/present_classes.py [--methods seam cpn ppc] [--threads 1] [--crop 256] [--batch 8]

Of PPC that is its SEAM part: its contrast sets all prototypes against each other, absent classes' too, on the small grid.
Processor seconds.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import report_ratio  # noqa: E402
from wsss import methods  # noqa: E402
from wsss.methods.pixel_correlation import listed_classes  # noqa: E402

LOSSES = {"seam": "seam", "cpn": "cpn", "ppc": "seam"}  # method -> the module whose losses list the classes
CLASSES, PER_IMAGE = 20, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8, help="images, with one or two classes each")
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"ResNet-18 at stride 16, crop {options.crop}, batch {options.batch}, {options.threads} threads")
    for name in options.methods:
        compare(name, options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Print both times and the largest difference of gradients."""
    batch, times, gradients = batch_of(options.batch, options.crop), [], []
    for classes in (all_classes, listed_classes):
        step = step_of(name, batch, classes)
        gradients.append(step())
        times.append(min(timed(step) for _ in range(options.steps)))
    largest = max(g.abs().max() for g in gradients[0])
    difference = max((a - b).abs().max() for a, b in zip(*gradients, strict=True)) / largest
    print(f"{name}: gradients differ by at most {difference:.1e} of the largest")
    report_ratio(*times)


def all_classes(y: torch.Tensor) -> torch.Tensor:
    """The plain way: every class's maps at the size of the crop."""
    return torch.arange(y.shape[1]).expand(len(y), -1)


def step_of(name: str, batch: dict, classes: Callable) -> Callable[[], list[torch.Tensor]]:
    """Forward, losses and backward of a fresh net without dropout; returns its gradients."""
    torch.manual_seed(0)
    net = methods.get(name)(CLASSES, "resnet18", {"output_stride": 16, "dilated": False, "dropout": 0.0})

    def step() -> list[torch.Tensor]:
        net.zero_grad(set_to_none=True)
        torch.manual_seed(0)  # PPC draws pixels
        with patch(f"wsss.methods.{LOSSES[name]}.listed_classes", classes):
            net.loss(batch, net(batch, net.loss_want), 0)["total"].backward()
        return [p.grad for p in net.parameters() if p.grad is not None]

    return step


def batch_of(n: int, crop: int) -> dict:
    g = torch.Generator().manual_seed(0)
    y = torch.zeros(n, CLASSES)
    for image in range(n):
        y[image, torch.randperm(CLASSES, generator=g)[: 1 + image % PER_IMAGE]] = 1
    mask = (torch.rand(n, 1, crop // 16, crop // 16, generator=g) < 0.6).float()
    return {
        "image": torch.randn(n, 3, crop, crop, generator=g),
        "y": y,
        "pair_mask": mask.repeat_interleave(16, 2).repeat_interleave(16, 3),
        "pair_weight": mask.mean((1, 2, 3)),
    }


def timed(step: Callable) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
