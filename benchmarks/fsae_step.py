"""One training step of FSAE around a net against a step of the net alone: time, and peak memory.

    python benchmarks/fsae_step.py --net eps --backbone resnet38d --crop 448 --batch 8 --device cuda

Both are the training stages' own step (forward, backward, optimiser, the teacher's average) from the same random weights on the same
images, each in a process of its own, so that its peak memory is its own. They take turns, and the fastest step counts; on a CPU its
processor seconds do, which other work on the machine hardly changes. The images are drawn beforehand: reading them is the loader's, beside the step. `ratio` is wrapped over alone;
the goal is 2.2 at most.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _steps import NetStepper, in_turns  # noqa: E402
from wsss import methods, wrappers  # noqa: E402
from wsss.train.device import pick_device  # noqa: E402

SETTINGS = {"optimiser": "sgd", "lr": 1e-3, "momentum": 0.0, "weight_decay": 5e-4}
GOAL = 2.2


def stepper(wrapped: bool, args: argparse.Namespace) -> NetStepper:
    """The net alone, or wrapped."""
    device = pick_device(args.device, args.threads, args.precision)
    torch.manual_seed(0)
    net = methods.get(args.net)(20, args.backbone, {"output_stride": args.output_stride})
    net = wrappers.get("fsae")(net, {}) if wrapped else net
    return NetStepper(net, device, args.precision, SETTINGS, batch_of(args.batch, args.crop))


def batch_of(n: int, side: int) -> dict:
    image, strong = (torch.randn(n, 3, side, side) for _ in range(2))
    y = torch.zeros(n, 20)
    y[:, 3] = 1
    further = {"saliency": torch.rand(n, 1, side, side), "strong": strong, "strong_valid": torch.ones(n, 1, side, side)}
    return {"id": ["x"] * n, "image": image, "y": y, **further}


def main() -> None:
    """Time both and print the ratio."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--net", default="cam", choices=["cam", "eps", "eps_base", "seam"], help="whose batches need no files")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--output-stride", type=int, default=16)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps each; the fastest counts")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(f"{args.net} on {args.backbone}, crop {args.crop}, batch {args.batch}, {args.threads} threads")
    _, seconds, peaks = in_turns(stepper, {name: (name == "wrapped", args) for name in ("alone", "wrapped")}, args.steps)
    for name in seconds:
        print(f"    {name}: {seconds[name]:.3g} s a step, peak {peaks[name]:.0f} MB")
    print(f"memory: {peaks['wrapped'] / peaks['alone']:.2f} times")
    ratio = seconds["wrapped"] / seconds["alone"]
    print(f"ratio: {ratio:.2f} (alone {seconds['alone']:.3g} s, wrapped {seconds['wrapped']:.3g} s; goal: at most {GOAL})")


if __name__ == "__main__":
    main()
