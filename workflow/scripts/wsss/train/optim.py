"""Optimisers and learning-rate schedules, built from a stage's plain settings."""

import torch

OPTIMISERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("poly", "constant")


def build_optimiser(groups: list[dict], settings: dict) -> torch.optim.Optimizer:
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
                "lr": settings["lr"] * group["lr_scale"],
                "lr_scale": group["lr_scale"],
                "weight_decay": settings["weight_decay"] if decay is None else decay,
            }
        )
    extra = {"momentum": settings["momentum"]} if settings["optimiser"] == "sgd" else {}
    return OPTIMISERS[settings["optimiser"]](prepared, lr=settings["lr"], **extra)


def learning_rate(step: int, steps: int, settings: dict) -> float:
    """Rate before `step` (0-based); poly: lr (1 - step/end)^power, held from its end, `poly_steps` or `steps`, on."""
    if settings["schedule"] == "constant":
        return settings["lr"]
    end = settings.get("poly_steps") or steps
    return settings["lr"] * (1.0 - min(step, end - 1) / end) ** settings["power"]


def set_learning_rate(optimiser: torch.optim.Optimizer, base: float) -> None:
    """Give every group its share of `base`."""
    for group in optimiser.param_groups:
        group["lr"] = base * group["lr_scale"]
