"""Whether a trained network is one: its weights and what it makes of a batch are numbers."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from wsss.errors import UserError
from wsss.train.device import autocast
from wsss.train.loop import Job, first_batch, to_device


def refuse_diverged(job: Job, stage: str) -> None:
    """Look at all weights, and at one batch in evaluation mode, as it was trained on and in the same precision.

    Raises:
        UserError: values that are not finite; says where, and what to lower.
    """
    state = job.learner.network.state_dict()
    found = [f"weights {key}" for key, value in state.items() if not _is_finite(value)] or list(_in_one_pass(job))
    if found:
        raise UserError(
            f"{stage}: the network diverged, it holds or makes values that are not finite ({found[0]}"
            f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}); nothing is written; "
            f"lower {stage}.lr (it is {job.settings.lr:g}), or set compute.precision: fp32"
        )


@torch.no_grad()
def _in_one_pass(job: Job) -> Iterator[str]:
    """The layers and losses that give such values for the first batch."""
    strange: list[str] = []

    def note_strange(name: str, *call: Any) -> None:
        if not all(_is_finite(value) for value in _tensors(call[-1])):
            strange.append(f"what layer {name} makes")

    leaves = [(name, module) for name, module in job.learner.network.named_modules() if not any(module.children())]
    hooks = [module.register_forward_hook(functools.partial(note_strange, name)) for name, module in leaves]
    job.learner.network.eval()
    try:
        with torch.random.fork_rng(devices=[]), autocast(job.device, job.runtime["precision"]):
            losses = job.learner.step_loss(to_device(first_batch(job), job.device), 0)
    finally:
        for hook in hooks:
            hook.remove()
    yield from dict.fromkeys(strange)
    yield from (f"loss {name}" for name, value in losses.items() if not _is_finite(value))


def _tensors(output: Any) -> Iterable[Tensor]:
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else (output,)
    return (part for part in parts if isinstance(part, Tensor))


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
