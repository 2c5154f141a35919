"""What a segmentation network is to the stages that train it and predict with it."""

from collections.abc import Mapping

from torch import Tensor, nn


class SegmentationNet(nn.Module):
    """A network of `wsss.nets.segmenters`, built from (num_classes, backbone, options); classes count without background."""

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load ImageNet weights strictly. Raises UserError on a mismatch."""
        raise NotImplementedError

    def param_groups(self) -> list[dict]:
        """As of a method: parameters with lr_scale and weight_decay."""
        raise NotImplementedError

    def loss(self, batch: Mapping, step: int) -> dict[str, Tensor]:
        """Scalars by name with "total" to minimise; batch: image (B, 3, S, S), label (B, S, S), 255 = ignore."""
        raise NotImplementedError

    def predict_logits(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) -> logits (B, C+1, h, w), background first."""
        raise NotImplementedError
