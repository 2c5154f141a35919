"""Networks: backbones, per-pixel heads, DeepLab-V2, pretrained weights."""
