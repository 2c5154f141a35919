"""The sparse walk against dense matrix powers, and its golden facts."""

import numpy as np
import pytest
import torch
from wsss.refine import random_walk as rw
from wsss.refine.affinity import grid_affinity
from wsss.refine.paths import path_cells, path_index
from wsss.refine.random_walk import irn_scores, irn_semantic, walk, walk_affinity
from wsss.sections.background import Rule


def dense_transition(edge, radius=5, beta=10):
    """Column-stochastic (N, N) float64, pair by pair."""
    height, width = edge.shape
    matrix = np.eye(height * width)
    for i, (y, x) in enumerate(np.ndindex(edge.shape)):
        for dy, dx in path_index(radius).directions:
            if y + dy < height and 0 <= x + dx < width:
                a = 1 - max(edge[y + py, x + px] for py, px in path_cells(dy, dx))
                j = (y + dy) * width + x + dx
                matrix[i, j] = matrix[j, i] = a**beta
    return matrix / matrix.sum(axis=0)


def random_edge(height, width, seed=0):
    return torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) ** 2


def random_scores(k, height, width, seed=1):
    return torch.rand(k, height, width, generator=torch.Generator().manual_seed(seed))


SIZES = [(12, 17), (1, 1), (1, 9), (9, 1), (3, 3), (2, 11), (7, 4)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steps", [256, 64, 7, 1])
def test_same_as_dense_power(size, steps):
    edge, scores = random_edge(*size), random_scores(2, *size)
    transition = dense_transition(edge.double().numpy())
    np.testing.assert_allclose(transition.sum(axis=0), 1.0)
    wanted = scores.double().numpy().reshape(2, -1) @ np.linalg.matrix_power(transition, steps)
    got = walk(scores, edge, steps=steps)
    np.testing.assert_allclose(got.reshape(2, -1), wanted, rtol=3e-6)


def test_same_as_published_dense_squaring_in_float32():
    edge, scores = random_edge(12, 17), random_scores(1, 12, 17)
    power = torch.from_numpy(dense_transition(edge.numpy())).float()
    for _ in range(8):
        power = power @ power
    wanted = scores.reshape(1, -1) @ power
    got = walk(scores, edge).reshape(1, -1)
    assert ((got - wanted).abs() / wanted).max() < 5e-5


@pytest.mark.parametrize("size", SIZES)
def test_the_gpu_form_is_the_same_product(size):
    directions = path_index(5).directions
    links = rw.inside(grid_affinity(random_edge(*size), path_index(5)) ** 10, directions).double()
    scores = random_scores(3, *size).double()
    products = [form(links, directions)(scores) for form in (rw._diagonal_product, rw._window_product)]
    torch.testing.assert_close(*products)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_walk():
    edge, scores = random_edge(47, 63), random_scores(3, 47, 63)
    got = walk(scores.cuda(), edge.cuda())
    assert got.is_cuda
    torch.testing.assert_close(got.cpu(), walk(scores, edge), rtol=1e-6, atol=1e-7)
    assert torch.equal(got, walk(scores.cuda(), edge.cuda()))


@pytest.mark.parametrize("size, nnz", [((81, 81), 430_917), ((94, 125), 781_206), ((128, 128), 1_095_920)])
def test_links_without_boundaries(size, nnz):
    index = path_index(5)
    links = rw.inside(grid_affinity(torch.zeros(size), index), index.directions)
    assert int(2 * (links > 0).sum()) + size[0] * size[1] == nnz
    degrees = rw.degrees(links, index.directions)
    assert degrees.max() == degrees[40, 40] == 69


def test_columns_sum_to_one_rows_do_not_and_diagonals_are_right():
    edge = random_edge(6, 9)
    index = path_index(5)
    links = rw.inside(grid_affinity(edge, index) ** 10, index.directions)
    matrix = rw.diagonals(links.numpy(), index.directions).toarray()
    transition = matrix / rw.degrees(links, index.directions).reshape(-1).numpy()
    np.testing.assert_allclose(transition, dense_transition(edge.double().numpy()), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(transition.sum(axis=0), 1, rtol=1e-5)
    assert abs(transition.sum(axis=1) - 1).max() > 0.01


@pytest.mark.parametrize("steps", [0, 1, 2, 63, 64, 256, 1024])
def test_chebyshev_weights(steps):
    weights = np.array(rw.walk_weights(steps))
    assert len(weights) <= max(2, 6.2 * steps**0.5) or steps < 40
    x = np.linspace(-1, 1, 401)
    np.testing.assert_allclose(np.polynomial.chebyshev.chebval(x, weights), x**steps, atol=3e-8)


def test_walk_256_takes_90_products():
    assert len(rw.walk_weights(256)) - 1 == 90


def test_constants_and_range_are_kept():
    edge = random_edge(20, 30)
    torch.testing.assert_close(walk(torch.full((1, 20, 30), 0.7), edge), torch.full((1, 20, 30), 0.7))
    spot = torch.zeros(1, 20, 30)
    spot[0, 3, 4] = 1.0
    out = walk(spot, edge)
    assert out.min() >= 0 and out.max() <= 1
    assert not walk(torch.zeros(1, 20, 30), edge).any()


def test_nothing_crosses_a_closed_boundary():
    edge = torch.zeros(10, 21)
    edge[:, 10] = 1.0
    scores = torch.zeros(1, 10, 21)
    scores[..., :10] = 1.0
    out = walk(scores, edge)
    torch.testing.assert_close(out[..., :10], torch.ones(1, 10, 10))
    assert not out[..., 10:].any()


def test_no_classes_and_numpy_input():
    edge = random_edge(5, 6).numpy()
    assert walk(np.zeros((0, 5, 6), np.float32), edge).shape == (0, 5, 6)
    scores = random_scores(2, 5, 6)
    assert torch.equal(walk(scores.numpy(), edge), walk(scores, torch.from_numpy(edge)))


def test_other_affinities_three_node_chain():
    """AffinityNet's golden fact: a = (.5, .2), beta 8, 64 steps; row 0 of T^64 for a one-hot on node 0."""
    planes = torch.tensor([[[0.5, 0.2, 0.9]]])  # the last link leaves the grid and must count as 0
    a, b = 0.5**8, 0.2**8
    symmetric = np.array([[1, a, 0], [a, 1, b], [0, b, 1]])
    wanted = np.eye(3)[0] @ np.linalg.matrix_power(symmetric / symmetric.sum(axis=0), 64)
    got = walk_affinity(torch.tensor([[[1.0, 0.0, 0.0]]]), planes, [(0, 1)], beta=8, steps=64)
    np.testing.assert_allclose(got.flatten(), wanted, rtol=1e-4)
    np.testing.assert_allclose(got.flatten(), [0.80326, 0.19672, 1.72e-5], rtol=1e-3)


def test_semantic_labels_follow_the_published_steps():
    edge, cam = random_edge(6, 8), random_scores(2, 6, 8).numpy()
    size_hw = (23, 30)
    v = (torch.from_numpy(cam) ** 1.3 * (1 - edge)).double().reshape(2, -1).numpy()
    walked = v @ np.linalg.matrix_power(dense_transition(edge.double().numpy()), 256)
    up = torch.nn.functional.interpolate(
        torch.from_numpy(walked).reshape(1, 2, 6, 8), scale_factor=4, mode="bilinear", align_corners=False
    )[0, :, :23, :30].numpy()
    up /= up.max()
    scores = irn_scores(cam, edge, size_hw, power=1.3)
    np.testing.assert_allclose(scores, up, rtol=1e-4, atol=1e-5)
    wanted = np.array([0, 5, 12])[np.concatenate([np.full((1, 23, 30), 0.25), up]).argmax(0)]
    bg = Rule("const", 0.25)
    mask = irn_semantic(cam, edge, size_hw, [4, 11], bg, power=1.3)
    assert mask.dtype == np.uint8 and (mask == wanted).mean() > 0.998


def test_normalise_per_class_lifts_a_weak_class():
    edge = torch.zeros(8, 8)
    cam = np.zeros((2, 8, 8), np.float32)
    cam[0, :, :4], cam[1, :, 4:] = 1.0, 0.2
    weak = [irn_scores(cam, edge, (32, 32), normalise=how)[1].max() for how in ("global", "per_class")]
    assert weak[0] < 0.3 and weak[1] == 1.0
    with pytest.raises(ValueError, match="global or per_class"):
        irn_scores(cam, edge, (32, 32), normalise="class")


@pytest.mark.parametrize("normalise", ["global", "per_class"])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_zero_maps_are_background_without_nan(k, normalise):
    mask = irn_semantic(
        np.zeros((k, 4, 5), np.float32),
        random_edge(4, 5),
        (13, 18),
        list(range(k)),
        Rule("const", 0.25),
        normalise=normalise,
    )
    assert mask.shape == (13, 18) and not mask.any()
    scores = irn_scores(np.zeros((k, 4, 5), np.float32), random_edge(4, 5), (13, 18), normalise=normalise)
    assert scores.shape == (k, 13, 18) and np.isfinite(scores).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2000)])
def test_odd_image_sizes(size_hw):
    grid = (size_hw[0] - 1) // 4 + 1, (size_hw[1] - 1) // 4 + 1
    cam = random_scores(1, *grid).numpy()
    mask = irn_semantic(cam, random_edge(*grid), size_hw, [0], Rule("const", 0.25))
    assert mask.shape == size_hw


def test_grids_must_match():
    with pytest.raises(ValueError, match="same grid"):
        irn_scores(np.zeros((1, 4, 5), np.float32), torch.zeros(4, 6), (16, 20))
