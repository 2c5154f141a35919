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
    total = np.zeros(energies[0].shape[1], np.float32)
    for lattice, weight in zip(lattices, compat, strict=True):
        normalise(lattice, weight, total)
    if len(energies[0]) == 2 and len(energies) == 2:
        return _two_of_two(lattices, energies, total, iterations)
    return [_one(lattices, energy, total, iterations) for energy in energies]


def _two_of_two(lattices: Sequence[Lattice], energies: Sequence[np.ndarray], total: np.ndarray, iterations: int) -> list[np.ndarray]:
    bias = np.stack([energy[1] - energy[0] for energy in energies], axis=1)
    probs = np.empty_like(bias)
    tables = [table for lattice in lattices for table in (lattice.vertex, lattice.weight)]
    sums = [np.zeros((len(lattice.mass), 2), np.float32) for lattice in lattices]
    for iteration in range(iterations + 1):
        values = [steps.blur(value, lattice.neighbour) for value, lattice in zip(sums, lattices, strict=True)]
        sums = [np.zeros_like(value) for value in values]
        steps.binary_step(*tables, *values, *sums, bias, total if iteration else np.zeros_like(total), probs)
    return [np.stack([first, 1 - first]) for first in probs.T]


def _one(lattices: Sequence[Lattice], energy: np.ndarray, total: np.ndarray, iterations: int) -> np.ndarray:
    labels, pixels = energy.shape
    bias = np.full((pixels, -(-(labels - 1) // 4) * 4), steps.NEVER, np.float32)
    bias[:, : labels - 1] = (energy[-1] - energy[:-1]).T
    probs = np.zeros_like(bias)
    steps.softmax(probs, bias, np.zeros_like(total))
    for _ in range(iterations):
        for start in range(0, probs.shape[1], 4):
            values = [_filtered(lattice, probs, start) for lattice in lattices]
            for keep, lattice, value in zip((np.float32(0), np.float32(1)), lattices, values, strict=True):
                steps.slice_four(lattice.vertex, lattice.weight, value, probs, start, keep)
        steps.softmax(probs, bias, total)
    first = probs[:, : labels - 1].T
    return np.concatenate([first, np.maximum(1 - first.sum(0, keepdims=True), 0)])


def _filtered(lattice: Lattice, probs: np.ndarray, start: int) -> np.ndarray:
    """(M + 1, 4): four columns splatted and blurred."""
    sums = np.zeros((len(lattice.mass), 4), np.float32)
    steps.splat_four(lattice.vertex, lattice.weight, probs, start, sums)
    return steps.blur(sums, lattice.neighbour)


def normalise(lattice: Lattice, compat: float, total: np.ndarray) -> None:
    """Change the weights so that splat, blur and slice are w F; add w F 1 to `total`, (N,)."""
    gain = np.float32(1 / (1 + 2.0 ** (1 - lattice.vertex.shape[1])))  # of the blur
    mass = np.zeros((len(lattice.mass), 2), np.float32)
    mass[:, 0] = lattice.mass
    blurred, mass = steps.blur(mass, lattice.neighbour), np.zeros_like(mass)
    steps.scale_weights(lattice.vertex, lattice.weight, blurred, gain, np.float32(np.sqrt(gain * compat)), mass)
    steps.add_slice(lattice.vertex, lattice.weight, steps.blur(mass, lattice.neighbour), total)
