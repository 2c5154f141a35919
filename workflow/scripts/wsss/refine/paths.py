"""Which pairs of cells IRN compares, and the cells on the straight path between them (IRN, CVPR 2019)."""

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

Cell = tuple[int, int]


@dataclass(frozen=True)
class Run:
    """`length` cells in a row, the first one at (dy, dx) from the source."""

    dy: int
    dx: int
    length: int
    vertical: bool

    def cells(self) -> list[Cell]:
        steps = range(self.length)
        return [(self.dy + i, self.dx) if self.vertical else (self.dy, self.dx + i) for i in steps]


@dataclass(frozen=True)
class PathIndex:
    """Half-plane offsets within a radius, shortest path first.

    directions[d] is (dy, dx) from source to target with dy >= 0; paths[d] the cells of its path from target
    to source, both included; runs[d] the same cells as few rows or columns. A source must be `reach` cells
    away from the left, right and bottom border, so that every target lies inside the grid.
    """

    radius: float
    reach: int
    directions: tuple[Cell, ...]
    paths: tuple[tuple[Cell, ...], ...]
    runs: tuple[tuple[Run, ...], ...]

    def source_shape(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of sources in a grid; not positive where the grid is too small."""
        return height - self.reach, width - 2 * self.reach


@lru_cache(maxsize=16)
def path_index(radius: float) -> PathIndex:
    """All pairs closer than `radius` (strictly); IRN trains with 10 and walks with 5.

    Raises:
        ValueError: radius <= 1, which leaves no pair.
    """
    if radius <= 1:
        raise ValueError(f"radius {radius}: must be greater than 1")
    reach = math.ceil(radius) - 1
    ahead = [(0, dx) for dx in range(1, reach + 1)]
    below = [(dy, dx) for dy in range(1, reach + 1) for dx in range(-reach, reach + 1)]
    ahead += [(dy, dx) for dy, dx in below if dy * dy + dx * dx < radius * radius]
    directions = sorted(ahead, key=lambda d: len(path_cells(*d)))
    paths = tuple(tuple(path_cells(*d)) for d in directions)
    return PathIndex(radius, reach, tuple(directions), paths, tuple(_runs(path) for path in paths))


def path_cells(dy: int, dx: int) -> list[Cell]:
    """Cells of the bounding box of (0, 0) and (dy, dx) less than one cell from the line, target first."""
    length2 = dy * dy + dx * dx
    rows, cols = range(min(dy, 0), max(dy, 0) + 1), range(min(dx, 0), max(dx, 0) + 1)
    near = [(y, x) for y in rows for x in cols if (y * dx - x * dy) ** 2 < length2]
    return sorted(near, key=lambda c: c[0] * dy + c[1] * dx, reverse=True)


def _runs(path: tuple[Cell, ...]) -> tuple[Run, ...]:
    # A path is a convex band cut by a box: each of its rows, and each of its columns, has no gap.
    rows, cols = defaultdict(list), defaultdict(list)
    for y, x in path:
        rows[y].append(x)
        cols[x].append(y)
    if len(cols) < len(rows):
        return tuple(Run(min(ys), x, len(ys), True) for x, ys in sorted(cols.items()))
    return tuple(Run(y, min(xs), len(xs), False) for y, xs in sorted(rows.items()))
