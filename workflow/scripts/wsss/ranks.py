"""Processes that train one network together, each on its slice of every batch and on its own GPU, if there are any.

They are forked at the start of a stage and do all the same, number 0 alone writing. Gradients are averaged by one
sum over one buffer: DistributedDataParallel regroups its buckets after the first step, so that a resumed run would
add up in another order than an undisturbed one.
"""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wsss.engine import signals

_rank, _world = 0, 1
_meeting: Path | None = None  # file by which the processes find each other
_control: Any = None  # group for flags, on the CPU: asking it does not wait for a GPU
_children: list[int] = []


def rank() -> int:
    """Number of this process; 0 writes."""
    return _rank


def world() -> int:
    """How many processes train together."""
    return _world


def fork(processes: int) -> None:
    """Become so many processes, before any of them touches a GPU or starts a thread."""
    global _rank, _world, _meeting
    if processes == 1:
        return
    _meeting, _world = Path(tempfile.mkdtemp(prefix="wsss-ranks-")) / "store", processes
    for number in range(1, processes):
        parent, child = os.getpid(), os.fork()
        if child:
            _children.append(child)
            continue
        _rank = number
        _children.clear()
        signals.follow()
        if os.getppid() != parent:
            os._exit(1)
        logging.getLogger().setLevel(logging.ERROR)
        return


def connect(device: torch.device) -> None:
    """Find the other processes: NCCL between GPUs, gloo between CPUs."""
    global _control
    if _world == 1:
        return
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name need not lead anywhere
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = dist.FileStore(str(_meeting), _world)
    dist.init_process_group(backend, store=store, rank=_rank, world_size=_world)
    _control = dist.new_group(backend="gloo")
    if device.type == "cuda":
        dist.all_reduce(torch.zeros(1, device=device))  # NCCL meets at its first use only, and by the file too
    agree(False)  # all have read the file
    signals.note_connected()
    if _rank == 0 and _meeting is not None:
        shutil.rmtree(_meeting.parent, ignore_errors=True)


def leave() -> None:
    """After the training: number 0 goes on alone, the others end."""
    global _world
    if _world == 1:
        return
    agree(False)
    dist.destroy_process_group()
    if _rank:
        os._exit(0)
    while _children:
        os.waitpid(_children.pop(), 0)
    _world = 1


def agree(*flags: bool) -> list[bool]:
    """Each flag as true as it is in any process."""
    if _world == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX, _control)
    return [bool(vote) for vote in votes]


def gather(thing: Any) -> list[Any]:
    """Plain data of all processes, in their order."""
    if _world == 1:
        return [thing]
    things = [None] * _world
    dist.all_gather_object(things, thing, _control)
    return things


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of what the processes have, without gradient; with one process `value` itself.

    A loss that divides by a count of its batch (pixels that are not ignored, pairs of a kind) takes this mean of the
    counts: then the mean of the processes' losses, and so of their gradients, is that of the batch as a whole.
    """
    if _world == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / _world


def whole_batch(rows: Tensor) -> Tensor:
    """(n, ...) of this process -> (n processes, ...) of all, in the order of the whole batch, without gradient.

    Every process has as many rows, and rows r, r + world, ... are those of number r, as `StepSampler` deals them.
    """
    rows = rows.detach()
    if _world == 1:
        return rows
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(_world)]
    dist.all_gather(parts, rows.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def own_part(rows: Tensor) -> Tensor:
    """The rows of this process out of those of the whole batch."""
    return rows[_rank::_world]


def averaged(value: Tensor) -> Tensor:
    """The same with gradient, which comes from all processes."""
    return _Sum.apply(value) / _world


class _Sum(torch.autograd.Function):
    """Sum over the processes; the loss of each depends on what any of them put in."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by the processes' mean; a parameter has one in all of them or in none."""
    if _world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    for dtype in sorted({g.dtype for g in gradients}, key=str):
        some = [g for g in gradients if g.dtype == dtype]
        buffer = torch.cat([g.flatten() for g in some])
        dist.all_reduce(buffer)
        buffer /= _world
        for gradient, mean in zip(some, buffer.split([g.numel() for g in some]), strict=True):
            gradient.copy_(mean.view(gradient.shape))
