"""Every method on a small backbone, and a batch for it."""

import numpy as np
import torch
from wsss import methods
from wsss.data.further import View
from wsss.data.further import tensors as tensors_of
from wsss.data.transforms import Geometry, normalise
from wsss.methods import METHODS
from wsss.recipes.net_options import option_names

SCRATCH = {"bn": "train", "freeze": "none"}
SMALL_VIT = {"patch": 16, "dim": 24, "depth": 4, "heads": 2, "grid": 4}  # for nets of a token for each class
CONVOLUTIONAL = sorted(name for name in METHODS if "patch" not in option_names(name))  # as the workflow tells them apart


def build(name, classes=4, options=None, backbone="resnet_small", seed=0):
    torch.manual_seed(seed)
    if name not in CONVOLUTIONAL:
        known = {key: value for key, value in (options or {}).items() if key in option_names(name)}  # no bn, no freeze
        backbone, options = "vit", {**SMALL_VIT, **known}
    return methods.get(name)(classes, backbone, options or {})


def make_batch(net, classes=4, size=64, n=2, y=None, label=None):
    g = torch.Generator().manual_seed(3)
    if y is None:
        y = torch.zeros(n, classes)
        y[torch.arange(n), torch.arange(n) % classes] = 1
    if label is None:
        label = torch.randint(0, classes + 1, (n, size, size), generator=g, dtype=torch.uint8)
        label[:, :8] = 255
    samples = [further_of(net, size, seed) for seed in range(n)]
    return {
        "image": torch.stack([image for image, _ in samples]),
        "y": y,
        "id": [f"image_{i}" for i in range(n)],
        "label": label,
        "saliency": torch.rand(n, 1, size, size, generator=g),
        **torch.utils.data.default_collate([further for _, further in samples]),
    }


def further_of(net, size, seed):
    """An image, and what the method adds to its sample, as the training set does."""
    photo = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    view = View(photo, Geometry((size, size), False, size, (0, 0)), normalise(photo))
    make = net.further_arrays()
    return torch.from_numpy(view.crop), tensors_of(make(view, np.random.default_rng(seed)) if make else {})
