"""What benchmarks of training steps share: networks that take turns, each in a process of its own."""

import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from typing import Any, Protocol

import torch
from wsss.sections.training import Training
from wsss.train.device import autocast
from wsss.train.optim import build_optimiser


class Stepper(Protocol):
    """A training that is measured: on its device, ready to step."""

    device: torch.device

    def step(self) -> tuple[float, float]:
        """(seconds, loss) of one step."""
        ...


class NetStepper:
    """A method's net, alone or wrapped, that takes the training's own step on one batch.

    Args:
        settings: optimiser, lr and what belongs to it.
        batch: what the net's loss reads; tensors on any device.
    """

    def __init__(self, net: Any, device: torch.device, precision: str, settings: Mapping[str, Any], batch: Mapping[str, Any]):
        self.device, self.precision, self.steps = device, precision, 0
        self.net = net.to(device, memory_format=torch.channels_last).train()
        self.optimiser = build_optimiser(self.net.param_groups(), Training.model_construct(**settings))
        self.batch = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}

    def step(self) -> tuple[float, float]:
        """(seconds, loss) of one step; on a CPU processor seconds, which other work on the machine hardly changes."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        start = clock()
        with autocast(self.device, self.precision):
            losses = self.net.loss(self.batch, self.net(self.batch, self.net.loss_want), self.steps)
        losses["total"].backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.net.after_step(self.steps)
        self.steps += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start, losses["total"].item()


def in_turns(make: Callable[..., Stepper], settings: Mapping[str, tuple], steps: int) -> tuple[dict, dict, dict]:
    """Trainings that take turns, each in a process of its own, so that other work slows all and each has its own peak.

    Args:
        make: called with the settings of one, in its process.
        steps: timed ones of each; one more comes before them, in which a GPU looks for its kernels.

    Returns:
        By name: loss of the first step, seconds of the fastest, peak memory in MB (as `peak_mb`).
    """
    context = get_context("spawn")
    with contextlib.ExitStack() as stack:
        pools = {name: stack.enter_context(context.Pool(1, _prepare, (make, given))) for name, given in settings.items()}
        first = {name: pool.apply(_step)[1] for name, pool in pools.items()}
        turns = [{name: pool.apply(_step)[0] for name, pool in pools.items()} for _ in range(steps)]
        peaks = {name: pool.apply(_peak) for name, pool in pools.items()}
    return first, {name: min(turn[name] for turn in turns) for name in pools}, peaks


def _prepare(make: Callable[..., Stepper], settings: tuple) -> None:
    global _stepper
    _stepper = make(*settings)


def _step() -> tuple[float, float]:
    return _stepper.step()


def _peak() -> float:
    return peak_mb(_stepper.device)


def peak_mb(device: torch.device) -> float:
    """Peak of the tensors on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
