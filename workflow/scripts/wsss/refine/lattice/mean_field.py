"""Mean field of a dense CRF with Potts weights on two lattices (Kraehenbuehl and Koltun, 2011), labels side by side.

Per pixel and iteration, with F a kernel's filter normalised on both sides, q <- softmax(-u + sum of w F q). As
the q of a pixel sum to 1, the last label needs no filtering: its F q is F 1 less the others'. So P problems of n
labels are P (n - 1) columns of one array. A pixel's weights are read once an iteration: its messages are sliced,
made probabilities and splatted again in one go.
"""

from collections.abc import Sequence

import numpy as np

from wsss.refine.lattice import steps
from wsss.refine.lattice.table import Lattice


def mean_field(lattices: Sequence[Lattice], compat: Sequence[float], energies: Sequence[np.ndarray], iterations: int) -> list[np.ndarray]:
    """Marginals of several problems on one image, each of the same labels.

    Args:
        lattices: of the two kernels; their weights are changed: afterwards they are normalised and hold `compat`.
        compat: Potts weight of each kernel, at least 0.
        energies: each (n, N) float32, n >= 2.

    Returns:
        Each (n, N) float32 that sums to 1 over labels.
    """
    labels, pixels = energies[0].shape
    is_binary = labels == 2 and len(energies) <= 2
    columns = len(energies) * (labels - 1)
    width = 2 if is_binary else -(-columns // 4) * 4
    bias = np.zeros((pixels, width), np.float32)
    for start, energy in zip(range(0, columns, labels - 1), energies, strict=True):
        bias[:, start : start + labels - 1] = (energy[-1] - energy[:-1]).T
    total = np.zeros(pixels, np.float32)
    for lattice, weight in zip(lattices, compat, strict=True):
        normalise(lattice, weight, total)
    probs, step = bias.copy(), steps.binary_step if is_binary else steps.step
    tables = [table for lattice in lattices for table in (lattice.vertex, lattice.weight)]
    sums = [np.zeros((len(lattice.mass), width), np.float32) for lattice in lattices]
    no_total = np.zeros_like(total)
    for iteration in range(iterations + 1):
        values = [steps.blur(value, lattice.neighbour) for value, lattice in zip(sums, lattices, strict=True)]
        sums = [np.zeros_like(value) for value in values]
        step(*tables, *values, *sums, bias, total if iteration else no_total, labels, probs)
    return [_all_labels(probs[:, start : start + labels - 1]) for start in range(0, columns, labels - 1)]


def normalise(lattice: Lattice, compat: float, total: np.ndarray) -> None:
    """Change the weights so that splat, blur and slice are w F; add w F 1 to `total`, (N,)."""
    gain = np.float32(1 / (1 + 2.0 ** (1 - lattice.vertex.shape[1])))  # of the blur
    mass = np.zeros((len(lattice.mass), 2), np.float32)
    mass[:, 0] = lattice.mass
    blurred, mass = steps.blur(mass, lattice.neighbour), np.zeros_like(mass)
    steps.scale_weights(lattice.vertex, lattice.weight, blurred, gain, np.float32(np.sqrt(gain * compat)), mass)
    steps.add_slice(lattice.vertex, lattice.weight, steps.blur(mass, lattice.neighbour), total)


def _all_labels(probs: np.ndarray) -> np.ndarray:
    """(n - 1, N) -> (n, N): the last label has what the others leave."""
    first = probs.T
    return np.concatenate([first, np.maximum(1 - first.sum(0, keepdims=True), 0)]).astype(np.float32, copy=False)
