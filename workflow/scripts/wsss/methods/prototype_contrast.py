"""Pixel-to-prototype contrast (Du et al., CVPR 2022): the pixels of a projected feature map are drawn to the prototype
of their class, across two views of an image and within each. No method by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss import ranks
from wsss.methods.base import with_background
from wsss.methods.pixel_correlation import background_from
from wsss.nets.pcm import EPSILON


@dataclass(frozen=True)
class Pixels:
    """The N = B h w pixels of one view on the grid of the contrast, by image, row and column.

    directions (N, d) float32 of unit length; labels (N,) int64, 0 the background; prototypes (C+1, d) of the whole
    batch, of unit length, without gradient; known (C+1,) bool, the classes that have one.
    """

    directions: Tensor
    labels: Tensor
    prototypes: Tensor
    known: Tensor


def pixels_of(projection: Tensor, maps: Tensor, y: Tensor, options: Mapping) -> Pixels:
    """The pixels of one view.

    projection (B, d, h, w), maps (B, C+1, h, w) refined, background first, y (B, C) multi-hot. options:
    contrast_background (score of the background); prototype_share (part of an image's cells that a prototype is made
    of, over the whole batch); mask_prototypes, background_prototype (`prototype_scores`).
    """
    features = projection.float().movedim(1, -1)
    scores = scores_of(maps, options["contrast_background"])
    of_class = ranks.whole_batch(prototype_scores(scores, y, options)).movedim(1, 0).flatten(1)
    cells = max(1, int(options["prototype_share"] * maps.shape[-2] * maps.shape[-1]))
    everywhere = ranks.whole_batch(features).flatten(0, -2)
    prototypes = prototypes_of(everywhere, of_class, of_class.topk(cells, dim=1).indices)
    directions = F.normalize(features.flatten(0, -2), dim=1)
    return Pixels(directions, pseudo_labels(scores, y), prototypes, of_class.amax(1) > -torch.inf)


@torch.no_grad()
def scores_of(maps: Tensor, background: float) -> Tensor:
    """Refined maps (B, C+1, h, w) -> scores: classes from minimum to maximum, channel 0 a constant.

    As released nothing is cut at 0 after the division, so a map's lowest cells are negative; a map that is 0
    everywhere is -1 everywhere.
    """
    maps = maps.float().relu()
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    cut = maps.masked_fill(maps < low + EPSILON, 0.0)
    scores = (cut - low - EPSILON) / (high - low + EPSILON)
    scores[:, 0] = background
    return scores


def pseudo_labels(scores: Tensor, y: Tensor) -> Tensor:
    """Scores (B, C+1, h, w), y (B, C) -> (B h w,) int64: the highest of background and present classes."""
    return (scores * with_background(y)).argmax(1).flatten()


def prototype_scores(scores: Tensor, y: Tensor, options: Mapping) -> Tensor:
    """The scores (B, C+1, h, w) that prototypes are made by; -inf where an image has no part in a class's.

    mask_prototypes: only images with the class have; as released the others too, so that every class has a prototype.
    background_prototype: "constant", as released, where all cells are equal and any may be the background's;
    "inverse", 1 - the largest present class.
    """
    label = with_background(y)
    if options["background_prototype"] == "inverse":
        scores = torch.cat([background_from(scores * label)[:, :1], scores[:, 1:]], dim=1)
    if options["mask_prototypes"]:
        scores = scores.masked_fill(label == 0, -torch.inf)
    return scores


@torch.no_grad()
def prototypes_of(features: Tensor, scores: Tensor, top: Tensor) -> Tensor:
    """Mean of the features of each class's highest cells, weighted by their scores, at unit length.

    features (N, d), scores (n, N), top (n, K) indices -> (n, d).
    """
    weights = scores.gather(1, top)
    weights = weights.masked_fill(weights == -torch.inf, 0.0)
    # The sign is what dividing by the sum of the weights does to the direction; that sum can be 0.
    sign = torch.where(weights.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return F.normalize(sign * torch.einsum("nk,nkd->nd", weights, features[top]), dim=1)


def contrast(first: Pixels, second: Pixels, options: Mapping) -> dict[str, Tensor]:
    """The three terms, each the mean of both views times contrast_weight; options also: temperature, those of `intra`.

    cross_prototype: own labels, the other view's prototypes; cross_label: the other way round; intra_view: both own.
    """
    temperature, weight = options["temperature"], options["contrast_weight"] / 2
    own = [similarities(view, view, temperature) for view in (first, second)]
    other = [similarities(first, second, temperature), similarities(second, first, temperature)]
    labels = first.labels, second.labels
    return {
        "cross_prototype": weight * sum(map(F.cross_entropy, other, labels)),
        "cross_label": weight * sum(map(F.cross_entropy, own, reversed(labels))),
        "intra_view": weight * sum(intra(logits, label, options) for logits, label in zip(own, labels, strict=True)),
    }


def similarities(view: Pixels, of: Pixels, temperature: float) -> Tensor:
    """(N, C+1): cosines of the pixels of `view` with the prototypes of `of`, over the temperature; -inf without one."""
    return (view.directions @ of.prototypes.T / temperature).masked_fill(~of.known, -torch.inf)


def intra(logits: Tensor, labels: Tensor, options: Mapping) -> Tensor:
    """Contrast within a view over semi-hard pixels and prototypes: the mean over the classes of the whole batch.

    logits (N, C+1), labels (N,). options: negatives [first, last], ranks from 1: of the prototypes by similarity these
    stand against a pixel's own; semi_hard (`semi_hard_weights`).
    """
    first, last = options["negatives"]
    positive = logits.gather(1, labels[:, None])
    negatives = logits.topk(min(last, logits.shape[1]), dim=1).values[:, first - 1 :]
    losses = torch.cat([positive, negatives], dim=1).logsumexp(1) - positive[:, 0]
    of_all, similarity, chance = (ranks.whole_batch(rows) for rows in (labels, positive[:, 0], chance_of(labels)))
    weights = semi_hard_weights(of_all, similarity, chance, options["semi_hard"])
    return (losses * ranks.own_part(weights)).sum() * ranks.world()


def chance_of(labels: Tensor) -> Tensor:
    """(N,) in [0, 1): a lot for each pixel."""
    return torch.rand(len(labels), device=labels.device)


def semi_hard_weights(labels: Tensor, similarity: Tensor, chance: Tensor, share: float) -> Tensor:
    """(N,) float32: what each pixel counts in the mean over classes, and within a class over the pixels taken.

    labels, similarity to the pixel's own prototype, chance, all (N,). Of a class's n pixels n // 2 are taken at random
    (lowest chance) and n // 2 by similarity: the last of its lowest int(share n), so that the very hardest, which may
    be mislabelled, are left out. A pixel may be taken twice. A class of one pixel adds 0 and counts as a class.
    """
    counts = labels.bincount()
    half, end = counts // 2, (share * counts.double()).long()
    rank = place_in_class(similarity, labels, counts)
    taken = (place_in_class(chance, labels, counts) < half[labels]).float()
    taken += (rank < end[labels]) & (rank >= (end - half)[labels])
    return taken / (2 * half[labels].clamp(min=1) * (counts > 0).sum())


def place_in_class(values: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """(N,) int64: how many of the pixels of its class have a lower value; counts (n,) of the classes' pixels."""
    order = values.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place - (counts.cumsum(0) - counts)[labels]
