"""Dense CRF (Kraehenbuehl and Koltun, 2011), with named parameter sets, by one of three backends.

`lattice` is our own (wsss.refine.lattice, compiled by numba), `torch` the same in tensors (wsss.refine.crf_torch),
`pydensecrf` the package that the field uses (wsss.refine.crf_pydensecrf). All filter on the same permutohedral
lattice, so their labels are nearly the same (docs/crf.md).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wsss.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrfParams:
    """Kernel widths in pixels (sxy) and grey levels (srgb), Potts weights (compat).

    gt_prob is how far a given hard label is trusted; None for sets that start from probabilities.
    backend: who computes it, `lattice`, `torch` or `pydensecrf`.
    device: PyTorch's name of the device that `torch` works on; the others need none.
    """

    iterations: int
    sxy_gaussian: float
    compat_gaussian: float
    sxy_bilateral: float
    srgb: float
    compat_bilateral: float
    gt_prob: float | None = None
    backend: str = "lattice"
    device: str = "cpu"


# (image, energies of each problem, parameters) -> marginals of each, (n, H*W) float32 like the energies.
Backend = Callable[[np.ndarray, Sequence[np.ndarray], CrfParams], list[np.ndarray]]

# IRN: hard labels of a CAM, both passes.
IRN_LABEL = CrfParams(
    iterations=10,
    sxy_gaussian=3,
    compat_gaussian=3,
    sxy_bilateral=50,
    srgb=5,
    compat_bilateral=10,
    gt_prob=0.7,
)
# DeepLab-v2 at test time: pos_xy 1, pos_w 3, bi_xy 67, bi_rgb 3, bi_w 4.
DEEPLAB_TEST = CrfParams(
    iterations=10, sxy_gaussian=1, compat_gaussian=3, sxy_bilateral=67, srgb=3, compat_bilateral=4
)


def label_marginals(
    image: np.ndarray,
    labels_a: np.ndarray,
    labels_b: np.ndarray,
    n_labels: int,
    params: CrfParams = IRN_LABEL,
) -> tuple[np.ndarray, np.ndarray]:
    """Refine two hard label maps of one image; building the lattice, which depends on the image only, once.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels_a, labels_b: (H, W) int in 0 .. n_labels - 1, numbered within the image, not class ids.
        n_labels: labels in the problem, background included.

    Returns:
        Two (n_labels, H, W) float32 that sum to 1, the very ones that two separate CRFs give; a map of one label
        everywhere is its own answer, with probability 1.
    """
    both = (labels_a, labels_b)
    energies = [label_energy(m, n_labels, _trust(params)) for m in both if not _is_constant(m, n_labels, params)]
    found = iter(_infer(image, energies, params))
    first, second = (
        (np.arange(n_labels)[:, None, None] == m).astype(np.float32) if _is_constant(m, n_labels, params) else next(found)
        for m in both
    )
    return first, second


def score_marginals(
    image: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, params: CrfParams
) -> tuple[np.ndarray, np.ndarray]:
    """Refine two stacks of scores of one image, building the lattice once.

    A score is taken for its label's probability as it is. The scores of a pixel need not sum to 1: a factor
    that all its labels share changes no marginal (the cut at 1e-5 apart).

    Args:
        image: (H, W, 3) uint8 RGB.
        scores_a, scores_b: (n, H, W) float32 in [0, 1], background first.

    Returns:
        Two (n, H, W) float32 that sum to 1, the very ones that two separate CRFs give.
    """
    if len(scores_a) == 1:
        return np.ones(scores_a.shape, np.float32), np.ones(scores_b.shape, np.float32)
    if np.array_equal(scores_a, scores_b):
        (first,) = _infer(image, [score_energy(scores_a)], params)
        return first, first.copy()
    first, second = _infer(image, [score_energy(scores_a), score_energy(scores_b)], params)
    return first, second


def on_device(params: CrfParams, device: str) -> CrfParams:
    """The same parameters, for the device of a job; the log says where the backend is a slow choice for it."""
    if params.backend == "torch" and device == "cpu":
        log.warning("crf.backend: torch is made for a GPU, and this job has none; crf.backend: lattice takes a tenth of the time")
    return replace(params, device=device)


def prepare(params: CrfParams) -> None:
    """Load the backend, so that processes forked from this one have it; told in the log where it takes seconds.

    Raises:
        UserError: the backend is not installed.
    """
    start = time.monotonic()
    image, labels = np.zeros((2, 2, 3), np.uint8), np.array([[0, 0], [1, 1]])
    params = replace(params, gt_prob=0.7, iterations=1)
    for other, n_labels in ((labels * 0, 2), (1 - labels, 2), (1 - labels, 3)):  # one, two and four columns
        label_marginals(image, labels, other, n_labels, params)
    seconds = time.monotonic() - start
    if seconds > 1:
        log.info("CRF: backend %s ready after %.1f s; machine code is kept for later jobs (docs/crf.md)", params.backend, seconds)


def to_labels(marginals: np.ndarray) -> np.ndarray:
    """(n, H, W) -> (H, W) uint8 row numbers of the largest."""
    return marginals.argmax(axis=0).astype(np.uint8)


def score_energy(scores: np.ndarray) -> np.ndarray:
    """(n, H, W) scores in [0, 1] -> (n, H*W) energies, -ln of the score cut at 1e-5."""
    return -np.log(np.clip(scores, 1e-5, 1.0)).reshape(len(scores), -1)


def _is_constant(labels: np.ndarray, n_labels: int, params: CrfParams) -> bool:
    # One label everywhere, and trusted above the others, is a fixed point: in every mean-field step each
    # pixel's unary favours it, and so does every neighbour's message.
    trusted = n_labels == 1 or _trust(params) > 1.0 / n_labels
    return trusted and bool((labels == labels.flat[0]).all())


def _trust(params: CrfParams) -> float:
    if params.gt_prob is None:
        raise ValueError("crf: hard labels need gt_prob, how far they are trusted; give it in crf_params")
    return params.gt_prob


def label_energy(labels: np.ndarray, n_labels: int, gt_prob: float) -> np.ndarray:
    """(n_labels, H*W) float32: -ln gt_prob at the given label, the others share the rest (n_labels >= 2)."""
    energy = np.full((n_labels, labels.size), -np.log((1.0 - gt_prob) / (n_labels - 1)), np.float32)
    energy[labels.ravel(), np.arange(labels.size)] = -np.log(gt_prob)
    return energy


def softmax_crf(
    image: np.ndarray, probs: np.ndarray, params: CrfParams = DEEPLAB_TEST, prune: float = 5e-3
) -> np.ndarray:
    """Refine probabilities to labels.

    Labels whose probability stays below `prune` in the whole image are left out: mean-field cost grows with
    the number of labels, and they cannot win. With e their largest probability and W the sum of the Potts
    weights, the message to such a label is at most W e and the normaliser at least 1, so its marginal stays
    below the fixed point q = e exp(W q), 5.2e-3 for e = 5e-3 and W = 7, far less than the winner's 1 / C.

    Args:
        image: (H, W, 3) uint8 RGB.
        probs: (C, H, W) float32 summing to 1 over C.
        prune: 0 keeps every label.

    Returns:
        (H, W) uint8 labels 0 .. C - 1.

    Raises:
        UserError: probabilities that are not finite.
    """
    _refuse_strange(probs)
    size_hw = probs.shape[1:]
    kept = np.flatnonzero(probs.reshape(len(probs), -1).max(axis=1) >= prune)
    if len(kept) <= 1:
        return np.full(size_hw, kept[0] if len(kept) else probs.mean(axis=(1, 2)).argmax(), np.uint8)
    (marginals,) = _infer(image, [score_energy(probs[kept])], params)
    return kept[to_labels(marginals)].astype(np.uint8)


def _infer(image: np.ndarray, energies: Sequence[np.ndarray], params: CrfParams) -> list[np.ndarray]:
    """Marginals (n, H, W) of energies (n, H*W), several problems of one image at once; none without any."""
    if not energies:
        return []
    _refuse_strange(energies)
    image = np.require(image, np.uint8, ["C", "W"])  # an array over a decoded file need not be writable
    marginals = [np.asarray(m).reshape(-1, *image.shape[:2]) for m in _backend(params)(image, energies, params)]
    if not all(np.isfinite(m).all() for m in marginals):
        raise UserError(f"CRF: its probabilities are not finite with {params}; set crf_params as published (docs/config.md)")
    return marginals


def _refuse_strange(values: np.ndarray | Sequence[np.ndarray]) -> None:
    """UserError where they are not finite: the lattice would crash, or give labels of nothing."""
    if not all(np.isfinite(part).all() for part in values):
        raise UserError("CRF: what it starts from is not finite; make the CAMs or predictions before it again")


def _backend(params: CrfParams) -> Backend:
    """Imported when it is first needed: numba takes half a second, and few stages have a CRF."""
    if params.backend == "lattice":
        from wsss.refine import crf_lattice

        return crf_lattice.marginals
    if params.backend == "torch":
        from wsss.refine import crf_torch

        return crf_torch.photo_marginals
    if params.backend == "pydensecrf":
        from wsss.refine import crf_pydensecrf

        return crf_pydensecrf.marginals
    raise UserError(f"CRF: no backend is called {params.backend}; set crf.backend: lattice, torch or pydensecrf in config/config.yaml")
