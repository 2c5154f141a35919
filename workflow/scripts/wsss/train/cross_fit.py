"""Logistic regression on fixed features, each photo scored by a fit that has not seen it."""

from collections.abc import Callable

import torch
from torch import Tensor

FOLDS = 5
PENALTY = 0.1  # on half the squared weights, beside the summed loss of features of unit length on average


def cross_fitted(features: Tensor, y: Tensor) -> Tensor:
    """(N, C) float64 logits, those of a photo from the fit without its fold.

    features: (N, d); y: (N, C) of 0 and 1. Photos are dealt out to FOLDS folds by their rarest class, so that a class
    of five photos has one in each. The order of the rows decides ties.
    """
    fold = folds_of(y)
    logits = torch.zeros_like(y, dtype=torch.float64)
    for number in fold.unique().tolist():
        inside = fold == number
        logits[inside] = _fitted(features[~inside].double(), y[~inside].double())(features[inside].double())
    return logits


def folds_of(y: Tensor) -> Tensor:
    """(N,) int64: the fold of each photo."""
    counts = y.sum(0)
    rarity = torch.where(y > 0, counts, torch.inf)
    rarest = torch.where(y.sum(1) > 0, rarity.argmin(1), y.shape[1])
    fold = torch.empty(len(y), dtype=torch.int64)
    fold[torch.argsort(rarest, stable=True)] = torch.arange(len(y)) % FOLDS
    return fold


def _fitted(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """The function features -> logits that fits best."""
    mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-6
    scale = deviation * x.shape[1] ** 0.5
    weight, bias = x.new_zeros(x.shape[1], y.shape[1]), x.new_zeros(y.shape[1])
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        z = ((x - mean) / scale) @ weight + bias
        penalty = PENALTY * (weight.square().sum() + bias.square().sum()) / 2
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum") + penalty
        loss.backward()
        return loss

    optimiser.step(closure)
    return lambda new: (((new - mean) / scale) @ weight + bias).detach()
