"""Golden facts of the path index (IRN)."""

from collections import Counter

import pytest
from wsss.refine.paths import path_cells, path_index

LENGTHS = {
    5: {2: 2, 3: 2, 4: 4, 5: 2, 6: 4, 7: 2, 8: 8, 10: 6, 11: 4},
    10: {
        **{2: 2, 3: 2, 4: 4, 5: 2, 6: 6, 7: 4, 8: 10, 9: 2, 10: 12, 11: 4, 12: 12, 13: 2, 14: 8, 15: 8},
        **{16: 22, 18: 16, 19: 6, 20: 20, 21: 4, 22: 6},
    },
}


FACTS = [(5, 34, 4, 242, 14880), (10, 152, 9, 2134, 13090)]


@pytest.mark.parametrize("radius, count, reach, cells, sources", FACTS)
def test_counts(radius, count, reach, cells, sources):
    index = path_index(radius)
    rows, cols = index.source_shape(128, 128)
    assert (len(index.directions), index.reach, rows * cols) == (count, reach, sources)
    assert sum(map(len, index.paths)) == cells
    assert Counter(map(len, index.paths)) == LENGTHS[radius]
    assert [len(p) for p in index.paths] == sorted(len(p) for p in index.paths)


@pytest.mark.parametrize(
    "target, cells",
    [
        ((1, 1), {(0, 0), (0, 1), (1, 0), (1, 1)}),
        ((2, 1), {(y, x) for y in range(3) for x in range(2)}),
        ((0, 4), {(0, x) for x in range(5)}),
        ((3, 2), {(3, 2), (2, 2), (3, 1), (2, 1), (1, 1), (0, 1), (1, 0), (0, 0)}),
        ((1, -1), {(0, 0), (0, -1), (1, 0), (1, -1)}),
    ],
)


def test_path_sets(target, cells):
    path = path_cells(*target)
    assert len(path) == len(cells) and set(path) == cells
    assert path[0] == target and path[-1] == (0, 0)


@pytest.mark.parametrize("radius", [1.5, 2, 5, 7.3, 10])
def test_runs_hold_the_cells_of_the_path(radius):
    index = path_index(radius)
    for path, runs in zip(index.paths, index.runs, strict=True):
        cells = [cell for run in runs for cell in run.cells()]
        assert len(cells) == len(path) and set(cells) == set(path)


def test_directions_are_a_half_plane_within_the_radius():
    for dy, dx in path_index(5).directions:
        assert dy * dy + dx * dx < 25 and (dy > 0 or (dy == 0 and dx > 0))


def test_no_pairs_is_an_error():
    with pytest.raises(ValueError, match="greater than 1"):
        path_index(1)
