"""Networks: backbones, per-pixel heads, IRN's boundary network, AffinityNet, DeepLab, pretrained weights."""
