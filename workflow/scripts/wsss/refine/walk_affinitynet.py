"""AffinityNet in the stage `pseudo_masks`: background and CAM walk between cells of like features."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from wsss.data.manifest import Record
from wsss.io.cams import CamFolder
from wsss.refine.affinity_net import AffinityNet
from wsss.refine.affinity_walk import affinitynet_semantic
from wsss.sections.background import Rule

WALK = ("beta", "exp_times", "radius", "pairs")


def network(net_settings: Mapping[str, Any], walk_settings: Mapping[str, Any]) -> AffinityNet:
    """AffinityNet with random weights."""
    return AffinityNet(**net_settings)


def run_network(network: AffinityNet, image: torch.Tensor) -> torch.Tensor:
    """(448, h, w) features of (3, H, W)."""
    return network.features(image)


def mask(
    cams: CamFolder, record: Record, size_hw: tuple[int, int], walk_settings: Mapping[str, Any], bg: Rule, network_output: Callable[[], torch.Tensor]
) -> np.ndarray:
    """(H, W) uint8: background and CAM on stride-8 cells, walked."""
    cam, bg_map = cams.both_at(record, size_hw)
    if len(cam) == 0:
        return np.zeros(size_hw, np.uint8)
    return affinitynet_semantic(cam, network_output(), record.labels, bg, bg_map=bg_map, **{name: walk_settings[name] for name in WALK})
