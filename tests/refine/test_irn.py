"""Affinities by shifted maxima, pair losses and the network of IRN, against explicit loops."""

import math

import numpy as np
import pytest
import torch
from wsss.errors import UserError
from wsss.refine import boundary_net
from wsss.refine.affinity import grid_affinity, pair_affinity
from wsss.refine.boundary_net import DisplacementBranch, EdgeBranch, IrnNet
from wsss.refine.irn import irn_losses, label_grid
from wsss.refine.pairs import pair_types
from wsss.refine.paths import path_index

RESNET50 = (64, 256, 512, 1024, 2048), (4, 4, 8, 16, 16)  # channels and strides of the taps


def uniform(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def count(module):
    return sum(p.numel() for p in module.parameters())


def loop_affinity(boundary, index):
    """Path by path with an explicit stack: plain autograd gives the reference gradient."""
    rows, cols = index.source_shape(*boundary.shape[-2:])
    r = index.reach
    planes = []
    for path in index.paths:
        cells = [boundary[:, y : y + rows, r + x : r + x + cols] for y, x in path]
        planes.append(1 - torch.stack(cells).amax(0))
    return torch.stack(planes, dim=1)


GRIDS = [(5, (9, 12)), (5, (5, 9)), (10, (22, 25)), (2, (3, 4)), (3.5, (8, 8))]


@pytest.mark.parametrize("radius, size", GRIDS)
def test_pair_affinity_and_its_gradient(radius, size):
    index = path_index(radius)
    boundary = uniform(2, *size, dtype=torch.float64)
    ours, plain = boundary.clone().requires_grad_(), boundary.clone().requires_grad_()
    got, wanted = pair_affinity(ours, index), loop_affinity(plain, index)
    assert torch.equal(got, wanted)
    weights = uniform(*got.shape, seed=1, dtype=torch.float64)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_gradient_of_ties_is_neither_lost_nor_doubled():
    boundary = torch.full((1, 9, 12), 0.5, requires_grad=True)
    out = pair_affinity(boundary, path_index(5))
    out.sum().backward()
    assert boundary.grad.sum().item() == -out.numel()


def test_grid_affinity_is_zero_outside_and_right_inside():
    index, boundary = path_index(5), uniform(7, 6)
    planes = grid_affinity(boundary, index)
    assert planes.shape == (34, 7, 6)
    for d, (dy, dx) in enumerate(index.directions):
        for y, x in np.ndindex(7, 6):
            if y + dy < 7 and 0 <= x + dx < 6:
                wanted = 1 - max(boundary[y + py, x + px] for py, px in index.paths[d])
            else:
                wanted = 0.0
            assert planes[d, y, x] == pytest.approx(float(wanted), abs=1e-7)


@pytest.mark.parametrize("pixels, cells", [(512, 128), (321, 81), (256, 64), (5, 2)])
def test_label_grid_picks_what_pil_picks(pixels, cells):
    from PIL import Image

    row = (torch.arange(pixels) % 251).to(torch.uint8)
    label = row.repeat(pixels, 1)[None]
    got = label_grid(label, (cells, cells))[0]
    wanted = Image.fromarray(label[0].numpy()).resize((cells, cells), Image.NEAREST)
    np.testing.assert_array_equal(got, np.asarray(wanted))


def test_label_grid_at_a_quarter_is_pixel_4i_plus_2():
    label = torch.arange(64, dtype=torch.uint8).repeat(64, 1)[None]
    assert torch.equal(label_grid(label, (16, 16)), label[:, 2::4, 2::4])


def test_pair_types_by_loop():
    index = path_index(3)
    labels = torch.randint(0, 4, (2, 6, 9), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels[labels == 3] = 255
    bg, fg, negative = pair_types(labels, index)
    for b, d, y, x in np.ndindex(*bg.shape):
        (dy, dx), r = index.directions[d], index.reach
        i, j = int(labels[b, y, r + x]), int(labels[b, y + dy, r + x + dx])
        valid = 255 not in (i, j)
        wanted = valid and i == j == 0, valid and i == j > 0, valid and i != j
        assert (bool(bg[b, d, y, x]), bool(fg[b, d, y, x]), bool(negative[b, d, y, x])) == wanted


def test_pair_counts_of_a_known_label_map():
    """Golden numbers of the pair set at radius 5: 56x56, columns >= 28 class 1, rows >= 50 ignored."""
    labels = torch.zeros(1, 56, 56, dtype=torch.uint8)
    labels[..., 28:] = 1
    labels[:, 50:] = 255
    assert [int(mask.sum()) for mask in pair_types(labels, path_index(5))] == [37_278, 37_778, 3_280]


def constant_losses(edge_logit, labels):
    edge = torch.full(labels.shape, float(edge_logit))
    return irn_losses(edge, None, labels, path_index(5))


def two_halves():
    labels = torch.zeros(2, 12, 16, dtype=torch.uint8)
    labels[..., 8:] = 3
    return labels


def test_losses_of_constant_boundaries():
    closed = constant_losses(-100, two_halves())  # boundary 0, affinity 1
    assert closed["positive_bg"].item() == pytest.approx(-1.0e-5, rel=0.05)
    assert closed["negative"].item() == pytest.approx(11.5129, abs=2e-2)
    half = constant_losses(0, two_halves())
    for name in ("positive_bg", "positive_fg", "negative", "total"):
        assert half[name].item() == pytest.approx(0.69313, abs=1e-5)


def loop_losses(edge, displacement, labels, index):
    """Every pair of the batch, one by one."""
    sums = dict.fromkeys(("bg", "fg", "neg", "dfg", "dbg"), 0.0)
    counts = dict.fromkeys(("bg", "fg", "neg"), 0)
    boundary, rows_cols = edge.sigmoid(), index.source_shape(*edge.shape[1:])
    for b, d, y, x in np.ndindex(len(edge), len(index.directions), *rows_cols):
        (dy, dx), x0 = index.directions[d], x + index.reach
        i, j = int(labels[b, y, x0]), int(labels[b, y + dy, x0 + dx])
        if 255 in (i, j):
            continue
        a = 1 - max(boundary[b, y + py, x0 + px].item() for py, px in index.paths[d])
        kind = "neg" if i != j else ("fg" if i else "bg")
        counts[kind] += 1
        sums[kind] -= math.log(1 + 1e-5 - a if kind == "neg" else a + 1e-5)
        moved = (displacement[b, :, y, x0] - displacement[b, :, y + dy, x0 + dx]).tolist()
        if kind == "fg":
            sums["dfg"] += abs(moved[0] - dy) + abs(moved[1] - dx)
        if kind == "bg":
            sums["dbg"] += abs(moved[0]) + abs(moved[1])
    mean = {k: sums[k] / (counts[k] + 1e-5) for k in counts}
    shift = [sums["d" + k] / (2 * counts[k] + 1e-5) for k in ("fg", "bg")]
    return ((mean["bg"] + mean["fg"]) / 2 + mean["neg"]) / 2 + sum(shift) / 2


def test_total_loss_pair_by_pair():
    index = path_index(4)
    labels = torch.randint(0, 3, (2, 7, 10), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    labels[0, 2:4] = 255
    edge, displacement = uniform(2, 7, 10) * 4 - 2, uniform(2, 2, 7, 10, seed=3) * 6 - 3
    got = irn_losses(edge, displacement, labels, index)["total"]
    assert got.item() == pytest.approx(loop_losses(edge, displacement, labels, index), rel=1e-4)


@pytest.mark.parametrize("value", [0, 5, 255])
def test_losses_and_gradients_are_finite_without_some_pairs(value):
    edge = torch.full((1, 12, 16), 200.0, requires_grad=True)
    moved = torch.zeros(1, 2, 12, 16, requires_grad=True)
    losses = irn_losses(edge, moved, torch.full((1, 12, 16), value, dtype=torch.uint8), path_index(5))
    losses["total"].backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert torch.isfinite(edge.grad).all() and torch.isfinite(moved.grad).all()


def test_parameter_counts_of_resnet50():
    assert count(EdgeBranch(*RESNET50)) == 125_409
    assert count(DisplacementBranch(*RESNET50)) == 1_269_120
    assert count(IrnNet("resnet50", displacement=True)) == 24_902_561


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 64), (81, 40)])
@pytest.mark.parametrize("backbone", ["resnet_small", "resnet18"])
def test_output_grid(backbone, size):
    net = IrnNet(backbone, displacement=True).eval()
    out = net(uniform(1, 3, *size))
    grid = (size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1
    assert out.edge.shape == (1, *grid) and out.displacement.shape == (1, 2, *grid)


def test_shapes_at_321_with_resnet50():
    net = IrnNet("resnet50", displacement=True).eval()
    with torch.no_grad():
        taps = net.backbone(uniform(1, 3, 321, 321))
        out = net(uniform(1, 3, 321, 321))
    assert [tuple(t.shape[1:]) for t in taps] == [
        *((64, 81, 81), (256, 81, 81), (512, 41, 41), (1024, 21, 21), (2048, 21, 21))
    ]
    assert out.edge.shape == (1, 81, 81) and out.displacement.shape == (1, 2, 81, 81)


def tiny_net(**options):
    torch.manual_seed(0)
    return IrnNet("resnet_small", radius=4, **options)


def tiny_batch(side=32):
    label = torch.zeros(2, side, side, dtype=torch.uint8)
    label[:, :, side // 2 :] = 4
    label[:, :3] = 255
    return {"image": uniform(2, 3, side, side) * 2 - 1, "label": label}


def test_only_the_branches_learn_and_the_backbone_stays_in_eval():
    net = tiny_net(displacement=True).train()
    assert net.training and not net.backbone.training and net.edge.training
    before = {k: v.clone() for k, v in net.backbone.state_dict().items()}
    groups = net.param_groups()
    assert [g["lr_scale"] for g in groups] == [1.0, 10.0]
    optimiser = torch.optim.SGD([p for g in groups for p in g["params"]], lr=0.1)
    first = net.loss(tiny_batch(), 0)["total"]
    for step in range(15):
        optimiser.zero_grad()
        loss = net.loss(tiny_batch(), step)["total"]
        loss.backward()
        optimiser.step()
    assert loss < first
    assert all(torch.equal(v, before[k]) for k, v in net.backbone.state_dict().items())
    trainable = [p for p in net.parameters() if p.requires_grad]
    assert len(trainable) == sum(len(g["params"]) for g in groups)


def test_displacement_has_no_influence_on_the_edge_gradient():
    with_it, without = tiny_net(displacement=True).train(), tiny_net().train()
    state = with_it.state_dict()
    without.load_state_dict({k: v for k, v in state.items() if not k.startswith("displacement")})
    for net in (with_it, without):
        net.loss(tiny_batch(), 0)["total"].backward()
    for a, b in zip(with_it.edge.parameters(), without.edge.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert without.displacement is None and len(without.param_groups()) == 1


def test_loss_does_not_depend_on_the_batch_layout_and_checks_the_crop():
    net = tiny_net()
    batch = tiny_batch()
    strided = {"image": batch["image"].to(memory_format=torch.channels_last), "label": batch["label"]}
    torch.testing.assert_close(net.loss(batch, 0)["total"], net.loss(strided, 0)["total"])
    with pytest.raises(UserError, match="radius 4; use a crop of at least 28 pixels"):
        net.loss(tiny_batch(16), 0)
    net.loss(tiny_batch(28), 0)


CANVASES = [("none", (37, 50)), ("multiples_of_16", (48, 64)), (64, (64, 64)), (40, (40, 50)), (24, (37, 50))]


@pytest.mark.parametrize("pad_to, size", CANVASES)
def test_edge_maps_average_mirrored_logits_on_the_canvas_asked_for(pad_to, size):
    net = tiny_net(pad_to=pad_to).eval()
    image = uniform(3, 37, 50) * 2 - 1
    views = torch.stack([image, image.flip(-1)])
    filled = torch.zeros(2, 3, *size)
    filled[..., :37, :50] = views
    with torch.no_grad():
        logits = net(filled).edge[:, :10, :13]
    wanted = ((logits[0] + logits[1].flip(-1)) / 2).sigmoid()
    got = net.edge_maps(views)[0]
    torch.testing.assert_close(got, wanted)
    assert got.shape == (10, 13) and 0 <= got.min() and got.max() <= 1
    torch.testing.assert_close(net.edge_maps(torch.cat([views[:1], views[:1], views[1:], views[1:]]))[1], got)


@pytest.mark.parametrize("pad_to, size", CANVASES)
def test_group_norm_sees_the_whole_canvas(pad_to, size):
    net = tiny_net(pad_to=pad_to).eval()
    seen = []
    norm = next(m for m in net.edge.modules() if isinstance(m, torch.nn.GroupNorm))
    norm.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output.clone())))
    net.edge_maps(uniform(2, 3, 37, 50) * 2 - 1)
    x, out = seen[0]
    assert x.shape[-2:] == tuple((side - 1) // 4 + 1 for side in size)
    groups = x.reshape(2, norm.num_groups, -1)
    centred = groups - groups.mean(-1, keepdim=True)
    expected = (centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()).reshape(x.shape)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_the_canvas_changes_the_map_and_never_crops():
    small, large = uniform(2, 3, 40, 40), uniform(2, 3, 40, 80)
    fixed, plain = tiny_net(pad_to=64).eval(), tiny_net().eval()
    assert not torch.equal(fixed.edge_maps(small)[0], plain.edge_maps(small)[0])
    assert fixed.edge_maps(large).shape == plain.edge_maps(large).shape == (1, 10, 20)
    assert boundary_net.canvas((40, 80), 64) == (64, 80) and boundary_net.canvas((700, 600), 512) == (700, 600)


def test_mean_shift_is_subtracted_in_eval_only():
    net = tiny_net(displacement=True).eval()
    images = uniform(2, 3, 32, 32)
    plain = net(images).displacement
    net.estimate_mean_shift([images])
    mean = net(images).displacement.mean(dim=(0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(net.train()(images).displacement, plain)
    assert "displacement.mean_shift" in net.state_dict()
    with pytest.raises(ValueError, match="no mean shift"):
        tiny_net().estimate_mean_shift([images])


def test_no_index_tables_in_the_saved_state():
    assert not [k for k in tiny_net().state_dict() if not k.startswith(("backbone.", "edge."))]
    assert boundary_net.STRIDE == 4


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError):
        tiny_net().load_backbone({"conv1.weight": torch.zeros(1)})
