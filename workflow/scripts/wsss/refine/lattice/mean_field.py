"""Mean field of a dense CRF with Potts weights on two lattices (Kraehenbuehl and Koltun, 2011), labels side by side.

Per pixel and iteration, with F a kernel's filter normalised on both sides, q <- softmax(-u + sum of w F q). As
the q of a pixel sum to 1, the last label needs no filtering: its F q is F 1 less the others'. So P problems of n
labels are P (n - 1) columns, filtered four, two or one at a time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wsss.refine.lattice import steps
from wsss.refine.lattice.table import Lattice


class Kernel(NamedTuple):
    """A lattice whose weights are normalised and hold the Potts weight w: splat, blur and slice are w F.

    Attributes:
        vertex, weight, neighbour, vertices: as in Lattice; `vertices` is M.
        ones: (N,) float32, w F 1.
    """

    vertex: np.ndarray
    weight: np.ndarray
    neighbour: np.ndarray
    vertices: int
    ones: np.ndarray


def normalised(lattice: Lattice, compat: float) -> Kernel:
    """A kernel of Potts weight `compat`, at least 0; the lattice's weights are changed."""
    gain = np.float32(1 / (1 + 2.0 ** (1 - lattice.vertex.shape[1])))  # of the blur
    mass, spare = lattice.mass.copy(), np.zeros_like(lattice.mass)
    blurred, ones = _blurred(steps.blur_one, lattice.neighbour, mass, spare)
    ones.fill(0)
    steps.scale_weights(lattice.vertex, lattice.weight, blurred, gain, np.float32(np.sqrt(gain * compat)), ones)
    blurred, _ = _blurred(steps.blur_one, lattice.neighbour, ones, blurred)
    total = np.empty(len(lattice.vertex), np.float32)
    steps.slice_ones(lattice.vertex, lattice.weight, blurred, total)
    return Kernel(lattice.vertex, lattice.weight, lattice.neighbour, len(lattice.mass) - 1, total)


def mean_field(kernels: tuple[Kernel, Kernel], energies: Sequence[np.ndarray], iterations: int) -> list[np.ndarray]:
    """Marginals of several problems on one image, each of the same labels.

    Args:
        kernels: of place, and of place and colour.
        energies: each (n, N) float32, n >= 2.

    Returns:
        Each (n, N) float32 that sums to 1 over labels.
    """
    labels, pixels = energies[0].shape
    # Laid out row by row whatever the energies are: numba would compile the steps once more for another order.
    bias = np.ascontiguousarray(np.concatenate([energy[-1] - energy[:-1] for energy in energies]))
    rows = np.zeros((len(bias) + (len(bias) % 4 == 3), pixels), np.float32)  # messages and probabilities in turn
    steps.softmax(rows, bias, np.zeros(pixels, np.float32), labels)
    total = kernels[0].ones + kernels[1].ones
    groups = [rows[first : first + 4] for first in range(0, len(rows), 4)]
    space = {width: [np.zeros((2, (kernel.vertices + 1) * width), np.float32) for kernel in kernels] for width in set(map(len, groups))}
    for _ in range(iterations):
        for group in groups:
            filtered(kernels, group, space[len(group)])
        steps.softmax(rows, bias, total, labels)
    return [_with_last(rows[i : i + labels - 1]) for i in range(0, len(bias), labels - 1)]


def filtered(kernels: tuple[Kernel, Kernel], rows: np.ndarray, space: Sequence[np.ndarray]) -> None:
    """One, two or four rows of probabilities -> their messages, in place; `space` is written over, (2, (M + 1) rows) for each kernel."""
    tables = [table for kernel in kernels for table in (kernel.vertex, kernel.weight)]
    splat, blur, slice_ = _STEPS[len(rows)]
    for sums, _ in space:
        sums.fill(0)
    splat(*tables, *(sums for sums, _ in space), rows)
    values = [_blurred(blur, kernel.neighbour, *both)[0] for kernel, both in zip(kernels, space, strict=True)]
    slice_(*tables, *values, rows)


_STEPS = {
    1: (steps.splat_one, steps.blur_one, steps.slice_one),
    2: (steps.splat_two, steps.blur_two, steps.slice_two),
    4: (steps.splat_four, steps.blur_four, steps.slice_four),
}


def _blurred(blur: Callable, neighbour: np.ndarray, values: np.ndarray, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(blurred values, the other of the two arrays)."""
    blur(values, spare, neighbour)
    return (spare, values) if len(neighbour) % 2 else (values, spare)


def _with_last(rows: np.ndarray) -> np.ndarray:
    """(n - 1, N) -> (n, N)."""
    return np.concatenate([rows, np.maximum(1 - rows.sum(0, keepdims=True), 0)])
