"""MCTformer (Xu et al., CVPR 2022): a transformer with a token for each class, whose attention to the patches is its map.

V1 learns from the class tokens alone; V2 also from a map of the patch tokens, which its attention maps are multiplied by.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss.errors import UserError
from wsss.methods.base import (
    CamOut,
    Method,
    Spec,
    flip_pair_sum,
    group,
    multilabel_soft_margin,
    required_part,
)
from wsss.methods.options.mctformer import MCTformerV1Options, MCTformerV2Options, heads_fault
from wsss.nets.catalog import TRANSFORMERS
from wsss.nets.vit import ClassTokenViT
from wsss.sections.section import defaults_of


class MCTformerV1(Method):
    """A class's logit is the mean of its output token (no weights); its map the token's attention to the patches.

    Options: patch, dim, depth, heads, grid of the transformer (DeiT-S by default), drop_path (of the last block, rising from
    0) and position_offset, as in `ClassTokenViT`; map_layers (of whose attention maps are the sum, from the last); patch_affinity
    (maps are spread by the patches' attention to each other, summed over all layers).
    """

    defaults = defaults_of(MCTformerV1Options)
    loss_want = frozenset({"logits"})
    backbone: ClassTokenViT

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        if backbone not in TRANSFORMERS:
            raise UserError(f"net: {type(self).__name__} has a token for each class; set backbone: {' or '.join(TRANSFORMERS)}")
        if fault := heads_fault(self.options["dim"], self.options["heads"]):
            raise UserError(f"net_options: {fault}")
        names = ("patch", "dim", "depth", "heads", "grid", "drop_path", "position_offset")
        self.backbone = ClassTokenViT(num_classes, **{name: self.options[name] for name in names})

    @classmethod
    def spec_for(cls, options=None):
        return Spec(stride={**cls.defaults, **(options or {})}["patch"], geometry="stretch", norm="full_range")

    def load_backbone(self, state):
        """DeiT's weights; the class token and its position are repeated for every class."""
        self.backbone.load_deit(state)

    def param_groups(self):
        """No weight decay for vectors (norms, biases), class tokens and positions."""
        tokens = {id(self.backbone.cls_token), id(self.backbone.pos_embed)}
        learns = [p for p in self.parameters() if p.requires_grad]
        plain = [p for p in learns if p.ndim == 1 or id(p) in tokens]
        decayed = [p for p in learns if not (p.ndim == 1 or id(p) in tokens)]
        return [group(plain, weight_decay=0.0), group(decayed)]

    def forward(self, batch, want=frozenset({"logits"})):
        """logits (B, C) of the class tokens; maps (B, C, h, w); attention (layers, B, C + P, C + P), float32."""
        tokens, attention, patches = self.backbone(batch["image"], attention=self.needs_attention(want))
        out = CamOut(attention=attention if "attention" in want else None)
        if "logits" in want:
            out.logits = tokens.float().mean(-1)
        self.add_maps(out, want, attention, patches)
        return out

    def needs_attention(self, want: frozenset[str]) -> bool:
        """Whether what is asked for is made of attention."""
        return bool(want & {"attention", "maps"})

    def add_maps(self, out: CamOut, want: frozenset[str], attention: Tensor | None, patches: Tensor) -> None:
        """What is made of the patch tokens (B, d, h, w); here the maps are the classes' attention."""
        if "maps" in want:
            out.maps = class_attention(required_part(attention, "attention"), self.num_classes, self.options["map_layers"], patches.shape[-2:])

    def loss(self, batch, out, step):
        return {"total": multilabel_soft_margin(out.logits, batch["y"])}

    def raw_maps(self, out: CamOut) -> Tensor:
        """(B, C, h, w) float32: the maps before they are spread."""
        return required_part(out.maps, "maps")

    @torch.no_grad()
    def seed_maps(self, views, y):
        """Maps on the patches' grid, spread by their affinity; flips are summed."""
        out = self({"image": views}, frozenset({"maps", "attention"}))
        maps = self.raw_maps(out)
        return flip_pair_sum(spread(maps, out.attention) if self.options["patch_affinity"] else maps)

    def pixel_logits(self, out):
        """There are none.

        Raises:
            UserError: always; says what to take.
        """
        raise UserError("net: mctformer_v1 has attention maps, no logits of single cells, which a wrapper learns from; take net: mctformer_v2")


class MCTformerV2(MCTformerV1):
    """The same, and a 3x3 convolution of the patch tokens: its maps are class activation maps, their means logits as well.

    Options: those of V1; map (fused: the classes' attention times the patch maps, cut at 0; patch: those alone; attention:
    as in V1).
    """

    defaults = defaults_of(MCTformerV2Options)
    loss_want = frozenset({"logits", "features"})

    def __init__(self, num_classes, backbone, options=None):
        super().__init__(num_classes, backbone, options)
        self.classifier = nn.Conv2d(self.options["dim"], num_classes, 3, padding=1)

    def needs_attention(self, want):
        return "attention" in want

    def add_maps(self, out, want, attention, patches):
        """maps (B, C, h, w): the patch maps, raw; features: `patch_logits` (B, C), their means over space."""
        if not want & {"maps", "features"}:
            return
        maps = self.classifier(patches)
        if "maps" in want:
            out.maps = maps
        if "features" in want:
            out.features = {"patch_logits": maps.float().mean((-2, -1))}

    def loss(self, batch, out, step):
        """Class tokens and patch maps, 1 : 1."""
        cls = multilabel_soft_margin(out.logits, batch["y"])
        patch = multilabel_soft_margin(out.features["patch_logits"], batch["y"])
        return {"total": cls + patch, "cls": cls, "patch": patch}

    def raw_maps(self, out):
        kind, patch = self.options["map"], out.maps.float().relu()
        if kind == "patch":
            return patch
        attention = class_attention(out.attention, self.num_classes, self.options["map_layers"], patch.shape[-2:])
        return attention if kind == "attention" else attention * patch

    def pixel_logits(self, out):
        """The patch maps beside a constant background logit 0."""
        return Method.pixel_logits(self, out)


def class_attention(attention: Tensor, classes: int, layers: int, size: Sequence[int]) -> Tensor:
    """(layers, B, T, T) -> (B, C, h, w): attention of the class tokens to the patches, summed over the last `layers`."""
    return attention[-layers:, :, :classes, classes:].sum(0).unflatten(-1, tuple(size))


def spread(maps: Tensor, attention: Tensor) -> Tensor:
    """Each patch takes what the patches it attends to have, maps (B, C, h, w).

    The patches' attention to each other, summed over all layers, is not brought to rows of sum 1 again.
    """
    classes = attention.shape[-1] - maps.shape[-2] * maps.shape[-1]
    affinity = attention[:, :, classes:, classes:].sum(0)
    with torch.autocast(maps.device.type, enabled=False):
        return (maps.flatten(2) @ affinity.transpose(1, 2)).unflatten(2, maps.shape[-2:])
