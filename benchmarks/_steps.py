"""What benchmarks of training steps share: networks that take turns, each in a process of its own."""

import contextlib
import resource
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from typing import Protocol

import torch


class Stepper(Protocol):
    """A training that is measured: on its device, ready to step."""

    device: torch.device

    def step(self) -> tuple[float, float]:
        """(seconds, loss) of one step."""
        ...


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
