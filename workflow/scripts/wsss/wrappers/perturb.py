"""Further perturbations of FSAE's strong branch, all off by default: nothing published says that it uses them.

They are drawn on the device from torch's generator, which the training loop seeds for every step.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.wrappers.expansion import Pseudo

AREA = (0.1, 0.5)  # of a CutMix box, share of the map


def hide_patches(image: Tensor, share: float, side: int) -> Tensor:
    """(B, 3, H, W) -> the same with about `share` of its patches of `side` pixels at 0, the mean colour."""
    height, width = image.shape[-2:]
    shape = image.shape[0], 1, -(-height // side), -(-width // side)
    shown = (torch.rand(shape, device=image.device) >= share).to(image.dtype)
    return image * shown.repeat_interleave(side, 2)[:, :, :height].repeat_interleave(side, 3)[..., :width]


@contextmanager
def feature_dropout(trunk: nn.Module, share: float):
    """Inside, whole channels of the trunk's last map are dropped."""

    def drop(module: nn.Module, inputs, output):
        if isinstance(output, list | tuple):
            return [*output[:-1], F.dropout2d(output[-1], share)]
        return F.dropout2d(output, share)

    hook = trunk.register_forward_hook(drop)
    try:
        yield
    finally:
        hook.remove()


@dataclass(frozen=True)
class Mix:
    """CutMix (Yun et al., ICCV 2019): a box of cells of each image comes from the image before it in the batch."""

    box: Tensor  # (B, h, w) bool

    @classmethod
    def draw(cls, shape: Sequence[int], device: torch.device) -> "Mix":
        """A box for each of B maps of h x w cells."""
        images, height, width = shape
        drawn = torch.rand(3, images, 1, 1, device=device)
        side = (AREA[0] + (AREA[1] - AREA[0]) * drawn[0]).sqrt()
        inside = []
        for axis, cells in ((0, height), (1, width)):
            start = drawn[1 + axis] * (1 - side) * cells
            place = torch.arange(cells, device=device).view((-1, 1) if axis == 0 else (1, -1))
            inside.append((place >= start) & (place < start + side * cells))
        return cls(inside[0] & inside[1])

    def image(self, image: Tensor) -> Tensor:
        """(B, 3, H, W), mixed; a pixel goes with the cell that lies on it."""
        box = F.interpolate(self.box[:, None].float(), size=image.shape[-2:], mode="nearest") > 0
        return torch.where(box, image.roll(1, 0), image)

    def classes(self, y: Tensor) -> Tensor:
        """(B, C): those of both images."""
        return torch.maximum(y, y.roll(1, 0))

    def pseudo(self, pseudo: Pseudo) -> Pseudo:
        """Labels and masks, mixed alike."""
        parts = {name: getattr(pseudo, name) for name in ("label", "confident", "foreground", "ring")}
        return replace(pseudo, **{name: torch.where(self.box, v.roll(1, 0), v) for name, v in parts.items()})
