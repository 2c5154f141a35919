"""CPN: the three looks, its losses against a slow reference, gradients, counts, recipes' quirks."""

import pytest
import torch
import torch.nn.functional as F
from small_seam import HEADS, batch_of, count, gradients, narrow_resnet38d, small
from wsss import methods
from wsss.io.cam_forms import cut_min_max
from wsss.methods.cpn import CPN, cross_regularisation, shares, triplet
from wsss.nets.pcm import guidance


def pair_batch(size=64, classes=3, n=2, hidden=None):
    """A batch with blocks of 8 pixels hidden; `hidden` = 1 hides everything of the first image's first part."""
    batch, g = batch_of(size, classes, n), torch.Generator().manual_seed(1)
    mask = (torch.rand(n, 1, size // 8, size // 8, generator=g) < 0.6).float()
    if hidden is not None:
        mask[0] = 1 - hidden
    batch["pair_mask"] = mask.repeat_interleave(8, 2).repeat_interleave(8, 3)
    batch["pair_weight"] = mask.mean((1, 2, 3))
    return batch


def cpn(**options):
    return small(CPN, **options)


# --- the pair ------------------------------------------------------------------------------------------


def test_parts_add_up_to_the_image_and_weights_to_one():
    batch = pair_batch()
    first, second = cpn().further_views(batch).values()
    assert torch.equal(first + second, batch["image"]) and ((first == 0) | (second == 0)).all()
    assert (first[batch["pair_mask"].expand_as(first) == 1] != 0).all()
    whole, one, two = shares(batch["pair_weight"])
    assert torch.equal(one + two, whole) and whole.shape == (2, 1, 1, 1) and (whole == 1).all()


# --- losses --------------------------------------------------------------------------------------------


def reference_loss(net, batch):
    """The published loss line by line, at the size of the crop."""
    y, image, mask = batch["y"], batch["image"], batch["pair_mask"]
    label = torch.cat([torch.ones(len(y), 1), y], 1)[..., None, None]
    w = batch["pair_weight"][:, None, None, None]
    cls, rvmin, c, d = [], [], [], []
    for view, weight in ((image, torch.ones_like(w)), (image * mask, w), (image * (1 - mask), 1 - w)):
        out = net.look(view, frozenset({"maps", "features"}))
        cam, rv = (F.interpolate(m, image.shape[-2:], mode="bilinear", align_corners=True) for m in (out.maps, out.features["cam_rv"]))
        cls.append(F.multilabel_soft_margin_loss(cam.mean((2, 3))[:, 1:], y))
        largest = (rv * label)[:, 1:].max(1)[0].flatten(1)
        rvmin.append(largest.sort(1)[0][:, : largest.shape[1] // 4].relu().mean())
        c.append(weight * cut_min_max(cam) * label)
        d.append(weight * cut_min_max(rv) * label)
    tcp = (c[1].detach() + c[2].detach() - c[0])[:, 1:].abs().mean() + (d[0] - d[1] - d[2])[:, 1:].abs().mean()
    for maps in (c, d):
        for i in range(3):
            maps[i] = torch.cat([1 - maps[i][:, 1:].max(1, keepdim=True)[0], maps[i][:, 1:]], 1)
    cpcr = []
    for part, other in ((1, 2), (2, 1)):
        target = (c[0] - c[part]).detach().clone()
        target[target != target.max(1, keepdim=True)[0]] = 0
        distance = (target - d[other]).abs().flatten(1)
        cpcr.append(distance.sort(1, descending=True)[0][:, : int(0.2 * distance.shape[1])].mean())
    return sum(cls) / 3, sum(rvmin) / 3, tcp, sum(cpcr)


@pytest.mark.parametrize("classes", [3, 12])
@pytest.mark.parametrize("options", [{}, {"prcm_key": "reference"}], ids=["transpose", "reference"])
def test_losses_are_the_published_ones(options, classes):
    net, batch = cpn(classes=classes, **options).eval(), pair_batch(classes=classes)
    losses = net.loss(batch, net(batch, net.loss_want), 0)
    found = [losses[name] for name in ("cls", "rvmin", "tcp", "cpcr")]
    torch.testing.assert_close(found, list(reference_loss(net, batch)), rtol=1e-4, atol=1e-6)
    assert all(value > 0 for value in found) and losses["total"].item() == pytest.approx(sum(found).item(), rel=1e-6)


def test_maps_that_add_up_cost_nothing():
    g = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 1, 4, 5, 5, generator=g)
    c = d = [first + second, first, second]
    assert triplet(c, d, 3).item() == pytest.approx(0, abs=1e-6)
    assert triplet([first + second + 1, first, second], d, 3).item() == pytest.approx(1, rel=1e-5)


def test_background_competes_and_negative_values_stay():
    """Unlike in SEAM. Where the whole sees nothing, and the other part all of it, the rest is -1 for the class."""
    whole, first, second = (torch.tensor([0.0, v]).reshape(1, 2, 1, 1) for v in (0.2, 1.0, 0.0))
    target = torch.tensor([0.8 - 0.0, 0.2 - 1.0])  # background wins, the class is cut
    refined = torch.zeros(1, 2, 1, 1)  # background 1 - 0
    loss = cross_regularisation([whole, first, second], [refined] * 3, 1.0, 1)
    expected = ((target[0] - 1).abs() + 0) / 2 + (abs(0.0 - 1) + 0.2) / 2
    # the second pair: background 0.8 - 1 = -0.2 loses against the class's 0.2 and is cut
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_part_that_shows_nothing_is_legal(hidden):
    net, batch = cpn(), pair_batch(hidden=hidden)
    losses = net.loss(batch, net(batch, net.loss_want), 0)
    losses["total"].backward()
    assert torch.isfinite(losses["total"]) and all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_hidden_parts_can_be_left_out_of_the_classification_loss():
    batch = pair_batch(hidden=1)
    plain, skipping = cpn(dropout=0.0).eval(), cpn(dropout=0.0, skip_hidden_cls=True).eval()
    logits = [net_logits(plain, batch["image"] * share) for share in (1, batch["pair_mask"], 1 - batch["pair_mask"])]
    each = torch.stack([F.binary_cross_entropy_with_logits(z, batch["y"], reduction="none").mean(1) for z in logits])
    found = [net.loss(batch, net(batch, net.loss_want), 0)["cls"].item() for net in (plain, skipping)]
    assert found[0] == pytest.approx(each.mean().item(), rel=1e-5)
    assert found[1] == pytest.approx((each.sum() - each[1, 0]).item() / 5, rel=1e-5)


def net_logits(net, image):
    return net({"image": image}).logits


# --- refined maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["transpose", "reference"])
def test_refined_maps_are_both_modules_sums(key):
    net, image = cpn(prcm_key=key).eval(), batch_of()["image"]
    out = net({"image": image}, frozenset({"maps", "features"}))
    guide = guidance(out.maps)
    features = net.pcm.features(image, out.features["x3"], out.features["x4"], guide.shape[-2:])
    regions = net.prcm(guide, features, net.pcm.f9)
    torch.testing.assert_close(out.features["cam_rv"], net.pcm(guide, features) + regions)
    assert regions.abs().max() > 1e-4


def test_without_the_regions_the_refined_maps_are_seams():
    net, image = cpn(prcm_similarity="none").eval(), batch_of()["image"]
    out = net({"image": image}, frozenset({"maps", "features"}))
    features = net.pcm.features(image, out.features["x3"], out.features["x4"], out.maps.shape[-2:])
    torch.testing.assert_close(out.features["cam_rv"], net.pcm(guidance(out.maps), features))
    assert not [name for name in net.state_dict() if "f10" in name]


def test_the_two_readings_differ():
    outs = [cpn(prcm_key=key).eval()({"image": batch_of()["image"]}, frozenset({"features"})).features["cam_rv"] for key in ("transpose", "reference")]
    assert (outs[0] - outs[1]).abs().max() > 1e-4


# --- which loss reaches which layers -------------------------------------------------------------------

OWN = {*HEADS, "prcm.f10.weight"}


@pytest.fixture(scope="module")
def resnet38d():
    """Features of a moderate size: the region softmax saturates otherwise, and f10 learns nothing."""
    net = narrow_resnet38d(CPN)
    with torch.no_grad():
        for layer in (net.pcm.f9, net.prcm.f10):
            layer.weight.mul_(0.01)
    return net


@pytest.mark.parametrize("name, layers", [("cpcr", OWN), ("rvmin", set(HEADS))])
def test_refined_maps_teach_their_own_layers_only(resnet38d, name, layers):
    """rvmin's pixels are the least foreground ones, where the regions' term is 0."""
    found = gradients(resnet38d, pair_batch(), name)
    assert {n for n, value in found.items() if value > 0} == layers


def test_first_triplet_term_teaches_trunk_and_the_second_the_own_layers(resnet38d):
    batch = pair_batch()
    out = resnet38d(batch, resnet38d.loss_want)
    looks = (out, out.views["first"], out.views["second"])
    c = [cut_min_max(o.maps) * torch.cat([torch.ones(2, 1), batch["y"]], 1)[..., None, None] for o in looks]
    d = [cut_min_max(o.features["cam_rv"]) for o in looks]
    zero = [torch.zeros_like(m) for m in c]
    parameters = dict(resnet38d.named_parameters())
    wanted = {n: p for n, p in parameters.items() if p.requires_grad}
    first = torch.autograd.grad(triplet(c, zero, 3), wanted.values(), retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(triplet(zero, d, 3), wanted.values(), allow_unused=True)
    reached = [{n for n, g in zip(wanted, grads, strict=True) if g is not None and g.abs().max() > 0} for grads in (first, second)]
    assert reached[1] == OWN and not reached[0] & OWN
    assert reached[0] == {n for n in wanted if n.startswith("backbone.")} | {"fc8.weight"} and len(reached[0]) == 36
    rows = first[list(wanted).index("fc8.weight")].abs().amax((1, 2, 3)) > 0
    assert rows.tolist() == [False, True, True, False]


def test_background_row_learns_nothing(resnet38d):
    gradients(resnet38d, pair_batch(), "total")
    assert resnet38d.fc8.weight.grad[0].abs().max() == 0


# --- the net -------------------------------------------------------------------------------------------


def test_golden_parameter_counts():
    with torch.device("meta"):
        net = CPN(20, "resnet38d", {})
    trunk, new = net.param_groups()
    assert count(net.parameters()) == 105_395_648
    assert (len(trunk["params"]), count(new["params"]), trunk["lr_scale"], new["lr_scale"]) == (35, 324_736, 1, 10)


def test_spec():
    spec = CPN.spec_for({"output_stride": 16})
    assert (spec.stride, spec.needs, spec.geometry, spec.norm) == (16, frozenset(), "view", "cut_min_max")
    assert methods.get("cpn") is CPN


def test_what_draws_parts_holds_its_options_only():
    maker = cpn(pair="grid", grid_sizes=[32]).further_arrays()
    assert maker.keywords["options"] == {"pair": "grid", "segments": 300, "compactness": 10, "grid_sizes": [32]}
