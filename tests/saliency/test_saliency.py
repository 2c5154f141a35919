"""Robust background detection: its graph quantities against loops, its maps on scenes and odd images."""

import numpy as np
import pytest
from skimage.color import rgb2lab
from wsss.saliency import robust_background as rbd

SIZES = [(1, 1), (1, 2), (3, 2), (1, 900), (700, 3), (24, 31), (90, 61)]


def scene(size_hw=(80, 100), seed=0):
    """A red box on textured gray ground; and where it is."""
    rng = np.random.default_rng(seed)
    image = rng.integers(80, 110, (*size_hw, 3), dtype=np.uint8)
    inside = np.zeros(size_hw, bool)
    inside[size_hw[0] // 4 : size_hw[0] * 3 // 4, size_hw[1] // 3 : size_hw[1] * 2 // 3] = True
    image[inside] = rng.integers(0, 25, (inside.sum(), 3)) + np.array([200, 20, 20])
    return image, inside


@pytest.fixture(scope="module")
def parts():
    """Image, labels and graph of a scene of about 60 superpixels."""
    image, _ = scene()
    labels = rbd.segments(image, 60)
    return image, labels, *rbd.graph(image, labels)


# --- against slow references ---------------------------------------------------------------------------


def test_superpixels_are_numbered_without_a_gap(parts):
    _, labels, lab, *_ = parts
    assert labels.shape == (80, 100) and 30 < len(lab) < 90
    np.testing.assert_array_equal(np.unique(labels), np.arange(len(lab)))


def test_graph_against_loops(parts):
    image, labels, lab, centres, border, touching = parts
    pixels, (height, width) = rgb2lab(image), labels.shape
    slow_border, slow_touching = np.zeros(len(lab), bool), np.zeros((len(lab), len(lab)), bool)
    for y, x in np.ndindex(height, width):
        here = labels[y, x]
        slow_border[here] |= y in (0, height - 1) or x in (0, width - 1)
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and labels[v, u] != here:
                slow_touching[here, labels[v, u]] = True
    np.testing.assert_array_equal(border, slow_border)
    np.testing.assert_array_equal(touching, slow_touching)
    for region in range(len(lab)):
        where = np.argwhere(labels == region)
        np.testing.assert_allclose(lab[region], pixels[labels == region].mean(0), atol=1e-9)
        np.testing.assert_allclose(centres[region], (where.mean(0) + 0.5) / (height, width), atol=1e-9)


def slow_geodesic(colour, border, touching):
    """Floyd and Warshall."""
    n = len(colour)
    length = np.full((n, n), np.inf)
    for i, j in np.ndindex(n, n):
        if i == j:
            length[i, j] = 0
        elif touching[i, j] or (border[i] and border[j]):
            length[i, j] = colour[i, j]
    for k, i in np.ndindex(n, n):
        length[i] = np.minimum(length[i], length[i, k] + length[k])
    return length


def test_connectivity_and_contrast_against_loops(parts):
    _, _, lab, centres, border, touching = parts
    n = len(lab)
    colour = rbd.distances(lab)
    length = slow_geodesic(colour, border, touching)
    np.testing.assert_allclose(rbd.geodesic(colour, border, touching), length, atol=1e-6)
    background, contrast = np.zeros(n), np.zeros(n)
    for i in range(n):
        area = edge = 0.0
        for j in range(n):
            alike = np.exp(-(length[i, j] ** 2) / (2 * 10.0**2))
            area += alike
            edge += alike * border[j]
        background[i] = 1 - np.exp(-((edge / area**0.5) ** 2) / 2)
    for i, j in np.ndindex(n, n):
        near = np.exp(-((centres[i] - centres[j]) ** 2).sum() / (2 * 0.25**2))
        contrast[i] += np.linalg.norm(lab[i] - lab[j]) * near * background[j]
    found = rbd.background_probability(rbd.boundary_connectivity(colour, border, touching))
    np.testing.assert_allclose(found, background, atol=1e-6)
    weighted = rbd.background_weighted_contrast(colour, rbd.distances(centres), found)
    np.testing.assert_allclose(weighted, contrast / contrast.max(), atol=1e-6)


def cost(values, background, foreground, colour, touching):
    """What the optimisation minimises, each pair of neighbours once."""
    total = (background * values**2).sum() + (foreground * (values - 1) ** 2).sum()
    for i, j in np.argwhere(np.triu(touching)):
        total += (np.exp(-(colour[i, j] ** 2) / (2 * 10.0**2)) + 0.1) * (values[i] - values[j]) ** 2
    return total


def test_no_other_values_cost_less(parts):
    _, _, lab, _, _, touching = parts
    rng, colour = np.random.default_rng(0), rbd.distances(lab)
    background, foreground = rng.random(len(lab)), rng.random(len(lab))
    best = rbd.optimise(background, foreground, colour, touching)
    least = cost(best, background, foreground, colour, touching)
    for _ in range(50):
        other = best + rng.normal(0, 0.01, len(best))
        assert cost(other, background, foreground, colour, touching) > least


def test_sharpening_keeps_the_order_and_the_cut():
    values = np.linspace(0, 1, 101)
    sharp = rbd.sharpen(values)
    np.testing.assert_allclose(sharp[[0, 50, 100]], [0, 0.5, 1], atol=1e-12)
    assert (np.diff(sharp) > 0).all() and sharp[30] < 0.3 and sharp[70] > 0.7


# --- maps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_stands_out_is_found(seed):
    image, inside = scene((120, 160), seed)
    found = rbd.robust_background(image)
    assert found[inside].mean() > 220 and found[~inside].mean() < 15


def test_a_thing_on_the_border_is_found_and_a_frame_of_ground_is_not():
    """An object that touches the border a little is no background; what runs along it is (section 3)."""
    image, _ = scene((120, 160))
    image[40:, 50:90] = (30, 30, 200)
    found = rbd.robust_background(image)
    assert found[60:118, 52:88].mean() > 180 and found[:30].mean() < 15


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["noise", "flat"])
def test_any_size_and_any_content(size, kind):
    rng = np.random.default_rng(1)
    image = (
        rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        if kind == "noise"
        else np.full((*size, 3), 77, np.uint8)
    )
    found = rbd.robust_background(image)
    assert found.shape == size and found.dtype == np.uint8
    assert kind == "noise" or not found.any()  # nothing stands out in one colour


def test_a_huge_image_costs_no_more_than_its_small_copy(monkeypatch):
    seen = []
    monkeypatch.setattr(
        rbd, "slic", lambda image, **options: seen.append(image.shape) or slic(image, **options)
    )
    image, inside = scene((900, 3000))
    found = rbd.robust_background(image)
    assert seen == [(120, 400, 3)]
    assert found.shape == (900, 3000) and found[inside].mean() > 200 and found[~inside].mean() < 25


slic = rbd.slic


def test_options_matter_and_maps_repeat():
    image, _ = scene((120, 160))
    first = rbd.robust_background(image)
    np.testing.assert_array_equal(first, rbd.robust_background(image.copy()))
    assert (first != rbd.robust_background(image, superpixels=40)).any()
    assert (first != rbd.robust_background(image, long_side=64)).any()
