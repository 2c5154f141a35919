"""The permutohedral lattice of an image: vertices, weights and neighbours (Adams, Baek, Davis, 2010).

A pixel is a point of d features (place, or place and colour, over the kernel's widths). It is lifted into the
plane sum = 0 of d + 1 dimensions, where it lies in a simplex of d + 1 lattice vertices and is the mean of them
with barycentric weights. A Gaussian filter is then: splat values onto the vertices, blur along d + 1 axes, slice.

A vertex is a key: its first d coordinates as digits of one integer, so that a step in the lattice is a sum of
integers. Rows of pixels are worked on side by side, which the compiler turns into vector instructions.
"""

from typing import NamedTuple

import numpy as np

from wsss.errors import UserError
from wsss.refine.lattice.compiled import compiled

_FILLED = 0.5  # of the hash table, at most
_HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_NO_COLOURS = np.zeros((0, 0, 256), np.float32)


class Lattice(NamedTuple):
    """Of N pixels in d dimensions, with M vertices.

    Attributes:
        vertex: (N, d + 1) int32 in 0 .. M - 1.
        weight: (N, d + 1) float32.
        neighbour: (d + 1, M, 2) int32, M where there is none.
        mass: (M + 1,) float32, the weights that each vertex gets; the last is 0.
    """

    vertex: np.ndarray
    weight: np.ndarray
    neighbour: np.ndarray
    mass: np.ndarray


def build(image: np.ndarray, sxy: float, srgb: float | None = None) -> Lattice:
    """The lattice over place (x, y) / sxy, and over colour / srgb too where that is given.

    Args:
        image: (H, W, 3) uint8.
        sxy, srgb: widths of the kernel in pixels and grey levels.

    Raises:
        UserError: widths so small that 62 bits hold no vertex's key.
    """
    height, width = image.shape[:2]
    lift = lift_matrix(2 if srgb is None else 5)
    along_x = lifted(lift[:, 0] / sxy, width)
    along_y = lifted(lift[:, 1] / sxy, height)
    colours = _NO_COLOURS if srgb is None else np.stack([lifted(column / srgb, 256) for column in lift[:, 2:].T])
    digits = key_digits([along_x, along_y, *colours], sxy, srgb)[:-1]
    pixels, d1 = height * width, len(lift)
    vertex, weight = np.empty((pixels, d1), np.uint32), np.empty((pixels, d1), np.float32)
    keys, mass = np.empty(vertex.size, np.int64), np.zeros(vertex.size + 1, np.float32)  # memory is taken as it is written
    table = np.full((1 << max(pixels.bit_length(), 4), 2), -1, np.int64)
    used, table = _find_vertices(np.ascontiguousarray(image), along_x, along_y, colours, digits, table, keys, vertex, weight, mass)
    neighbour = np.full((d1, used, 2), used, np.uint32)
    _find_neighbours(keys[:used], digits.sum() - d1 * np.append(digits, 0), table, neighbour)
    return Lattice(vertex, weight, neighbour, mass[: used + 1])


def lift_matrix(d: int) -> np.ndarray:
    """(d + 1, d) float64: features -> the plane, scaled so that splat, blur and slice make a Gaussian of width 1."""
    matrix = np.zeros((d + 1, d))
    for j in range(d):
        matrix[: j + 1, j], matrix[j + 1, j] = 1, -(j + 1)
        matrix[:, j] *= np.sqrt(2 / 3) * (d + 1) / np.sqrt((j + 1) * (j + 2))
    return matrix


def lifted(column: np.ndarray, values: int) -> np.ndarray:
    """(d + 1, values) float32: what each value of one feature adds to the lifted point."""
    return (column[:, None] * np.arange(values)).astype(np.float32)


def key_digits(parts: list[np.ndarray], sxy: float, srgb: float | None) -> np.ndarray:
    """(d + 1,) int64: what a coordinate counts in a key, from the range that it can take in the image; at last the range of keys."""
    d1 = len(parts[0])
    lowest = sum(part.min(1).astype(np.float64) for part in parts)
    highest = sum(part.max(1).astype(np.float64) for part in parts)
    spans = [int(span) + 6 * d1 for span in (highest - lowest)[:-1]]  # vertices and their neighbours lie beyond the points
    bits = sum(np.log2(spans))
    if bits >= 62:
        widths = f"sxy {sxy:g}" + ("" if srgb is None else f", srgb {srgb:g}")
        raise UserError(f"CRF: kernel widths {widths} are too small for an image of this size; set crf_params as published (docs/config.md), or crf.backend: pydensecrf")
    return np.cumprod([1, *spans]).astype(np.int64)


@compiled
def _find_vertices(image, along_x, along_y, colours, digits, table, keys, vertex, weight, mass):  # type: ignore[no-untyped-def]
    """Fill vertex, weight, keys and mass; gives the number of vertices and the hash table of keys, grown where it had to be."""
    d1, width = along_x.shape
    point = np.empty((d1, width), np.float32)
    ordered = np.empty((d1, width), np.float32)
    cell = np.empty((d1, width), np.int32)
    rank = np.empty((d1, width), np.int32)
    excess = np.empty(width, np.int32)
    key = np.empty((d1, width), np.int64)
    used = np.int64(0)  # a plain 0 would make a variant of its own of _insert_row
    for y in range(along_y.shape[1]):
        _lift_row(image, along_x, along_y, colours, y, point)
        _round_row(point, cell, rank, excess)
        _order_row(point, rank, ordered)
        _key_row(cell, rank, digits, key)
        while used + d1 * width > _FILLED * table.shape[0]:
            table = _grown(table)
        used = _insert_row(y * width, key, ordered, table, keys, used, vertex, weight, mass)
    return used, table


@compiled
def _lift_row(image, along_x, along_y, colours, y, point):  # type: ignore[no-untyped-def]
    for k in range(point.shape[0]):
        start = along_y[k, y]
        for x in range(point.shape[1]):
            point[k, x] = along_x[k, x] + start
        for c in range(colours.shape[0]):
            for x in range(point.shape[1]):
                point[k, x] += colours[c, k, image[y, x, c]]


@compiled
def _round_row(point, cell, rank, excess):  # type: ignore[no-untyped-def]
    """The simplex: nearest point whose coordinates are multiples of d + 1 and sum to 0, and ranks of the rest.

    Afterwards `point` is the rest over d + 1, `cell` the nearest point over d + 1.
    """
    d1, width = point.shape
    share = np.float32(1.0 / d1)
    for x in range(width):
        excess[x] = 0
    for k in range(d1):
        for x in range(width):
            nearest = np.int32(np.floor(point[k, x] * share + np.float32(0.5)))
            cell[k, x] = nearest
            excess[x] += nearest
            point[k, x] = point[k, x] * share - np.float32(nearest)
    for k in range(d1):
        for x in range(width):
            rank[k, x] = excess[x]
    for a in range(d1 - 1):
        for b in range(a + 1, d1):
            for x in range(width):
                is_less = np.int32(point[a, x] < point[b, x])
                rank[a, x] += is_less
                rank[b, x] += np.int32(1) - is_less
    for k in range(d1):
        for x in range(width):  # ranks beyond the ends: the sum was not 0, and the extreme coordinates give way
            step = np.int32(rank[k, x] < 0) - np.int32(rank[k, x] >= d1)
            rank[k, x] += step * np.int32(d1)
            cell[k, x] += step
            point[k, x] -= np.float32(step)


@compiled
def _order_row(point, rank, ordered):  # type: ignore[no-untyped-def]
    """Rests in the order of their ranks."""
    d1, width = point.shape
    for place in range(d1):
        for x in range(width):
            ordered[place, x] = 0
        for k in range(d1):
            for x in range(width):
                ordered[place, x] += point[k, x] if rank[k, x] == place else np.float32(0)


@compiled
def _key_row(cell, rank, digits, key):  # type: ignore[no-untyped-def]
    """Keys of the d + 1 vertices: vertex v adds v to each coordinate, less d + 1 to those of the last v ranks."""
    d1, width = cell.shape
    ones = digits.sum()
    for x in range(width):
        key[0, x] = 0
    for k in range(d1 - 1):
        for x in range(width):
            key[0, x] += np.int64(cell[k, x]) * (digits[k] * d1)
    for v in range(1, d1):
        for x in range(width):
            key[v, x] = key[v - 1, x] + ones
        for k in range(d1 - 1):
            for x in range(width):
                key[v, x] -= digits[k] * d1 if rank[k, x] == d1 - v else np.int64(0)


@compiled
def _insert_row(start, key, ordered, table, keys, used, vertex, weight, mass):  # type: ignore[no-untyped-def]
    d1, width = key.shape
    for x in range(width):
        for v in range(d1):
            share = ordered[d1 - 1 - v, x] - (ordered[d1 - v, x] if v > 0 else ordered[0, x] - np.float32(1))
            slot = _slot(key[v, x], table)
            if table[slot, 1] < 0:
                table[slot, 0], table[slot, 1], keys[used] = key[v, x], used, key[v, x]
                used += 1
            vertex[start + x, v], weight[start + x, v] = table[slot, 1], share
            mass[table[slot, 1]] += share
    return used


@compiled
def _grown(table):  # type: ignore[no-untyped-def]
    """The same in twice the room."""
    larger = np.full((2 * table.shape[0], 2), -1, np.int64)
    for old in range(table.shape[0]):
        if table[old, 1] >= 0:
            slot = _slot(table[old, 0], larger)
            larger[slot, 0], larger[slot, 1] = table[old, 0], table[old, 1]
    return larger


@compiled
def _slot(key, table):  # type: ignore[no-untyped-def]
    """Where a key stands in the hash table, or would stand."""
    mask = np.uint64(table.shape[0] - 1)
    mixed = np.uint64(key) * _HASH
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while table[slot, 1] >= 0 and table[slot, 0] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def _find_neighbours(keys, steps, table, neighbour):  # type: ignore[no-untyped-def]
    for axis in range(steps.size):
        for vertex in range(keys.size):
            other = table[_slot(keys[vertex] + steps[axis], table), 1]
            if other >= 0:
                neighbour[axis, vertex, 0] = other
                neighbour[axis, other, 1] = vertex
