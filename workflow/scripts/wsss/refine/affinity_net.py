"""AffinityNet (Ahn and Kwak, CVPR 2018) as SEAM (CVPR 2020) uses it: features whose distance says whether two
nearby cells belong together."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.nets.backbones import STRIDES, build_backbone, load_pretrained
from wsss.refine.affinitynet import STRIDE, feature_affinity
from wsss.refine.pairs import pair_losses, pair_types, require_pairs
from wsss.refine.paths import path_index

SIDE = (64, 128, 256)  # channels taken from the last three taps
DILATIONS = (1, 2, 4)  # of a ResNet's layer2..layer4, as in DeepLab


class AffinityNet(nn.Module):
    """Backbone of output stride 8 -> features (B, 448, h, w), h = (H - 1) // 8 + 1; nothing is detached.

    Args:
        backbone: name of wsss.nets.backbones; published with resnet38d.
        radius: of the training pairs, in cells.
        dilated: a ResNet's layers are dilated as in DeepLab; no effect on resnet38d.
        freeze, bn: of the backbone, as in `build_backbone`.
        head_lr_scale: learning rate of the four 1x1 convolutions over the backbone's.
    """

    def __init__(
        self,
        backbone: str,
        radius: float = 5,
        dilated: bool = True,
        freeze: str = "stage1",
        bn: str = "frozen",
        head_lr_scale: float = 10.0,
    ):
        super().__init__()
        self.index, self.head_lr_scale = path_index(radius), float(head_lr_scale)
        self.backbone = build_backbone(backbone, STRIDES[STRIDE], DILATIONS if dilated else (1, 1, 1), bn, freeze)
        taps = zip(self.backbone.out_channels[-3:], SIDE, strict=True)
        self.side = nn.ModuleList(nn.Conv2d(inputs, outputs, 1, bias=False) for inputs, outputs in taps)
        self.all = nn.Conv2d(sum(SIDE), sum(SIDE), 1, bias=False)
        for weight in self.side.parameters():
            nn.init.kaiming_normal_(weight)
        nn.init.xavier_uniform_(self.all.weight, gain=4)

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load ImageNet weights strictly. Raises UserError on a mismatch."""
        load_pretrained(self.backbone, state)

    def param_groups(self) -> list[dict]:
        """Backbone x1, the four new convolutions x `head_lr_scale`."""
        trunk = [p for p in self.backbone.parameters() if p.requires_grad]
        head = [*self.side.parameters(), *self.all.parameters()]
        return [
            {"params": trunk, "lr_scale": 1.0, "weight_decay": None},
            {"params": head, "lr_scale": self.head_lr_scale, "weight_decay": None},
        ]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> features (B, 448, h, w)."""
        taps = self.backbone(images)[-3:]
        sides = [F.elu(conv(tap)) for conv, tap in zip(self.side, taps, strict=True)]
        return F.elu(self.all(torch.cat(sides, dim=1)))

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """(3, H, W) normalised, any size -> (448, ceil(H / 8), ceil(W / 8)); filled up with the mean colour."""
        height, width = image.shape[-2:]
        return self(F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE))[None])[0]

    def loss(self, batch: Mapping, step: int = 0) -> dict[str, Tensor]:
        """Pair losses of a batch: image (B, 3, S, S) and label (B, s, s) as of `cell_labels`.

        Finite for every batch, also where all is ignored. Raises UserError when the crop is too small for
        the radius.
        """
        features = self(batch["image"]).float()
        require_pairs("affinitynet", features.shape[-2:], STRIDE, self.index)
        return pair_losses(feature_affinity(features, self.index), *pair_types(batch["label"], self.index))
