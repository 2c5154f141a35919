"""Optimisers and learning-rate schedules, built from the settings of a training."""

import math

import torch

from wsss.data.text import first_few
from wsss.errors import UserError
from wsss.sections.section import required
from wsss.sections.training import Training

OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimiser(groups: list[dict], settings: Training) -> torch.optim.Optimizer:
    """An optimiser over parameter groups.

    Args:
        groups: {"params", "lr_scale", "weight_decay"} each; weight_decay None takes the stage's.
        settings: `optimiser`, `lr`, `weight_decay`, and `momentum` for sgd.
    """
    prepared = []
    for group in groups:
        decay = group["weight_decay"]
        prepared.append(
            {
                "params": list(group["params"]),
                "lr": settings.lr * group["lr_scale"],
                "lr_scale": group["lr_scale"],
                "weight_decay": settings.weight_decay if decay is None else decay,
            }
        )
    extra = {"momentum": settings.momentum} if settings.optimiser == "sgd" else {}
    return OPTIMISERS[settings.optimiser](prepared, lr=settings.lr, **extra)


def require_all_learn(network: torch.nn.Module, groups: list[dict], stage: str) -> None:
    """See that what may learn is in the groups, and what is in the groups is saved with the network.

    Raises:
        UserError: a parameter without a group would keep its random start; one that is not registered would be random again in the next stage.
    """
    grouped = {id(parameter) for group in groups for parameter in group["params"]}
    if idle := [name for name, parameter in network.named_parameters() if parameter.requires_grad and id(parameter) not in grouped]:
        raise UserError(f"{stage}: {first_few(idle)} would not learn: in no group of param_groups; add it there (CAM's has a list for it, new_layers), or freeze it (requires_grad_(False))")
    if lost := len(grouped - {id(parameter) for parameter in network.parameters()}):
        raise UserError(f"{stage}: {lost} parameters of param_groups are not of the network, so they would not be saved; give the network the layer itself, or nn.ModuleList in place of a list")


def learning_rate(step: int, steps: int, settings: Training) -> float:
    """Rate before `step` (0-based) of `steps`.

    poly: lr (1 - step/end)^power, held from its end, `poly_steps` or `steps`, on. cosine: from lr to `min_lr`, half a
    wave over all steps. Before `warmup_steps`, or `warmup_epochs`, the rate rises in a line from `warmup_lr` to lr; the
    schedule counts from step 0 all the same. `rate_per: epoch`: a whole epoch has one rate, that at which the epoch
    before it began (as timm's loop, which hands the schedule the number of the epoch that has ended).
    An epoch here is the training's steps over `epochs`.
    """
    place = float(step)
    if settings.rate_per == "epoch":
        epochs = required(settings.epochs)
        place = max(step * epochs // steps - 1, 0) * steps / epochs
    warmup = warmup_length(steps, settings)
    if place < warmup:
        low = required(settings.warmup_lr)
        return low + (settings.lr - low) * place / warmup
    return SCHEDULES[settings.schedule](place, steps, settings)


def warmup_length(steps: int, settings: Training) -> float:
    """Steps of the warm-up: `warmup_steps`, else the part of all steps that `warmup_epochs` are of `epochs`, else 0."""
    if settings.warmup_steps:
        return settings.warmup_steps
    epochs = settings.warmup_epochs or 0
    return steps * epochs / required(settings.epochs) if epochs else 0


def _poly(place: float, steps: int, settings: Training) -> float:
    end = settings.poly_steps or steps
    return settings.lr * (1.0 - min(place, end - 1) / end) ** required(settings.power)


def _cosine(place: float, steps: int, settings: Training) -> float:
    low = settings.min_lr
    return low + (settings.lr - low) * (1.0 + math.cos(math.pi * place / steps)) / 2


def _constant(place: float, steps: int, settings: Training) -> float:
    return settings.lr


SCHEDULES = {"poly": _poly, "cosine": _cosine, "constant": _constant}


def set_learning_rate(optimiser: torch.optim.Optimizer, base: float) -> None:
    """Give every group its share of `base`."""
    for group in optimiser.param_groups:
        group["lr"] = base * group["lr_scale"]
