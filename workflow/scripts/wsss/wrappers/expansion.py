"""What FSAE learns from the teacher's map, as pure functions: label masking, confident cells, the ring around them and the
consistency loss. Equations are those of its published predecessor, PixMatch; no network here.

Maps are (B, C+1, h, w) float32 with the background first, masks (B, h, w) bool, labels (B, h, w) int64.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.ranks import mean_over_ranks


@dataclass(frozen=True)
class Pseudo:
    """What the teacher says of each cell, and which of it is learned."""

    label: Tensor  # class of each cell, 0 the background
    confident: Tensor  # M_c
    foreground: Tensor  # M_f: a class, not the background, is confident
    ring: Tensor  # R': around M_f, at the lower threshold

    @property
    def mask(self) -> Tensor:
        """M = M_c or R'."""
        return self.confident | self.ring

    def masks(self) -> dict[str, Tensor]:
        """By the names that the history has for them."""
        return {"confident": self.confident, "confident_fg": self.foreground, "ring": self.ring, "expanded": self.mask}

    def shares(self) -> dict[str, Tensor]:
        """Parts of all cells."""
        return {name: mask.float().mean() for name, mask in self.masks().items()}


def mask_absent(logits: Tensor, y: Tensor, how: str) -> Tensor:
    """Class maps of absent classes at logit 0 (zero, as published) or minus infinity (neginf); y (B, C) multi-hot."""
    absent = (y <= 0)[..., None, None]
    classes = logits[:, 1:].masked_fill(absent, 0.0 if how == "zero" else -torch.inf)
    return torch.cat([logits[:, :1], classes], dim=1)


def confident_cells(probs: Tensor, tau: Tensor) -> Pseudo:
    """Labels and the confident cells of probabilities; tau (C+1,), a threshold for each class. The ring is empty."""
    highest, label = probs.max(1)
    foreground = (probs[:, 1:] >= tau[1:, None, None]).any(1)
    return Pseudo(label, highest >= tau[label], foreground, torch.zeros_like(foreground))


def dilate(mask: Tensor, kernel: int, iters: int) -> Tensor:
    """(B, ..., h, w) bool -> the same, grown `iters` times by a square of `kernel` cells."""
    grown = mask.float()
    for _ in range(iters):
        grown = F.max_pool2d(grown, kernel, stride=1, padding=kernel // 2)
    return grown > 0


def ring_around(mask: Tensor, kernel: int, iters: int) -> Tensor:
    """R: cells that `mask` grows by."""
    return dilate(mask, kernel, iters) & ~mask


def expand(pseudo: Pseudo, probs: Tensor, tau: Tensor, options: dict) -> Pseudo:
    """R' = R and [highest probability >= tau_r], tau (C+1,) by the cell's own class.

    Options kernel, iters; ring_source "fg" (R lies around M_f) | "all" (around M_c); ring "own_argmax" (the ring
    keeps the teacher's own label, as published) | "neighbour_class" (it takes the likeliest class of the confident cells that it was
    grown from).
    """
    source = pseudo.foreground if options["ring_source"] == "fg" else pseudo.confident
    ring = ring_around(source, options["kernel"], options["iters"]) & (probs.amax(1) >= tau[pseudo.label])
    if options["ring"] == "own_argmax":
        return replace(pseudo, ring=ring)
    labels = F.one_hot(pseudo.label, probs.shape[1]).movedim(-1, 1).bool() & source[:, None]
    near = dilate(labels, options["kernel"], options["iters"])
    neighbour = probs.masked_fill(~near, -1.0).argmax(1)
    return replace(pseudo, ring=ring, label=torch.where(ring, neighbour, pseudo.label))


def within(pseudo: Pseudo, valid: Tensor) -> Pseudo:
    """The same without the cells where `valid` (B, h, w) is false."""
    return replace(
        pseudo, confident=pseudo.confident & valid, foreground=pseudo.foreground & valid, ring=pseudo.ring & valid
    )


def consistency(logits: Tensor, label: Tensor, mask: Tensor, norm: str) -> Tensor:
    """L_con: cross-entropy of the cells in `mask`, over the number of all cells (norm all, as published) or of theirs.

    No cell in the mask gives 0 and gradients of 0.
    """
    distance = F.cross_entropy(logits, label, reduction="none").masked_fill(~mask, 0.0)
    if norm == "all":
        return distance.mean()
    return distance.sum() / mean_over_ranks(mask.sum().float()).clamp(min=1e-6)
