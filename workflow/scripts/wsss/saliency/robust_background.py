"""Saliency Optimization from Robust Background Detection (Zhu, Liang, Wei, Sun, CVPR 2014); no training, no download.

A region is background where it touches the image border along much of its extent (boundary connectivity,
section 3), salient where it stands out against such regions (section 4); a quadratic cost then makes both
agree, and alike neighbours with each other (section 5). Constants are the paper's. Ours: a last sharpening step,
since EPS learns from the values themselves; it keeps their order, and 0, 0.5 and 1.

Sums are taken without BLAS, so that a map does not depend on the number of threads.

N: superpixels of an image. `lab` (N, 3) mean colours, `centres` (N, 2) mean (y, x) in [0, 1], `border` (N,)
bool: touches the image border, `touching` (N, N) bool symmetric: share a pixel edge.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path
from scipy.sparse.linalg import spsolve
from skimage.color import rgb2lab
from skimage.segmentation import slic

SIGMA_COLOUR = 10.0  # sigma_clr, in CIELAB
SIGMA_CONNECTIVITY = 1.0  # sigma_bndCon
SIGMA_SPACE = 0.25  # sigma_spa, of positions in [0, 1]
MU = 0.1  # least smoothness between neighbours
COMPACTNESS = 20.0  # of SLIC: shape against colour; at less, texture tears superpixels apart
SHARPNESS = 10.0  # of the last step; MB+ (Zhang et al., ICCV 2015) ends with the same sigmoid


def robust_background(image: np.ndarray, superpixels: int = 250, long_side: int = 400) -> np.ndarray:
    """Saliency (H, W) uint8, 255 = salient, of (H, W, 3) uint8 RGB of any size.

    Args:
        superpixels: regions, about.
        long_side: a larger image is worked on at this long side, so time and memory are bounded.
    """
    small = shrink(image, long_side)
    labels = segments(small, superpixels)
    lab, centres, border, touching = graph(small, labels)
    values = np.rint(255 * sharpen(saliency(lab, centres, border, touching))).astype(np.uint8)[labels]
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))


def shrink(image: np.ndarray, long_side: int) -> np.ndarray:
    """The image with its long side at most `long_side`."""
    height, width = image.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def segments(image: np.ndarray, superpixels: int) -> np.ndarray:
    """SLIC superpixels: (H, W) int, numbered 0 to N - 1 without a gap."""
    wanted = min(superpixels, image.shape[0] * image.shape[1])
    found = slic(image, n_segments=wanted, compactness=COMPACTNESS, start_label=0, channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape)


def graph(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`lab`, `centres`, `border`, `touching` of the superpixels (see above)."""
    height, width = labels.shape
    flat = labels.ravel()
    count = np.bincount(flat)
    rows, columns = np.divmod(np.arange(flat.size), width)
    places = [(rows + 0.5) / height, (columns + 0.5) / width]
    lab = _means(rgb2lab(image).reshape(-1, 3).T, flat, count)
    touching = np.zeros((len(count), len(count)), bool)
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        touching[a, b] = touching[b, a] = True
    np.fill_diagonal(touching, False)
    border = np.zeros(len(count), bool)
    border[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    return lab, _means(places, flat, count), border, touching


def _means(channels: Iterable[np.ndarray], flat: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(flat, channel) for channel in channels], axis=1) / count[:, None]


def saliency(lab: np.ndarray, centres: np.ndarray, border: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: the paper's method on the graph."""
    colour = distances(lab)
    background = background_probability(boundary_connectivity(colour, border, touching))
    foreground = background_weighted_contrast(colour, distances(centres), background)
    return optimise(background, foreground, colour, touching)


def distances(points: np.ndarray) -> np.ndarray:
    """(N, d) -> (N, N) Euclidean."""
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


def geodesic(colour: np.ndarray, border: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """(N, N): least sum of colour distances along a path; all superpixels at the border count as neighbours."""
    linked = touching | (border[:, None] & border[None])
    a, b = np.nonzero(linked)
    weights = np.maximum(colour[a, b], 1e-9)  # a sparse graph has no edges of weight zero
    return shortest_path(csr_array((weights, (a, b)), shape=colour.shape), method="D", directed=False)


def boundary_connectivity(colour: np.ndarray, border: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """(N,): soft length along the border over the root of the soft area."""
    alike = np.exp(-(geodesic(colour, border, touching) ** 2) / (2 * SIGMA_COLOUR**2))
    return alike[:, border].sum(1) / np.sqrt(alike.sum(1))


def background_probability(connectivity: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1)."""
    return 1 - np.exp(-(connectivity**2) / (2 * SIGMA_CONNECTIVITY**2))


def background_weighted_contrast(colour: np.ndarray, apart: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: colour contrast to what is near and background, divided by its maximum."""
    near = np.exp(-(apart**2) / (2 * SIGMA_SPACE**2))
    contrast = (colour * near * background).sum(1)
    return contrast / max(contrast.max(), 1e-9)


def optimise(background: np.ndarray, foreground: np.ndarray, colour: np.ndarray, touching: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: minimises sum bg s^2 + sum fg (s - 1)^2 + sum over neighbours w_ij (s_i - s_j)^2."""
    a, b = np.nonzero(touching)
    smooth = csr_array((np.exp(-(colour[a, b] ** 2) / (2 * SIGMA_COLOUR**2)) + MU, (a, b)), shape=colour.shape)
    diagonal = np.arange(len(background))
    own = csr_array((background + foreground + smooth.sum(1), (diagonal, diagonal)), shape=colour.shape)
    return np.clip(spsolve((own - smooth).tocsc(), foreground), 0, 1)


def sharpen(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] pushed away from 0.5 by a sigmoid that still reaches 0 and 1."""
    curve = 1 / (1 + np.exp(-SHARPNESS * (values - 0.5)))
    lowest = 1 / (1 + np.exp(SHARPNESS / 2))
    return (curve - lowest) / (1 - 2 * lowest)
