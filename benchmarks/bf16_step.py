"""A training step in float32 against one in bf16, for CPUs with a unit for bf16 (Intel's AMX) and GPUs.

    python benchmarks/bf16_step.py [--net cam] [--backbone resnet18] [--crop 256] [--batch 16] [--freeze stage2]

Both are the training's own step (forward, backward, optimiser) from the same random weights on the same images, each in a process of
its own. They take turns, and the fastest step counts. The images are drawn beforehand: reading them is the loader's, beside the step.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _steps import NetStepper, in_turns  # noqa: E402
from _timing import report_ratio  # noqa: E402
from wsss import methods  # noqa: E402
from wsss.train.device import autocast_dtype, pick_device  # noqa: E402

SETTINGS = {"optimiser": "adamw", "lr": 3e-4, "weight_decay": 1e-4}


def stepper(precision: str, args: argparse.Namespace) -> NetStepper:
    """The net in one precision."""
    device = pick_device("auto", args.threads)
    torch.manual_seed(0)
    net = methods.get(args.net)(20, args.backbone, {"output_stride": 16, "freeze": args.freeze, "bn": "frozen"})
    image = torch.randn(args.batch, 3, args.crop, args.crop).contiguous(memory_format=torch.channels_last)
    return NetStepper(net, device, precision, SETTINGS, {"image": image, "y": torch.eye(20)[torch.arange(args.batch) % 20]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="cam", choices=["cam", "seam"], help="whose batches need no files")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--freeze", default="stage2")
    parser.add_argument("--steps", type=int, default=5, help="timed steps each; the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    chosen = autocast_dtype(pick_device("auto", args.threads), "auto") or torch.float32
    print(f"{args.net} on {args.backbone}, crop {args.crop}, batch {args.batch}, {args.threads} threads; precision: auto takes {chosen}")
    losses, seconds, _ = in_turns(stepper, {name: (name, args) for name in ("fp32", "bf16")}, args.steps)
    print(f"first loss: fp32 {losses['fp32']:.5f}, bf16 {losses['bf16']:.5f}")
    report_ratio(seconds["fp32"], seconds["bf16"])


if __name__ == "__main__":
    main()
