"""FSAE, Feature- and Spatial-level Activation Expansion (Choi et al., WACV 2025), around any method.

On the weak view a moving average of the network, the teacher, labels the cells of which it is sure, and the ring around
them. The network must give the same labels on a strong view of the image.

The algorithm is that of the authors' published predecessor, PixMatch; docs/methods/fsae.md says what is confirmed of FSAE.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.constants import IGNORE
from wsss.data.further import FurtherArrays, View
from wsss.data.strong_view import strong_view
from wsss.errors import UserError
from wsss.methods.base import CamOut, Method, resize
from wsss.nets.heads import resize_label
from wsss.nets.norm import statistics_kept
from wsss.ranks import mean_over_ranks
from wsss.wrappers import fsae_options
from wsss.wrappers.base import Wrapper
from wsss.wrappers.expansion import (
    Pseudo,
    confident_cells,
    consistency,
    expand,
    mask_absent,
    within,
)
from wsss.wrappers.perturb import Mix, feature_dropout, hide_patches
from wsss.wrappers.pixel_adapters import (
    ADAPTERS,
    MAPS,
    Probe,
    cells_inside,
    probe,
    refuse_other_grid,
    seed_logits,
)

KNOWN_SHARE = 0.01  # of a new batch in the classes' mean confidence (classwise_tau)


class FSAE(Wrapper):
    """`base` is the student, `teacher` its moving average, which gets no gradient. Options: wsss.wrappers.fsae_options."""

    defaults = fsae_options.DEFAULTS
    confidence: Tensor

    def __init__(self, base, options=None):
        super().__init__(base, options)
        fsae_options.check(self.options, "wrap_options")
        seen = probe(base, "fsae")
        self.adapter, self.masking = self._adapter(seen)
        if self.options["teacher_map"] == "seed":
            refuse_other_grid(base, seen)
        self.teacher: Method | None = None if self.options["ema"] == "none" else _frozen_copy(base)
        # Mean confidence of the cells of each class; only classwise_tau reads it.
        self.register_buffer("confidence", torch.ones(base.num_classes + 1, device=next(base.parameters()).device))
        if self.options["feature_dropout"] and not seen.trunk_ends_in_a_map:
            raise UserError(f"wrap_options: feature_dropout drops channels of a map, and the trunk of {_name(base)} ends in none; set it to 0")

    def _adapter(self, seen: Probe) -> tuple[Callable[[Method, CamOut], Tensor], str]:
        """(outputs -> logits, how absent classes are masked): options bg and mask, or what fits the base."""
        bg, mask = self.options["bg"], self.options["mask"]
        if bg == "native" and not (seen.has_background or seen.background_is_used):
            raise UserError(f"wrap_options: bg native: net {_name(self.base)} has no background map; set bg: const0 or prob")
        constant = bg == "const0" or (bg is None and not seen.background_is_used)
        if constant and mask == "zero":
            raise fsae_options.tied(f"wrap_options (net {_name(self.base)})")
        adapter = ADAPTERS[bg or ("native" if seen.background_is_used else "const0")]
        return adapter, mask or ("neginf" if constant or bg == "prob" else "zero")

    def further_arrays(self) -> FurtherArrays:
        """The base's, then strong (3, S, S) float32 and strong_valid (1, S, S) float32, 1 where the image is."""
        options = {key: self.options[key] for key in fsae_options.STRONG}
        return partial(further_views, base=self.base.further_arrays(), options=options)

    def train(self, mode: bool = True):
        super().train(mode)
        if self.teacher is not None and self.options["teacher_mode"] == "eval":
            self.teacher.eval()
        return self

    def loss(self, batch, out, step):
        """The base's loss on the weak view, which is the batch's image, plus lambda times the consistency loss.

        Beside "total": the base's terms, its total as "base", "consistency", and the shares of cells that are confident,
        confident foreground, in the ring, and learned (expanded). All draws of the base come first.
        """
        terms = dict(self.base.loss(batch, out, step))
        with torch.no_grad():
            pseudo = self.pseudo_labels(batch)
        mix = Mix.draw(pseudo.label.shape, batch["image"].device) if self.options["cutmix"] else None
        logits, learned = self.strong_logits(batch, mix), mix.pseudo(pseudo) if mix else pseudo
        distance = consistency(logits, learned.label, learned.mask, self.options["norm"])
        base = terms.pop("total")
        total = base + self.weight(step) * distance
        return {"total": total, "base": base, **terms, "consistency": distance, **pseudo.shares()}

    def weight(self, step: int) -> float:
        """lambda, reached linearly in `warmup` steps."""
        warmup = self.options["warmup"]
        return self.options["lambda"] * (min(1.0, (step + 1) / warmup) if warmup else 1.0)

    def pseudo_labels(self, batch: Mapping) -> Pseudo:
        """What the teacher says of the weak view."""
        logits = self.teacher_logits(batch)
        probs, options = logits.softmax(1), self.options
        scale = self._class_scale(probs)
        valid = cells_inside(batch["strong_valid"], logits.shape[-2:])
        pseudo = within(confident_cells(probs, options["tau_c"] * scale), valid)
        if options["ring"] == "none":
            return pseudo
        return within(expand(pseudo, probs, options["tau_r"] * scale, options), valid)

    def right_cells(self, batch):
        """Of confident cells, confident foreground, ring and all that is learned."""
        pseudo = self.pseudo_labels(batch)
        truth = resize_label(batch["label"], pseudo.label.shape[-2:])
        known, right = truth != IGNORE, truth == pseudo.label
        return {name: ((mask & known & right).sum(), (mask & known).sum()) for name, mask in pseudo.masks().items()}

    def teacher_logits(self, batch: Mapping) -> Tensor:
        """The teacher's masked logits of the weak view, (B, C+1, h, w) float32."""
        if self.options["teacher_map"] == "cells":
            return self._logits(self.teacher_output(batch), batch["y"])
        with self._teaching() as network:
            logits = seed_logits(network, batch)
        return mask_absent(self._enlarged(logits), batch["y"], "neginf")

    def teacher_output(self, batch: Mapping) -> CamOut:
        """The teacher's maps of the weak view."""
        with self._teaching() as network:
            return network(batch, MAPS)

    @contextmanager
    def _teaching(self) -> Iterator[Method]:
        """The teacher in the mode of `teacher_mode`; without an average the student itself, which is afterwards as before."""
        network = self.base if self.teacher is None else self.teacher
        was = network.training
        with statistics_kept(network):
            network.train(self.training and self.options["teacher_mode"] == "train")
            try:
                yield network
            finally:
                network.train(was)

    def strong_logits(self, batch: Mapping, mix: Mix | None = None) -> Tensor:
        """The student's masked logits on the strong view, (B, C+1, h, w) float32."""
        image, y, options = batch["strong"], batch["y"], self.options
        if mix is not None:
            image, y = mix.image(image), mix.classes(y)
        if options["patch_mask"]:
            image = hide_patches(image, options["patch_mask"], 2 * self.base.spec.stride)
        with ExitStack() as stack:
            stack.enter_context(statistics_kept(self.base))
            if options["feature_dropout"] and self.training:
                stack.enter_context(feature_dropout(self.base.backbone, options["feature_dropout"]))
            out = self.base({**batch, "image": image, "y": y}, MAPS)
        return self._logits(out, y)

    def _logits(self, out, y: Tensor) -> Tensor:
        return mask_absent(self._enlarged(self.adapter(self.base, out).float()), y, self.masking)

    def _enlarged(self, logits: Tensor) -> Tensor:
        times = self.options["upsample"]
        return logits if times == 1 else resize(logits, [side * times for side in logits.shape[-2:]])

    def _class_scale(self, probs: Tensor) -> Tensor:
        """(C+1,): 1, or with classwise_tau each class's mean confidence over that of the surest class."""
        if not self.options["classwise_tau"]:
            return torch.ones_like(self.confidence)
        if self.training:
            highest, label = probs.max(1)
            cells = F.one_hot(label, probs.shape[1]).flatten(0, -2).to(probs.dtype)
            count, total = (mean_over_ranks(v) for v in (cells.sum(0), (highest.flatten()[:, None] * cells).sum(0)))
            mean = total / count.clamp(min=1e-6)
            self.confidence.lerp_(torch.where(count > 0, mean, self.confidence), KNOWN_SHARE)
        return self.confidence / self.confidence.max()

    @torch.no_grad()
    def after_step(self, step):
        """The base's; then the teacher takes 1 - ema of what learns, and of running statistics."""
        self.base.after_step(step)
        if self.teacher is None:
            return
        pairs = [(t, s) for t, s in zip(self.teacher.parameters(), self.base.parameters(), strict=True) if s.requires_grad]
        torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], 1.0 - self.options["ema"])
        for theirs, ours in zip(self.teacher.buffers(), self.base.buffers(), strict=True):
            if theirs.is_floating_point():
                theirs.lerp_(ours, 1.0 - self.options["ema"])  # statistics as old as the weights they are of
            else:
                theirs.copy_(ours)


def further_views(view: View, rng: np.random.Generator, base: FurtherArrays | None, options: Mapping) -> dict[str, np.ndarray]:
    """The base's arrays, and the strong view with where the image is.

    Raises:
        UserError: the base has arrays of these names.
    """
    arrays = dict(base(view, rng)) if base else {}
    if taken := sorted({"strong", "strong_valid"} & set(arrays)):
        raise UserError(f"wrap: fsae and the net both name an array {taken[0]}; give the net's another name")
    return {**arrays, "strong": strong_view(view, rng, options), "strong_valid": view.geometry.valid()}


def _frozen_copy(network: Method) -> Method:
    return copy.deepcopy(network).requires_grad_(False)


def _name(network: nn.Module) -> str:
    return type(network).__name__
