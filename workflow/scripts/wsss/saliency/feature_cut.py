"""Salient objects from the features of an ImageNet network: no labels, no training.

Two cues, averaged. **Cut**: cells whose features point the same way belong together, and a normalised cut (Shi and
Malik, PAMI 2000) of their thresholded cosine similarities parts the photo in two, as TokenCut does with a
self-supervised transformer (Wang et al., CVPR 2022, equations 1 to 6). The object is the part that lies less along
the photo's border. **Strength**: the network answers strongly where things are (SCDA: Wei, Luo, Wu and Zhou, IEEE TIP
2017, which sums activations; here it is their length). Ours: similarities averaged over the last two stages of a
ResNet-18, cuts averaged over three thresholds, and a last sharpening, since EPS learns from the values themselves. The
thresholds were chosen with masks of 110 photos of voc_animals; docs/saliency.md has the figures, on other photos too.

h, w: the grid of stride 16. C3, C4: channels of the last two stages.
"""

import functools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.data.transforms import normalise, resize_image
from wsss.nets.backbones import build_backbone, load_pretrained
from wsss.nets.fused import ready_to_infer
from wsss.nets.weights import load
from wsss.saliency.robust_background import sharpen
from wsss.sections.saliency import FEATURE_CUT_BACKBONE

THRESHOLDS = (0.40, 0.45, 0.50)  # of the cosine similarity, from which on two cells belong together
APART = 1e-5  # the weight between cells that do not, so that the graph stays in one piece
COARSE = 0.5  # the second scale of the strength: large things answer there


@functools.cache
def load_network(path: Path) -> nn.Module:
    """The trunk with the weights of a file that the stage `weights` wrote, ready to infer on the CPU; once a process."""
    network = build_backbone(FEATURE_CUT_BACKBONE)
    load_pretrained(network, load(path, FEATURE_CUT_BACKBONE), str(path))
    return ready_to_infer(network, torch.device("cpu"))


@torch.inference_mode()
def feature_cut(image: np.ndarray, weights: Path, long_side: int = 500) -> np.ndarray:
    """Saliency (H, W) uint8, 255 = salient, of (H, W, 3) uint8 RGB of any size.

    Args:
        weights: of the network, a file of the stage `weights`.
        long_side: every image is worked on at this long side, larger and smaller ones.
    """
    network = load_network(weights)
    third, fourth = taps(network, image, long_side)
    coarse = taps(network, image, round(COARSE * long_side))[1]
    grid = stretched(cut(third, fourth) + strength(fourth, coarse))
    height, width = image.shape[:2]
    values = F.interpolate(grid[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    return np.rint(255 * sharpen(values.double().numpy())).astype(np.uint8)


def taps(network: nn.Module, image: np.ndarray, long_side: int) -> tuple[Tensor, Tensor]:
    """Features (C3, h, w) and (C4, h, w) of the image at this size, each the mean of the image's and its mirror's."""
    height, width = image.shape[:2]
    factor = long_side / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    view = torch.from_numpy(normalise(resize_image(image, size)))
    found = network(torch.stack([view, view.flip(-1)]).contiguous(memory_format=torch.channels_last))
    third, fourth = ((tap[0] + tap[1].flip(-1)) / 2 for tap in found[3:])
    return third, fourth


def strength(fourth: Tensor, coarse: Tensor) -> Tensor:
    """(h, w) in [0, 1]: length of the last stage's features, summed over the two scales."""
    lengths = [tap.norm(dim=0)[None, None] for tap in (fourth, coarse)]
    second = F.interpolate(lengths[1], fourth.shape[1:], mode="bilinear", align_corners=False)
    return stretched((lengths[0] + second)[0, 0])


def cut(third: Tensor, fourth: Tensor) -> Tensor:
    """(h, w) in [0, 1]: the mean over THRESHOLDS of the normalised cut."""
    directions = [F.normalize(tap.flatten(1), dim=0) for tap in (third, fourth)]
    alike = torch.stack([one.T @ one for one in directions]).mean(0).double()
    parts = [stretched(object_side(parted(alike, threshold).view(fourth.shape[1:]))) for threshold in THRESHOLDS]
    return torch.stack(parts).mean(0).float()


def parted(alike: Tensor, threshold: float) -> Tensor:
    """(n,) float64: the relaxed normalised cut of n cells, whose parts differ in value; zeros where there is nothing to part.

    It is the second smallest generalised eigenvector of (D - W) v = lambda D v, found as the second largest of
    D^-1/2 W D^-1/2.

    Args:
        alike: (n, n) float64, symmetric: cosine similarities.
        threshold: from which on two cells belong together.
    """
    if len(alike) < 2 or alike.min() > threshold:
        return alike.new_zeros(len(alike))
    weights = torch.full_like(alike, APART).masked_fill_(alike > threshold, 1.0)
    root = weights.sum(1).sqrt()
    return torch.linalg.eigh(weights / torch.outer(root, root)).eigenvectors[:, -2] / root


def object_side(values: Tensor) -> Tensor:
    """(h, w) with the object's side up: the side of which less lies along the border."""
    border = torch.cat([values[0], values[-1], values[:, 0], values[:, -1]])
    return values if border.mean() <= values.mean() else -values


def stretched(values: Tensor) -> Tensor:
    """From the least value at 0 to the largest at 1; zeros where all are the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)
