"""The contract between the engine and a method, and the small functions methods share.

docs/method_contract.md shows how each published method maps onto these hooks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.data.further import FurtherArrays
from wsss.errors import UserError
from wsss.nets.backbones import load_pretrained

NEEDS = frozenset({"saliency", "ir_labels"})  # what the workflow makes for a training beforehand


@dataclass(frozen=True)
class Spec:
    """What the engine must know about a method; it never asks for the class name."""

    stride: int  # of the maps, in input pixels
    bg_map: bool = False  # maps of `seed_maps` are C+1, that of the background first; written as a plain True
    needs: frozenset[str] = frozenset()  # of NEEDS, written as a plain frozenset({...}); all else a batch holds is from `further_arrays`
    aux: frozenset[str] = frozenset()  # per-image artefacts that `stored` needs, such as ir_labels
    image_logits: bool = True  # forward gives logits of the whole image
    geometry: str = "pad16"  # how a map of one scale lies on the image (wsss.io.cam_forms.GEOMETRIES)
    form: str = "sum"  # how readers put scales together (FORMS there)
    norm: str = "max"  # what brings the whole to [0, 1] (NORMS there)


@dataclass
class CamOut:
    """One forward pass: only what was asked for is filled in.

    logits (B, C) image-level; maps (B, C or C+1, h, w) per-pixel logits, background first where native;
    features by name; attention (layers, B, tokens, tokens); views: outputs of further views of the batch, by the
    method's own names for them ("second").
    """

    logits: Tensor | None = None
    maps: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    attention: Tensor | None = None
    views: dict[str, "CamOut"] = field(default_factory=dict)


def require_output(out: CamOut, y: Tensor) -> CamOut:
    """What forward gave, where it is of the contract's form: a CamOut, its logits of y's shape (B, C).

    Raises:
        UserError: it is not; a loss would broadcast other shapes and learn something else.
    """
    if not isinstance(out, CamOut):
        raise UserError(f"net: forward gave a {type(out).__name__}; it must give a CamOut (docs/method_contract.md)")
    if out.logits is not None and out.logits.shape != y.shape:
        raise UserError(f"net: forward gave logits of shape {tuple(out.logits.shape)}; for these labels it must be (B, C) = {tuple(y.shape)}")
    return out


def require_maps(maps: Tensor, y: Tensor) -> Tensor:
    """What `seed_maps` gave for the images of y (B, C), where it is of the contract's form: (B, n, h, w).

    Raises:
        UserError: it is not.
    """
    if not torch.is_tensor(maps):
        raise UserError(f"net: seed_maps gave a {type(maps).__name__}; it must give a tensor (B, n, h, w)")
    if maps.dim() != 4 or len(maps) != len(y) or 0 in maps.shape:
        raise UserError(f"net: seed_maps gave maps of shape {tuple(maps.shape)}; for {len(y)} images, each with its mirror image, it must be ({len(y)}, n, h, w)")
    return maps


def require_signs(rows: Sequence[Tensor], spec: Spec) -> None:
    """See that maps (K, h, w), one a scale, are at least 0 for the norm max. Of values that are not finite `write_cam` speaks.

    Raises:
        UserError: they are not; readers would divide negative maps by their negative maximum, which turns them over.
    """
    if spec.norm != "max":
        return
    low = min((one.amin().item() for one in rows if one.numel()), default=0.0)
    if -math.inf < low < 0:  # a NaN is neither
        raise UserError(
            f"net: seed_maps gave values below 0 ({low:.3g}), and the norm max, Spec's default, divides by the largest; "
            'cut them at 0 (.relu()), or let spec_for say norm="cut_min_max" or norm="min_max"'
        )


class Telling(dict):
    """A dict that explains a missing key in `words`, which say {key}."""

    def __init__(self, content: Mapping, words: str) -> None:
        super().__init__(content)
        self.words = words

    def __missing__(self, key: Any) -> Any:
        raise UserError(self.words.replace("{key}", repr(key)))


def required_part(value: Tensor | None, name: str) -> Tensor:
    """The part `name` of an output that was asked for it. Raises UserError where forward did not fill it."""
    if value is None:
        raise UserError(f"net: forward gave no {name}, though `want` had it; let it fill CamOut.{name}")
    return value


def whole_options(defaults: Mapping, options: Mapping | None, where: str) -> dict[str, Any]:
    """The values of all options of a method or wrapper: `options` laid over its defaults.

    Raises:
        UserError: an option it does not have.
    """
    if unknown := sorted(set(options or {}) - set(defaults)):
        raise UserError(f"{where} has no option {', '.join(unknown)}; it knows {', '.join(sorted(defaults))}")
    return {**defaults, **(options or {})}


class Method(nn.Module):
    """One family of networks. `num_classes` counts foreground classes (C); background is index 0.

    A training batch is a dict: image (B, 3, S, S) float32 normalised, y (B, C) float32 multi-hot, id list of
    str; where spec.needs says so label (B, S, S) uint8 with 255 = ignore (ir_labels) and saliency (B, 1, S, S)
    float32 in [0, 1]; and the method's own `further_arrays`, by their names.
    """

    backbone: nn.Module
    defaults: Mapping = {}  # options the method reads; a recipe that gives another key is refused
    loss_want: frozenset[str] = frozenset({"logits"})  # what `loss` needs from forward

    def __init__(self, num_classes: int, backbone: str, options: Mapping | None = None):
        """Build the network with random weights drawn from torch's global generator (the caller seeds it).

        Raises:
            UserError: an option the method does not have, or the Spec asks for what the engine does not do.
        """
        super().__init__()
        self.num_classes = num_classes
        self.options = whole_options(self.defaults, options, f"net_options: {type(self).__name__}")
        self._refuse_unsupported()

    def _refuse_unsupported(self) -> None:
        if self.spec.geometry == "pad16" and self.spec.stride != 16:
            raise UserError(f"net: {type(self).__name__}: geometry pad16, the default, is that of maps of stride 16, and these have {self.spec.stride}; let spec_for say geometry=\"stretch\"")
        if self.spec.bg_map and self.spec.form != "sum":
            raise UserError(f"net: {type(self).__name__} has bg_map and form {self.spec.form}; a background map goes with form sum")
        if unknown := sorted(self.spec.needs - NEEDS):
            raise UserError(
                f"net: {type(self).__name__} needs {', '.join(unknown)}, which the workflow does not make; spec.needs takes "
                f"{', '.join(sorted(NEEDS))}; let further_arrays make all else of the photo"
            )

    @classmethod
    def spec_for(cls, options: Mapping | None = None) -> Spec:
        """The Spec under these options, known before any network is built."""
        raise NotImplementedError

    @property
    def spec(self) -> Spec:
        return self.spec_for(self.options)

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained backbone weights strictly. Raises UserError on any mismatch."""
        load_pretrained(self.backbone, state)

    def param_groups(self) -> list[dict]:
        """Trainable parameters as [{"params": list, "lr_scale": float, "weight_decay": float | None}].

        None means the optimiser's weight decay.
        """
        raise NotImplementedError

    def further_arrays(self) -> FurtherArrays | None:
        """(View, generator) -> further arrays of one training sample by name; None, the default: there are none.

        Names and shapes are the same for every sample; the batch holds them stacked. It is called in the loader's
        processes, so it holds plain values, not the network: a function of the module, its options bound by
        functools.partial. All randomness comes from the generator, so that a sample is a function of its seed.
        """
        return None

    def forward(self, batch: Mapping, want: frozenset[str] = frozenset({"logits"})) -> CamOut:
        """Compute what `want` names out of logits, maps, features, attention (and views the loss needs).

        Needs batch["image"], and batch["y"] where the network is conditioned on labels.
        """
        raise NotImplementedError

    def loss(self, batch: Mapping, out: CamOut, step: int) -> dict[str, Tensor]:
        """Scalars by name with "total" to minimise; out = self(batch, self.loss_want).

        Finite, with finite gradients, for every legal batch.
        """
        raise NotImplementedError

    def seed_maps(self, views: Tensor, y: Tensor) -> Tensor:
        """Maps of ONE scale, flips combined, un-normalised, in the method's own domain, on the network's own grid.

        views (2B, 3, H, W): B images, then the same B mirrored; y (B, C) float. Returns (B, n, h, w) float32, n = C
        (C+1 with spec.bg_map) unless `stored` takes more. All that readers do with them is linear, up to the form's last steps.
        """
        raise NotImplementedError

    def stored(
        self, maps: Sequence[Tensor], y: Tensor, size_hw: tuple[int, int], aux: Mapping
    ) -> tuple[list[Tensor], dict[str, np.ndarray]]:
        """What the CAM file of one image holds: a (K, h, w) map a scale, and what spec.form adds, by name.

        maps: of seed_maps, (n, h, w), one a scale; y (C,); size_hw of the image; aux: per-image artefacts by the
        names in spec.aux. Rows are the present classes, ascending, K = 0 allowed; with spec.bg_map the background's
        comes before them, unless there are none. By default there is no more.

        Raises:
            UserError: another number of maps than classes (and background).
        """
        expected = len(y) + self.spec.bg_map
        if wrong := [len(one) for one in maps if len(one) != expected]:
            raise UserError(
                f"net: seed_maps gave {wrong[0]} maps; for {len(y)} classes and a Spec with bg_map={self.spec.bg_map} it must be {expected}"
                f"{' (background first)' if self.spec.bg_map else ''}"
            )
        rows = present(y)
        if self.spec.bg_map and len(rows):
            rows = torch.cat([rows.new_zeros(1), rows + 1])
        return [one[rows] for one in maps], {}

    def pixel_logits(self, out: CamOut) -> Tensor:
        """(B, C+1, h, w) logits, background first, from an output that holds maps.

        Default for maps without background: constant background logit 0, so that one present class has
        probability sigmoid(z). Callers then mask absent classes with -inf.
        """
        maps = required_part(out.maps, "maps")
        if maps.shape[1] == self.num_classes + 1:
            return maps
        return torch.cat([torch.zeros_like(maps[:, :1]), maps], dim=1)

    def after_step(self, step: int) -> None:
        """Called after every optimiser step: moving averages and the like. Does nothing by default."""


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """Parameters of `modules` that take part in training."""
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def group(params: list[nn.Parameter], lr_scale: float = 1.0, weight_decay: float | None = None) -> dict:
    """One entry of param_groups."""
    return {"params": params, "lr_scale": float(lr_scale), "weight_decay": weight_decay}


def present(y: Tensor) -> Tensor:
    """y (C,) multi-hot -> indices of the present classes, ascending (K,)."""
    return torch.nonzero(y > 0).flatten()


def with_background(y: Tensor) -> Tensor:
    """y (B, C) multi-hot -> (B, C+1, 1, 1): 1 for the background, which comes first, and the present classes."""
    return torch.cat([torch.ones_like(y[:, :1]), y], dim=1)[..., None, None]


def flip_pair_sum(maps: Tensor) -> Tensor:
    """(2B, c, h, w), last B of mirrored images -> (B, c, h, w): each map plus its mirror's, un-mirrored."""
    plain, mirrored = maps.chunk(2)
    return plain + mirrored.flip(-1)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear resize (align_corners=False) of (B, c, h, w)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def multilabel_soft_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Mean over batch and classes of the binary cross-entropy; logits, y (B, C)."""
    return F.multilabel_soft_margin_loss(logits.float(), y)
