"""Logits of cells with a background, from the maps of any base: its own background map, a constant, or scores.

`probe` looks at a base before any training: whether it gives maps at all, and whether their background is a map.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.data.further import View, tensors
from wsss.data.transforms import Geometry, normalise
from wsss.errors import UserError
from wsss.io.cam_forms import NORMS
from wsss.methods.base import CamOut, Method, required_part

SIDE = 64  # pixels of the image that `probe` shows
TEMPERATURE = 0.1  # of scores in [0, 1], which are no logits
MAPS = frozenset({"maps"})


def native_logits(base: Method, out: CamOut) -> Tensor:
    """(B, C+1, h, w): the base's own background map, be it one that `pixel_logits` leaves out (SEAM's)."""
    maps = required_part(out.maps, "maps")
    return maps if maps.shape[1] == base.num_classes + 1 else base.pixel_logits(out)


def constant_logits(base: Method, out: CamOut) -> Tensor:
    """Background logit 0: with one present class its probability is sigmoid(z), as the classification loss has it."""
    classes = base.pixel_logits(out)[:, 1:]
    return torch.cat([torch.zeros_like(classes[:, :1]), classes], dim=1)


def score_logits(base: Method, out: CamOut) -> Tensor:
    """Class maps cut at 0 and divided by their maximum, background 1 - the largest, as softmax(scores / TEMPERATURE).

    The largest is that of all classes, as in SIPE's own maps: a class that the image does not have takes from the background too.
    """
    maps = base.pixel_logits(out)[:, 1:].float().relu()
    scores = maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-6)
    return torch.cat([1 - scores.amax(1, keepdim=True), scores], dim=1) / TEMPERATURE


ADAPTERS = {"native": native_logits, "const0": constant_logits, "prob": score_logits}


def seed_logits(base: Method, batch: Mapping) -> Tensor:
    """(B, C+1, h, w) float32, background first: what the base's seed is cut from, of the batch's images and their mirror images.

    Scores in [0, 1] over TEMPERATURE. The background is the base's own map, or 1 - the largest of the present classes; of a base
    whose seed is a softmax of logits (AMN), the logits themselves.
    """
    image, y = batch["image"], batch["y"]
    maps = base.seed_maps(torch.cat([image, image.flip(-1)]), y).float()
    if base.spec.form == "softmax":
        return maps
    scores = NORMS[base.spec.norm](maps)
    if not base.spec.bg_map:
        highest = (scores * y[..., None, None]).amax(1, keepdim=True)
        scores = torch.cat([1 - highest, scores], dim=1)
    return scores / TEMPERATURE


def refuse_other_grid(base: Method, seen: "Probe") -> None:
    """UserError where the base's seed maps lie on another grid than the maps of single cells, which are to be taught by them."""
    with _left_as_it_was(base):
        grid = tuple(seed_logits(base, _batch(base)).shape[-2:])
    if grid != seen.grid:
        raise UserError(
            f"wrap_options: teacher_map seed: the seed maps of net {type(base).__name__} are {grid} where its maps of cells are {seen.grid}; set teacher_map: cells"
        )


class Probe(NamedTuple):
    """What a base gives for one image of noise."""

    has_background: bool  # the maps hold one
    background_is_used: bool  # `pixel_logits` gives one that is no constant 0
    trunk_ends_in_a_map: bool
    grid: tuple[int, ...]  # (h, w) of the maps


def probe(base: Method, wrapper: str) -> Probe:
    """Look at one image of noise; the generator's state and the network are as before.

    Raises:
        UserError: the base has no maps of single cells, or not those the contract asks for.
    """
    name = type(base).__name__
    batch, taps = _batch(base), []
    hook = base.backbone.register_forward_hook(lambda module, inputs, output: taps.append(last_of(output)))
    try:
        with _left_as_it_was(base):
            out = base(batch, MAPS)
            if out.maps is None:
                raise UserError(f"wrap: {wrapper} learns from maps of single cells, and net {name} gives none; wrap another net")
            logits = base.pixel_logits(out)
    finally:
        hook.remove()
    wanted = 1, base.num_classes + 1
    if logits.dim() != 4 or tuple(logits.shape[:2]) != wanted:
        raise UserError(f"wrap: {wrapper}: pixel_logits of net {name} gives {tuple(logits.shape)} instead of {(*wanted, 'h', 'w')}; mend the net")
    return Probe(
        has_background=out.maps.shape[1] == base.num_classes + 1,
        background_is_used=bool((logits[:, 0] != 0).any()),
        trunk_ends_in_a_map=bool(taps) and taps[-1].dim() == 4,
        grid=tuple(logits.shape[-2:]),
    )


@contextmanager
def _left_as_it_was(base: Method) -> Iterator[None]:
    """For a pass that leaves no trace: in eval mode, without gradient; running statistics and the generator's state stay."""
    training = base.training
    base.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        base.train(training)


def last_of(output) -> Tensor:
    """The last of the outputs of a trunk."""
    return output[-1] if isinstance(output, list | tuple) else output


def _batch(base: Method) -> Mapping:
    """One image of noise that has all classes, with what the base adds to a sample."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    view = View(photo, Geometry((SIDE, SIDE), False, SIDE, (0, 0)), normalise(photo))
    make = base.further_arrays()
    further = {key: value[None] for key, value in tensors(make(view, rng) if make else {}).items()}
    device = next(base.parameters()).device
    batch = {"image": torch.from_numpy(view.crop)[None], "y": torch.ones(1, base.num_classes), **further}
    return {"id": ["probe"], **{key: value.to(device) for key, value in batch.items()}}


def cells_inside(valid: Tensor, size: Sequence[int]) -> Tensor:
    """(B, 1, S, S), 1 where the image is -> (B, h, w) bool: cells that lie in it by more than half."""
    return F.adaptive_avg_pool2d(valid.float(), (size[0], size[1]))[:, 0] > 0.5
