"""SEAM: parts of the loss against golden values and slow references, gradients, counts, inference."""


import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_seam import HEADS, batch_of, count, gradients, narrow_resnet38d, small
from wsss.io.cam_forms import cut_min_max
from wsss.methods.base import CamOut, with_background
from wsss.methods.pixel_correlation import (
    background_from,
    background_minimum,
    class_mean,
    hardest_mean,
    image_logits,
    listed_classes,
    listed_maps,
    only_largest,
    statistics_kept,
)
from wsss.methods.seam import SEAM, cross_regularisation, equivariance, strongest_class
from wsss.nets.norm import BatchNorm
from wsss.nets.pcm import resize_corners

SCRATCH = {"bn": "train", "freeze": "none"}


def test_logits_of_the_image_are_float32_in_a_training_in_bf16():
    """Autocast would round the weights of their mean, and with them the loss."""
    maps = torch.rand(2, 4, 17, 23, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = image_logits(maps, (134, 180))
    assert found.dtype == torch.float32 and torch.equal(found, image_logits(maps, (134, 180)))


# --- parts of the loss ---------------------------------------------------------------------------------


def test_golden_max_norm():
    found = cut_min_max(torch.tensor([[[[-1.0, 0.0], [1.0, 3.0]]]])).flatten().tolist()
    assert found == pytest.approx([0, 0, 0.333329, 0.999993], abs=1e-6)


@pytest.mark.parametrize("value", [-3.0, 0.0, 1e-7, 5.0])
def test_flat_maps_give_zero_with_finite_gradient(value):
    maps = torch.full((1, 2, 4, 4), value, requires_grad=True)
    found = cut_min_max(maps)
    found.sum().backward()
    assert (found == 0).all() and torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("shift, expected", [(0.0, 1.5), (2.0, 0.25)])
def test_golden_background_minimum(shift, expected):
    maps = torch.stack([torch.full((4, 4), 100.0), torch.arange(16.0).reshape(4, 4) - shift])[None]
    assert background_minimum(maps, torch.ones(1, 1)).item() == pytest.approx(expected)


def test_background_minimum_of_no_class_and_of_one_pixel():
    assert background_minimum(torch.ones(2, 4, 5, 5), torch.zeros(2, 3)) == 0
    assert background_minimum(torch.full((1, 2, 1, 1), 0.3), torch.ones(1, 1)).item() == pytest.approx(0.3)


def test_hardest_values_number_as_published():
    for channels, side, expected in ((21, 134, 75_415), (21, 448, 842_956)):
        values = torch.zeros(1, channels, side, side)
        values.view(-1)[:expected] = 1
        assert hardest_mean(values, 0.2, 20) == 1
        values.view(-1)[expected - 1] = 0
        assert hardest_mean(values, 0.2, 20).item() == pytest.approx(1 - 1 / expected, abs=1e-6)


def test_hardest_are_taken_image_by_image():
    values = torch.tensor([[1.0, 2, 3, 4, 5], [10, 20, 30, 40, 50]])[..., None, None]
    assert hardest_mean(values, 0.4, 4).item() == pytest.approx((4.5 + 45) / 2)
    assert hardest_mean(values, 0.01, 4).item() == pytest.approx((5 + 50) / 2)  # never none


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_absent_classes_need_not_be_listed(share):
    """Their distances are 0: the hardest of all 21 channels are the same with one of them or with all."""
    values = torch.cat([torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 18, 6, 5)], 1)
    listed = values[:, :4]
    assert hardest_mean(listed, share, 20).item() == pytest.approx(hardest_mean(values, share, 20).item(), rel=1e-6)
    assert class_mean(listed, 20).item() == pytest.approx(values[:, 1:].mean().item(), rel=1e-6)


def test_listed_classes_are_each_images_own_and_absent_ones():
    y = torch.tensor([[0.0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    assert listed_classes(y).tolist() == [[1, 3, 0], [2, 0, 1], [0, 1, 2]]
    assert listed_classes(torch.ones(1, 2)).tolist() == [[0, 1]] and listed_classes(torch.zeros(1, 2)).tolist() == [[0]]
    maps = torch.arange(3 * 6.0).reshape(3, 6, 1, 1)
    assert listed_maps(maps, listed_classes(y), (1, 1)).flatten(1).tolist() == [[0, 2, 4, 1], [6, 9, 7, 8], [12, 13, 14, 15]]


def test_image_logits_are_the_mean_of_the_stretched_maps():
    maps = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = resize_corners(maps, (40, 51)).mean((-2, -1))[:, 1:]
    torch.testing.assert_close(image_logits(maps, (40, 51)), expected, rtol=1e-5, atol=1e-6)


def test_second_view_is_published_size():
    net = small()
    assert net.second_size(torch.empty(1, 3, 448, 448, device="meta")) == (134, 134)
    assert net.second_size(torch.empty(1, 3, 2, 16)) == (1, 4)


def test_strongest_class_leaves_the_background():
    maps = torch.tensor([0.9, 0.2, 0.5, 0.5, 0.1]).reshape(1, 5, 1, 1)
    assert strongest_class(maps).flatten().tolist() == pytest.approx([0.9, 0, 0.5, 0.5, 0])
    assert only_largest(maps).flatten().tolist() == pytest.approx([0.9, 0, 0, 0, 0])


def slow_ecr(target, maps, share):
    """target, maps (C+1, h, w), image by image."""
    target = target.copy()
    target[0] = 1 - target[1:].max(0)
    for i, j in np.ndindex(target.shape[1:]):
        top = target[1:, i, j].max()
        for c in range(1, len(target)):
            target[c, i, j] = target[c, i, j] if target[c, i, j] == top else 0
    distances = sorted(np.abs(target - maps).ravel(), reverse=True)
    return np.mean(distances[: int(share * len(distances))])


def test_regularisers_equal_slow_references():
    g = torch.Generator().manual_seed(0)
    c1, c2, r1, r2 = (torch.rand(2, 4, 6, 5, generator=g) for _ in range(4))
    before = [t.clone() for t in (c1, c2, r1, r2)]
    found = cross_regularisation(c1, c2, r1, r2, 0.2, 3).item()
    expected = [slow_ecr(c2[b].numpy(), r1[b].numpy(), 0.2) + slow_ecr(c1[b].numpy(), r2[b].numpy(), 0.2) for b in (0, 1)]
    assert found == pytest.approx(np.mean(expected), rel=1e-5)
    assert equivariance(c1, c2, 3).item() == pytest.approx((c1 - c2)[:, 1:].abs().mean().item())
    assert all(torch.equal(t, old) for t, old in zip((c1, c2, r1, r2), before, strict=True))


def test_equivariance_counts_absent_classes_in_its_mean():
    c1, c2 = torch.zeros(1, 21, 2, 2), torch.zeros(1, 21, 2, 2)
    c1[:, 3] = 1
    c1[:, 0] = 5
    assert equivariance(c1, c2, 20).item() == pytest.approx(1 / 20)


def reference_loss(net, batch):
    """The published loss line by line, from the network's maps at the size of each view."""
    y, image = batch["y"], batch["image"]
    label = torch.cat([torch.ones(len(y), 1), y], 1)[..., None, None]
    small_image = F.interpolate(image, scale_factor=0.3, mode="bilinear", align_corners=True, recompute_scale_factor=False)

    def outputs(x):
        out = net.look(x, frozenset({"maps", "features"}))
        pair = out.maps, out.features["cam_rv"]
        return [F.interpolate(m, x.shape[-2:], mode="bilinear", align_corners=True) for m in pair]

    def down(maps):
        return F.interpolate(maps, small_image.shape[-2:], mode="bilinear", align_corners=True)

    (cam1, rv1), (cam2, rv2) = outputs(image), outputs(small_image)
    cls, rvmin = [], []
    for cam, rv in ((cam1, rv1), (cam2, rv2)):
        cls.append(F.multilabel_soft_margin_loss(cam.mean((2, 3))[:, 1:], y))
        largest = (rv * label)[:, 1:].max(1)[0].flatten(1)
        rvmin.append(largest.sort(1)[0][:, : largest.shape[1] // 4].relu().mean())
    c1, r1 = down(cut_min_max(cam1)) * label, down(cut_min_max(rv1)) * label
    c2, r2 = cut_min_max(cam2) * label, cut_min_max(rv2) * label
    ecr = []
    for target, maps in ((c2, r1), (c1, r2)):
        target = target.detach().clone()
        target[:, 0] = 1 - target[:, 1:].max(1)[0]
        classes = target[:, 1:]
        classes[classes != classes.max(1, keepdim=True)[0]] = 0
        distance = (target - maps).abs().flatten(1)
        ecr.append(distance.sort(1, descending=True)[0][:, : int(0.2 * distance.shape[1])].mean())
    er = (c1[:, 1:] - c2[:, 1:]).abs().mean()
    return sum(cls) / 2, sum(rvmin) / 2, er, sum(ecr)


@pytest.mark.parametrize("classes", [3, 12])
def test_losses_are_the_published_ones(classes):
    net, batch = small(classes=classes).eval(), batch_of(classes=classes)
    losses = net.loss(batch, net(batch, net.loss_want), 0)
    found = [losses[name] for name in ("cls", "rvmin", "er", "ecr")]
    torch.testing.assert_close(found, list(reference_loss(net, batch)), rtol=1e-4, atol=1e-6)
    assert all(value > 0 for value in found) and losses["total"].item() == pytest.approx(sum(found).item(), rel=1e-6)


def test_an_image_without_any_response_is_legal():
    net, batch = small(), batch_of()
    torch.nn.init.zeros_(net.fc8.weight)
    losses = net.loss(batch, net(batch, net.loss_want), 0)
    losses["total"].backward()
    assert torch.isfinite(losses["total"]) and all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


# --- which loss reaches which layers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet38d():
    return narrow_resnet38d(SEAM)


@pytest.mark.parametrize("name", ["ecr", "rvmin"])
def test_refined_maps_teach_their_own_layers_only(resnet38d, name):
    found = gradients(resnet38d, batch_of(), name)
    assert all(found[head] > 0 for head in HEADS)
    assert {n for n, value in found.items() if value > 0} == set(HEADS)


@pytest.mark.parametrize("name", ["er", "cls"])
def test_class_maps_teach_trunk_and_classifier_only(resnet38d, name):
    found = gradients(resnet38d, batch_of(), name)
    assert all(found[head] == 0 for head in HEADS) and found["fc8.weight"] > 0
    trunk = [n for n, p in resnet38d.backbone.named_parameters() if p.dim() == 4 and p.requires_grad]
    assert len(trunk) == 35 and all(found[f"backbone.{n}"] > 0 for n in trunk)


def test_background_row_and_absent_classes_get_no_gradient_from_equivariance(resnet38d):
    gradients(resnet38d, batch_of(), "er")
    rows = resnet38d.fc8.weight.grad.abs().amax((1, 2, 3))
    assert (rows > 0).tolist() == [False, True, True, False]  # classes 0 and 1 are in the batch
    gradients(resnet38d, batch_of(), "total")
    assert resnet38d.fc8.weight.grad[0].abs().max() == 0


# --- the net -------------------------------------------------------------------------------------------


def test_golden_parameter_counts():
    with torch.device("meta"):
        net = SEAM(20, "resnet38d", {})
    trunk, new = net.param_groups()
    assert count(net.parameters()) == 105_358_208
    assert (len(trunk["params"]), count(new["params"]), trunk["lr_scale"], new["lr_scale"]) == (35, 287_296, 1, 10)
    assert net.pcm.f8_3.weight.shape == (64, 512, 1, 1) and net.pcm.f8_4.weight.shape == (128, 1024, 1, 1)
    trained = count(p for p in net.parameters() if p.requires_grad)
    assert trained == 104_202_240 + 287_296


def test_golden_shapes():
    with torch.device("meta"):
        net = SEAM(20, "resnet38d", {})
        image = torch.empty(1, 3, 448, 448)
        out = net({"image": image}, frozenset({"maps", "logits"}))
        second = net({"image": resize_corners(image, net.second_size(image))}, frozenset({"maps"}))
    assert out.maps.shape == (1, 21, 56, 56) and out.logits.shape == (1, 20)
    assert second.maps.shape == (1, 21, 17, 17) and resize_corners(out.maps, (448, 448)).shape == (1, 21, 448, 448)


def test_logits_are_the_mean_of_the_stretched_maps():
    net, batch = small().eval(), batch_of(60)
    out = net(batch, frozenset({"maps", "logits"}))
    full = F.interpolate(out.maps, (60, 60), mode="bilinear", align_corners=True)
    torch.testing.assert_close(out.logits, full.mean((2, 3))[:, 1:])
    assert not torch.allclose(out.logits, out.maps.mean((-2, -1))[:, 1:], rtol=1e-3)


@pytest.mark.parametrize("backbone, stride", [("resnet18", 8), ("resnet18", 16), ("resnet18", 32)])
def test_other_trunks_bring_their_own_widths(backbone, stride):
    torch.manual_seed(0)
    net = SEAM(3, backbone, {"output_stride": stride}).eval()
    assert (net.pcm.f8_3.in_channels, net.pcm.f8_4.in_channels) == (128, 256)
    batch = batch_of()
    out = net(batch, net.loss_want)
    assert out.maps.shape == out.features["cam_rv"].shape == (2, 4, 64 // stride, 64 // stride)


def test_pixel_logits_ignore_the_untaught_background_row():
    out = CamOut(maps=torch.full((1, 4, 2, 2), 3.0))
    assert small().pixel_logits(out)[0, :, 0, 0].tolist() == [0, 3, 3, 3]


def test_running_statistics_are_those_of_whole_images():
    net, batch = small(**SCRATCH).train(), batch_of()
    net(batch, net.loss_want)
    again = small(**SCRATCH).train()
    again(batch, frozenset({"maps"}))
    norms = [(a, b) for a, b in zip(net.modules(), again.modules(), strict=True) if isinstance(a, BatchNorm)]
    assert norms and all(torch.equal(a.running_mean, b.running_mean) for a, b in norms)
    assert all(a.momentum == 0.1 for a, _ in norms)
    with pytest.raises(RuntimeError), statistics_kept(net):
        raise RuntimeError
    assert all(a.momentum == 0.1 for a, _ in norms)


# --- inference -----------------------------------------------------------------------------------------

def test_with_background():
    assert with_background(torch.tensor([[0.0, 1.0]])).flatten().tolist() == [1, 0, 1]
    assert background_from(torch.tensor([9.0, 0.2, 0.7]).reshape(1, 3, 1, 1)).flatten().tolist() == pytest.approx([0.3, 0.2, 0.7])


def test_spec():
    spec = SEAM.spec_for({"output_stride": 16})
    assert (spec.stride, spec.needs, spec.geometry, spec.form, spec.norm) == (16, frozenset(), "view", "sum", "cut_min_max")
    assert SEAM.spec_for().stride == 8
