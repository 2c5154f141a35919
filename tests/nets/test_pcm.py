"""The pixel correlation module against the plain formula: values, gradients, and what is kept in memory."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from wsss.nets import pcm
from wsss.nets.pcm import (
    PixelCorrelation,
    RegionCorrelation,
    correlate,
    guidance,
    region_weights,
    resize_corners,
)


def plain(guide, embedding):
    """G A with the whole matrix A."""
    rows, g = guide.flatten(2), embedding.flatten(2)
    g = g / (g.norm(dim=1, keepdim=True) + 1e-5)
    affinity = F.relu(g.transpose(1, 2) @ g)
    affinity = affinity / (affinity.sum(1, keepdim=True) + 1e-5)
    return (rows @ affinity).view_as(guide)


def case(size=(9, 7), classes=3, width=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(2, classes + 1, *size, generator=g), torch.randn(2, width, *size, generator=g)


@pytest.mark.parametrize("columns", [1, 10, 62, 63, 1000])
def test_parts_equal_the_whole_matrix_forward_and_backward(columns):
    guide, embedding = case()
    weight = torch.randn(guide.shape, generator=torch.Generator().manual_seed(1))
    results = []
    for function in (plain, lambda g, e: correlate(g, e, columns)):
        leaf = embedding.clone().requires_grad_()
        out = function(guide, leaf)
        (out * weight).sum().backward()
        results.append((out.detach(), leaf.grad))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-6)
    assert results[0][1].abs().max() > 1e-3


def test_gradient_reaches_the_guide_too():
    """Not needed by SEAM, whose guide is cut off; it must not be wrong."""
    guide, embedding = (t.double() for t in case((3, 4), classes=1))
    assert torch.autograd.gradcheck(lambda g, e: correlate(g, e, 5), (guide.requires_grad_(), embedding.requires_grad_()))


def test_a_constant_map_stays():
    _, embedding = case((30, 25), width=192)
    out = correlate(torch.full((2, 1, 30, 25), 0.7), embedding, 100)
    torch.testing.assert_close(out, torch.full_like(out, 0.7), atol=1e-4, rtol=0)


def test_every_column_weighs_all_pixels_slowly():
    guide, embedding = case((3, 2), classes=1)
    out = correlate(guide, embedding)[0].flatten(1).numpy()
    g = embedding[0].flatten(1).numpy().astype(np.float64)
    for j in range(6):
        weights = [max(0.0, g[:, i] @ g[:, j] / np.linalg.norm(g[:, i]) / np.linalg.norm(g[:, j])) for i in range(6)]
        for c in range(2):
            expected = sum(w * guide[0, c].flatten()[i].item() for i, w in enumerate(weights)) / sum(weights)
            assert out[c, j] == pytest.approx(expected, abs=1e-4)


def test_zero_embedding_is_finite():
    guide, embedding = case()
    leaf = torch.zeros_like(embedding).requires_grad_()
    out = correlate(guide, leaf, 10)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(leaf.grad).all()


def test_no_large_tensor_is_kept_for_the_backward_pass():
    """Of 400 cells: what autograd holds between the passes is smaller than one 400 x 400 matrix."""
    guide, embedding = case((20, 20), width=16)
    leaf, sizes = embedding.requires_grad_(), []

    def note(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        correlate(guide, leaf, 50)
    assert sizes and max(sizes) <= leaf.numel()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        plain(guide, leaf)
    assert max(kept) == 2 * 400 * 400  # the test would see it


# --- guidance ------------------------------------------------------------------------------------------


def slow_guidance(cam):
    channels, height, width = cam.shape
    out = np.zeros(cam.shape)
    for c in range(1, channels):
        top = max(0.0, cam[c].max())
        for i, j in np.ndindex(height, width):
            out[c, i, j] = max(0.0, max(0.0, cam[c, i, j]) - 1e-5) / (top + 1e-5)
    for i, j in np.ndindex(height, width):
        largest = out[1:, i, j].max()
        out[1:, i, j] = [v if v == largest else 0.0 for v in out[1:, i, j]]
        out[0, i, j] = 1 - largest
    return out


def test_guidance_equals_a_slow_reference():
    cam = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = guidance(cam)
    assert not found.requires_grad
    for one, expected in zip(found, cam.detach().numpy(), strict=True):
        np.testing.assert_allclose(one, slow_guidance(expected), atol=1e-6)


def test_guidance_leaves_out_the_background_row_and_takes_zero_maps():
    cam = torch.zeros(1, 3, 4, 4)
    cam[:, 0] = 100
    assert torch.equal(guidance(cam)[:, 1:], torch.zeros(1, 2, 4, 4)) and (guidance(cam)[:, 0] == 1).all()


# --- features ------------------------------------------------------------------------------------------


def test_features_are_image_and_two_cut_taps():
    torch.manual_seed(0)
    module = PixelCorrelation(8, 16)
    image, low, high = torch.randn(2, 3, 64, 48), torch.randn(2, 8, 8, 6, requires_grad=True), torch.randn(2, 16, 4, 3)
    found = module.features(image, low, high, (8, 6))
    assert found.shape == (2, 195, 8, 6)
    torch.testing.assert_close(found[:, :3], F.interpolate(image, (8, 6), mode="bilinear", align_corners=True))
    torch.testing.assert_close(found[:, 3:67], F.relu(F.conv2d(low, module.f8_3.weight)))
    found.sum().backward()
    assert low.grad is None and module.f8_3.weight.grad.abs().sum() > 0


def test_initial_values():
    torch.manual_seed(0)
    module, region = PixelCorrelation(512, 1024), RegionCorrelation("transpose")
    assert module.f8_3.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert module.f8_4.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)
    for layer in (module.f9, region.f10):
        assert layer.weight.shape == (192, 195, 1, 1) and layer.bias is None
        assert layer.weight.abs().max().item() == pytest.approx(4 * (6 / (192 + 195)) ** 0.5, rel=1e-3)


def test_stretch_keeps_corners():
    maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    found = resize_corners(maps, (5, 9))[0, 0]
    assert [found[0, 0], found[0, -1], found[-1, 0], found[-1, -1]] == [0, 2, 3, 5]
    assert resize_corners(maps, (2, 3)) is maps


# --- CPN's regions -------------------------------------------------------------------------------------


def test_region_weights_sum_to_one_over_space_and_the_readings_differ():
    g = torch.Generator().manual_seed(0)
    keys, pixels = torch.randn(2, 192, 21, generator=g), 0.1 * torch.randn(2, 192, 49, generator=g)
    right, mixed = (region_weights(keys, pixels, key) for key in ("transpose", "reference"))
    torch.testing.assert_close(right.sum(-1), torch.ones(2, 21))
    torch.testing.assert_close(mixed.sum(-1), torch.ones(2, 21))
    assert (right - mixed).abs().max() > 1e-3


def unit(vector):
    size = sum(v * v for v in vector) ** 0.5
    return [v / size for v in vector]


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("key", ["transpose", "reference"])
def test_region_weights_equal_a_slow_reference(key, similarity):
    g = torch.Generator().manual_seed(1)
    keys, pixels = torch.randn(1, 4, 3, generator=g), torch.randn(1, 4, 5, generator=g)
    found = region_weights(keys, pixels, key, similarity)[0]
    shaped = unit if similarity == "cosine" else list
    columns = [shaped(pixels[0, :, p].tolist()) for p in range(5)]
    block = keys[0].tolist()
    flat = [value for row in block for value in row]
    for c in range(3):
        of_class = [block[d][c] for d in range(4)] if key == "transpose" else flat[4 * c : 4 * c + 4]
        scores = [sum(a * b for a, b in zip(shaped(of_class), column, strict=True)) / 3**0.5 for column in columns]
        shares = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(found[c], shares, rtol=1e-4)


def test_at_unit_length_no_pixel_takes_all_the_weight():
    g = torch.Generator().manual_seed(2)
    keys, pixels = (4 * torch.randn(1, 192, n, generator=g).relu() for n in (21, 3136))  # as gain 4 makes them
    assert region_weights(keys, pixels, "transpose").amax() > 0.5
    assert region_weights(keys, pixels, "transpose", "cosine").amax() < 2 / 3136


def test_regions_are_softmax_means_of_the_features():
    torch.manual_seed(0)
    module, f9 = RegionCorrelation("transpose"), PixelCorrelation(8, 8).f9
    guide, features = torch.rand(1, 3, 4, 5), 0.05 * torch.randn(1, 195, 4, 5)
    shares = torch.stack([guide[0, c].flatten().softmax(0) for c in range(3)])
    regions = torch.stack([(shares[c] * features[0].flatten(1)).sum(1) for c in range(3)])
    keys = F.relu(regions @ module.f10.weight.flatten(1).T)
    pixels = F.relu(torch.einsum("od,dn->on", f9.weight.flatten(1), features[0].flatten(1)))
    weights = (keys @ pixels / 3**0.5).softmax(-1)
    torch.testing.assert_close(module(guide, features, f9)[0].flatten(1), weights * guide[0].flatten(1), rtol=1e-4, atol=1e-7)


def test_parts_are_a_seventh_of_the_published_grid():
    assert 56 * 56 == 7 * pcm.COLUMNS
