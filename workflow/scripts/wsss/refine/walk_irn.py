"""IRN in the stage `pseudo_masks`: the CAM walks inside the boundaries that the network sees."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from wsss.data.manifest import Record
from wsss.io.cams import CamFolder
from wsss.refine.boundary_net import IrnNet
from wsss.refine.random_walk import irn_scores, irn_semantic
from wsss.sections.background import Rule

WALK = ("power", "beta", "exp_times", "radius", "normalise")


def network(net_settings: Mapping[str, Any], walk_settings: Mapping[str, Any]) -> IrnNet:
    """IRN with random weights, padding images as the walk's section says."""
    return IrnNet(**net_settings, pad_to=walk_settings["pad_to"])


def run_network(network: IrnNet, image: torch.Tensor) -> torch.Tensor:
    """(h, w) boundary probabilities of (3, H, W), from the image and its mirror image."""
    views = torch.stack([image, image.flip(-1)]).contiguous(memory_format=torch.channels_last)
    return network.edge_maps(views)[0]


def mask(
    cams: CamFolder, record: Record, size_hw: tuple[int, int], walk_settings: Mapping[str, Any], bg: Rule, network_output: Callable[[], torch.Tensor]
) -> np.ndarray:
    """(H, W) uint8: the CAM on the stride-4 grid, walked inside the boundaries."""
    cam, bg_map = cams.both_on_grid(record, size_hw)
    edge = network_output() if len(cam) else np.zeros(cam.shape[1:], np.float32)
    options = {name: walk_settings[name] for name in WALK}
    return irn_semantic(cam, edge, size_hw, record.labels, bg, bg_map, **options)


def scores(
    cams: CamFolder, record: Record, size_hw: tuple[int, int], walk_settings: Mapping[str, Any], network_output: Callable[[], torch.Tensor]
) -> np.ndarray:
    """(K, H, W) float32 in [0, 1]: what `mask` cuts, of an image that has labels."""
    cam = cams.on_grid(record, size_hw)
    return irn_scores(cam, network_output(), size_hw, **{name: walk_settings[name] for name in WALK})
