"""AffinityNet: network, pair loss, labels from two CRF passes, and its walk against the dense matrix."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from wsss.errors import UserError
from wsss.refine.affinity_net import AffinityNet
from wsss.refine.affinity_walk import affinitynet_semantic, grid_planes
from wsss.refine.affinitynet import cell_labels, feature_affinity
from wsss.refine.background import background
from wsss.refine.pairs import pair_losses, pair_types
from wsss.refine.paths import path_index
from wsss.refine.random_walk import degrees, inside, walk_affinity
from wsss.sections.background import Rule


def uniform(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small(**options):
    torch.manual_seed(0)
    return AffinityNet("resnet_small", **options)


# --- the network


def test_published_sizes():
    with torch.device("meta"):
        net = AffinityNet("resnet38d")
        assert sum(p.numel() for p in net.parameters()) == 106_484_032
        trunk, head = net.param_groups()
        assert sum(p.numel() for p in head["params"]) == 1_413_120 and head["lr_scale"] == 10
        frozen = sum(p.numel() for p in net.backbone.parameters() if not p.requires_grad and p.dim() == 4)
        assert sum(p.numel() for p in trunk["params"]) == 105_023_168 - frozen
        assert {n.split(".")[0] for n, p in net.backbone.named_parameters() if not p.requires_grad and p.dim() == 4} == {
            "conv1a", "b2", "b2_1", "b2_2"
        }  # fmt: skip
        assert net(torch.empty(1, 3, 448, 448)).shape == (1, 448, 56, 56)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet38d"])
@pytest.mark.parametrize("size", [(375, 500), (1, 9), (64, 64)])
def test_features_have_a_cell_for_every_eight_pixels(name, size):
    with torch.device("meta"):
        net = AffinityNet(name).eval()
        assert net.features(torch.empty(3, *size)).shape == (448, -(-size[0] // 8), -(-size[1] // 8))


def test_the_whole_trunk_learns():
    net = small(freeze="none", bn="train")
    label = torch.randint(0, 2, (2, 10, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    net.loss({"image": uniform(2, 3, 80, 80), "label": label})["total"].backward()
    names = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not names


def test_options_say_what_learns():
    frozen = {n.split(".")[1] for n, p in small().named_parameters() if p.dim() == 4 and not p.requires_grad}
    learning = {n for n, p in small().named_parameters() if p.dim() == 1 and p.requires_grad}
    assert frozen == {"conv1", "layer1"} and not learning
    plain, dilated = small(dilated=False), small(dilated=True)
    assert {m.dilation for m in plain.backbone.layer4.modules() if isinstance(m, torch.nn.Conv2d)} == {(1, 1)}
    assert dilated.backbone.layer4[0].conv1.dilation == (4, 4)


def test_a_crop_too_small_for_the_radius_is_named():
    sample = {"image": uniform(1, 3, 64, 64), "label": torch.zeros(1, 8, 8, dtype=torch.uint8)}
    with pytest.raises(UserError, match="crop of 64 x 64 pixels is too small.*at least 72 pixels"):
        small().loss(sample)
    assert torch.isfinite(small(radius=4).loss(sample)["total"])


# --- pairs


@pytest.mark.parametrize(
    "size, sources, pairs", [((56, 56), 2_496, 84_864), ((47, 63), 2_365, 80_410), ((8, 10), 8, 272)]
)
def test_pair_counts(size, sources, pairs):
    index = path_index(5)
    rows, cols = index.source_shape(*size)
    assert len(index.directions) == 34 and (rows * cols, rows * cols * 34) == (sources, pairs)


def loop_affinity(features, index):
    """Pair by pair, with plain autograd."""
    rows, cols = index.source_shape(*features.shape[-2:])
    r = index.reach
    source = features[:, :, :rows, r : r + cols]
    targets = [features[:, :, dy : dy + rows, r + dx : r + dx + cols] for dy, dx in index.directions]
    return torch.stack([torch.exp(-(source - t).abs().mean(1)) for t in targets], dim=1)


@pytest.mark.parametrize("radius, size", [(5, (9, 12)), (5, (5, 9)), (2, (3, 4))])
def test_feature_affinity_and_its_gradient(radius, size):
    index = path_index(radius)
    features = uniform(2, 7, *size, dtype=torch.float64)
    ours, plain = features.clone().requires_grad_(), features.clone().requires_grad_()
    got, wanted = feature_affinity(ours, index), loop_affinity(plain, index)
    torch.testing.assert_close(got, wanted)
    weights = uniform(*got.shape, seed=1, dtype=torch.float64)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_equal_features_are_a_fixed_point():
    features = torch.ones(1, 3, 9, 12, requires_grad=True)
    out = feature_affinity(features, path_index(5))
    out.sum().backward()
    assert (out == 1).all() and (features.grad == 0).all()


def test_pair_loss_by_loop():
    index = path_index(3)
    labels = torch.randint(0, 4, (2, 6, 9), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels[labels == 3] = 255
    rows, cols = index.source_shape(6, 9)
    affinity = uniform(2, len(index.directions), rows, cols)
    sums, counts = dict.fromkeys("bfn", 0.0), dict.fromkeys("bfn", 0)
    for b, d, y, x in np.ndindex(*affinity.shape):
        (dy, dx), r, a = index.directions[d], index.reach, float(affinity[b, d, y, x])
        i, j = int(labels[b, y, r + x]), int(labels[b, y + dy, r + x + dx])
        if 255 in (i, j):
            continue
        kind = "n" if i != j else "f" if i else "b"
        sums[kind] -= np.log(1 + 1e-5 - a) if kind == "n" else np.log(a + 1e-5)
        counts[kind] += 1
    means = {k: sums[k] / (counts[k] + 1e-5) for k in sums}
    total = pair_losses(affinity, *pair_types(labels, index))["total"]
    assert float(total) == pytest.approx(means["b"] / 4 + means["f"] / 4 + means["n"] / 2, rel=1e-5)


def test_loss_is_finite_where_nothing_is_known():
    net = small(freeze="none", bn="train")
    sample = {"image": uniform(1, 3, 80, 80), "label": torch.full((1, 10, 10), 255, dtype=torch.uint8)}
    total = net.loss(sample)["total"]
    total.backward()
    assert total == 0 and all(p.grad.isfinite().all() for p in net.parameters())


# --- labels


def slow_labels(probs):
    side = -(-probs.shape[-1] // 8)
    out = np.empty((side, side), np.uint8)
    for y, x in np.ndindex(side, side):
        block = probs[:, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        confident, unsure = block.mean((2, 3)).argmax(1)
        out[y, x] = 255 if confident == 0 else confident
        out[y, x] = 0 if unsure == 0 else out[y, x]
        out[y, x] = 255 if not block.any() else out[y, x]
    return out


@pytest.mark.parametrize("side", [16, 40, 37, 3])
@pytest.mark.parametrize("rows", [2, 4])
def test_cell_labels_by_loop(side, rows):
    probs = np.random.default_rng(side).random((2, rows, side, side)).astype(np.float32)
    probs[:, :, : side // 2] = 0  # padding: nothing is known
    np.testing.assert_array_equal(cell_labels(probs), slow_labels(probs))


@pytest.mark.parametrize(
    "confident, unsure, label",
    [([1, 0], [1, 0], 0), ([1, 0], [0, 1], 255), ([0, 1], [0, 1], 1), ([0, 1], [1, 0], 0), ([0, 0], [0, 0], 255)],
)
def test_label_table(confident, unsure, label):
    probs = np.array([confident, unsure], np.float32)[:, :, None, None] * np.ones((8, 8), np.float32)
    assert cell_labels(probs).tolist() == [[label]]


# --- the walk


def dense(planes, directions, beta):
    """T: symmetric affinities^beta + identity, columns normalised."""
    height, width = planes.shape[1:]
    matrix = np.eye(height * width)
    for plane, (dy, dx) in zip(planes.double().numpy(), directions, strict=True):
        for y, x in np.ndindex(height, width):
            if y + dy < height and 0 <= x + dx < width:
                i, j = y * width + x, (y + dy) * width + x + dx
                matrix[i, j] = matrix[j, i] = plane[y, x] ** beta
    return matrix / matrix.sum(0)


def slow_semantic(cam, features, keys, alpha, beta, logt, radius, pairs):
    """The published way, pair by pair and with the whole matrix."""
    height, width = cam.shape[1:]
    rows, cols = features.shape[1:]
    index = path_index(max(2, (min(rows, cols) - 1) // 2) if pairs == "inner" and min(rows, cols) < 11 else radius)
    planes = torch.zeros(len(index.directions), rows, cols)
    for d, (dy, dx) in enumerate(index.directions):
        for y, x in np.ndindex(rows, cols):
            is_inner = y < rows - index.reach and index.reach <= x < cols - index.reach
            if y + dy < rows and 0 <= x + dx < cols and (pairs == "all" or is_inner):
                planes[d, y, x] = torch.exp(-(features[:, y, x] - features[:, y + dy, x + dx]).abs().mean())
    matrix = dense(planes, index.directions, beta)
    for _ in range(logt):
        matrix = matrix @ matrix
    scores = np.concatenate([background(cam, "power", alpha)[None], cam])
    padded = np.zeros((len(scores), rows * 8, cols * 8))
    padded[:, :height, :width] = scores
    cells = padded.reshape(len(scores), rows, 8, cols, 8).mean((2, 4))
    walked = (cells.reshape(len(scores), -1) @ matrix).reshape(cells.shape)
    full = F.interpolate(torch.from_numpy(walked)[None], size=padded.shape[1:], mode="bilinear")[0].numpy()
    return np.array([0, *(k + 1 for k in keys)])[full[:, :height, :width].argmax(0)]


def blobs(size_hw):
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] / max(size_hw)
    cam = np.stack([np.exp(-((y - 0.3) ** 2 + (x - c) ** 2) * 30) for c in (0.25, 0.7)])
    return (cam / cam.max((1, 2), keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("pairs", ["all", "inner"])
@pytest.mark.parametrize("size", [(90, 130), (64, 50), (20, 97)])
def test_masks_are_the_dense_walks(size, pairs):
    cam = blobs(size)
    features = uniform(6, -(-size[0] // 8), -(-size[1] // 8)) * 6
    ours = affinitynet_semantic(cam, features, [2, 7], Rule("power", 24), 8, 6, 5, pairs)
    wanted = slow_semantic(cam, features, [2, 7], 24, 8, 6, 5, pairs)
    assert set(np.unique(wanted)) == {0, 3, 8}
    assert ours.dtype == np.uint8 and (ours == wanted).mean() > 0.9995


def test_scores_do_not_cross_between_unlike_features():
    features = torch.zeros(4, 6, 12)
    features[:, :, 6:] = 6.0
    cam = np.zeros((1, 48, 96), np.float32)
    cam[:, 20:30, 30:40] = 1.0
    # Without background the walk alone decides: the class fills its half and stays out of the other one.
    planes, index = grid_planes(features, 5)
    start = F.avg_pool2d(torch.from_numpy(cam), 8)
    walked = walk_affinity(start, planes, index.directions, 8, 256)[0]
    assert walked[:, :6].min() > 100 * walked[:, 6:].max() > 0


@pytest.mark.parametrize("pairs", ["all", "inner"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (5, 40), (33, 17)])
def test_tiny_images_have_masks(size, pairs):
    cam = np.ones((1, *size), np.float32)
    features = uniform(3, -(-size[0] // 8), -(-size[1] // 8))
    mask = affinitynet_semantic(cam, features, [4], Rule("power", 6), pairs=pairs)
    assert mask.shape == size and (mask == 5).all()


def test_a_zero_map_is_background():
    mask = affinitynet_semantic(
        np.zeros((2, 30, 40), np.float32), uniform(3, 4, 5), [0, 1], Rule("power", 6)
    )
    assert not mask.any()


def test_inner_links_no_border_cells_with_each_other():
    features = torch.ones(2, 12, 16)
    planes, index = grid_planes(features, 5, "inner")
    links = inside(planes, index.directions)
    assert (links[:, 8:] == 0).all() and (links[:, :, :4] == 0).all() and (links[:, :, 12:] == 0).all()
    everywhere, _ = grid_planes(features, 5, "all")
    reached = degrees(inside(everywhere, index.directions), index.directions)
    assert (reached >= degrees(links, index.directions)).all()
    assert reached[5, 8] == 69  # 34 neighbours on each side and itself


def test_inner_shrinks_its_radius_on_small_grids():
    _, index = grid_planes(torch.ones(2, 9, 30), 5, "inner")
    assert index.radius == 4
    assert grid_planes(torch.ones(2, 9, 30), 5, "all")[1].radius == 5
    assert grid_planes(torch.ones(2, 11, 30), 5, "inner")[1].radius == 5
