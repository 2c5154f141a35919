"""A training step in float32 against one in bf16, for CPUs with a unit for bf16 (Intel's AMX) and GPUs.

    python benchmarks/bf16_step.py [--net cam] [--backbone resnet18] [--crop 256] [--batch 16] [--freeze stage2]

Both are the training's own step (forward, backward, optimiser) from the same random weights on the same images, each in a process of
its own. They take turns, and the fastest step counts. The images are drawn beforehand: reading them is the loader's, beside the step.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _steps import in_turns  # noqa: E402
from _timing import report_ratio  # noqa: E402
from wsss import methods  # noqa: E402
from wsss.sections.training import Training  # noqa: E402
from wsss.train.device import autocast, pick_device  # noqa: E402
from wsss.train.optim import build_optimiser  # noqa: E402

SETTINGS = {"optimiser": "adamw", "lr": 3e-4, "weight_decay": 1e-4}


class Stepper:
    """A net in one precision, on its device, ready to step."""

    def __init__(self, precision: str, args: argparse.Namespace):
        self.device, self.precision = pick_device("auto", args.threads, precision), precision
        torch.manual_seed(0)
        options = {"output_stride": 16, "freeze": args.freeze, "bn": "frozen"}
        net = methods.get(args.net)(20, args.backbone, options)
        self.net = net.to(self.device, memory_format=torch.channels_last).train()
        self.optimiser = build_optimiser(self.net.param_groups(), Training.model_construct(**SETTINGS))
        image = torch.randn(args.batch, 3, args.crop, args.crop).to(self.device, memory_format=torch.channels_last)
        self.batch = {"image": image, "y": torch.eye(20)[torch.arange(args.batch) % 20].to(self.device)}

    def step(self) -> tuple[float, float]:
        """(seconds, loss) of one step."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        start = clock()
        with autocast(self.device, self.precision):
            loss = self.net.loss(self.batch, self.net(self.batch, self.net.loss_want), 0)["total"]
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start, loss.item()


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
    amx = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
    print(f"{args.net} on {args.backbone}, crop {args.crop}, batch {args.batch}, {args.threads} threads; AMX: {'yes' if amx else 'no'}")
    losses, seconds, _ = in_turns(Stepper, {name: (name, args) for name in ("fp32", "bf16")}, args.steps)
    print(f"first loss: fp32 {losses['fp32']:.5f}, bf16 {losses['bf16']:.5f}")
    report_ratio(seconds["fp32"], seconds["bf16"])


if __name__ == "__main__":
    main()
