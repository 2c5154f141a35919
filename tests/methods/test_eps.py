"""EPS: the saliency loss against golden values and a slow reference, the nets, and inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cam_reference import SCALES, form_of
from cam_reference import view_pair as views_of
from sections import settings_of
from wsss.io.cam_forms import StoredCam
from wsss.methods.base import CamOut
from wsss.methods.eps import EPS, EPSBase, field_keeping, nearest_corner, overlap, saliency_loss
from wsss.nets.segmentation_trunk import LAYOUTS
from wsss.train.optim import build_optimiser, learning_rate

# Background, class 0, class 1 on 2 x 2 cells; the upper row is salient.
PROBS = torch.tensor([[0.2, 0.3, 0.6, 0.3], [0.7, 0.6, 0.2, 0.1], [0.1, 0.1, 0.2, 0.6]]).reshape(1, 3, 2, 2)
SALIENT = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
BOTH, FIRST = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])


def small(family=EPS, classes=3, backbone="resnet_small", **options):
    torch.manual_seed(0)
    return family(classes, backbone, options)


def count(parameters):
    return sum(p.numel() for p in parameters)


# --- the saliency loss ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "probs, y, tau, weight, expected",
    [
        (PROBS, BOTH, 0.4, 0.5, 0.075),  # class 0 on salient ground, class 1 not
        (PROBS, BOTH, 0.4, 0.9, 0.075),
        (PROBS, FIRST, 0.4, 0.5, 0.10875),  # the absent class counts half
        (torch.full_like(PROBS, 1 / 3), BOTH, 0.4, 0.5, 0.5),  # no class has area: all is background
        (PROBS, BOTH, 0.9999, 0.5, 0.5),
    ],
)
def test_golden_losses(probs, y, tau, weight, expected):
    assert saliency_loss(probs.log(), SALIENT, y, tau, weight).item() == pytest.approx(expected, abs=1e-6)


def test_golden_overlap():
    found = overlap(PROBS[:, 1:], SALIENT)[0]
    assert found[0].item() == pytest.approx(2 / (2 + 4e-4)) and found[1] == 0


def slow_loss(maps, saliency, y, tau, weight):
    """Pixel by pixel, in float64; maps (B, C+1, h, w), saliency (B, H, W), y (B, C)."""
    batch, channels, height, width = maps.shape
    total = 0.0
    for b in range(batch):
        probs, target = np.zeros((channels, height, width)), np.zeros((height, width))
        for i, j in np.ndindex(height, width):
            weights = np.exp(maps[b, :, i, j] - maps[b, :, i, j].max())
            probs[:, i, j] = weights / weights.sum()
            target[i, j] = saliency[b, saliency.shape[1] * i // height, saliency.shape[2] * j // width]
        foreground, background = [], [0]
        for c in range(1, channels):
            inside = area = 0.0
            for i, j in np.ndindex(height, width):
                area += (probs[c, i, j] > 0.5) + 1e-4
                inside += probs[c, i, j] > 0.5 and target[i, j] > 0.5
            if y[b, c - 1]:
                (foreground if inside / area > tau else background).append(c)
        for i, j in np.ndindex(height, width):
            up = sum(probs[c, i, j] for c in foreground)
            down = 1 - sum(probs[c, i, j] for c in background)
            total += (weight * up + (1 - weight) * down - target[i, j]) ** 2
    return total / (batch * height * width)


def random_case(seed, size=(7, 5), side=(33, 41), classes=4):
    """Two images whose classes fill whole areas, so that both sides of tau occur."""
    g = torch.Generator().manual_seed(seed)
    maps = 6 * F.interpolate(torch.randn(2, classes + 1, 3, 3, generator=g), size)
    saliency = F.interpolate(torch.rand(2, 1, 3, 3, generator=g), side)
    return maps, saliency, (torch.rand(2, classes, generator=g) < 0.7).float()


@pytest.mark.parametrize("tau, weight", [(0.4, 0.5), (0.4, 0.9), (0.0, 1.0), (0.6, 0.0)])
@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_equal_a_slow_reference(seed, tau, weight):
    maps, saliency, y = random_case(seed)
    maps.requires_grad_()
    loss = saliency_loss(maps, saliency, y, tau, weight)
    loss.backward()
    plain = maps.detach().double().numpy()
    others = saliency[:, 0].double().numpy(), y.numpy(), tau, weight
    assert loss.item() == pytest.approx(slow_loss(plain, *others), rel=1e-5)
    for place in [(0, 0, 2, 3), (1, 2, 6, 4), (0, 4, 0, 0)]:
        around = []
        for step in (1e-5, -1e-5):
            moved = plain.copy()
            moved[place] += step
            around.append(slow_loss(moved, *others))
        assert maps.grad[place].item() == pytest.approx((around[0] - around[1]) / 2e-5, abs=2e-6)


def test_random_cases_hold_both_kinds_of_class():
    kinds = set()
    for seed in range(4):
        maps, saliency, y = random_case(seed)
        share = overlap(maps.softmax(1)[:, 1:], nearest_corner(saliency, (7, 5)))[y > 0]
        kinds |= {"none"} if (share == 0).any() else set()
        kinds |= set(np.where(share > 0.6, "above", np.where(share > 0.4, "between", "below")))
    assert kinds >= {"none", "above", "below"}


def test_half_is_neither_area_nor_salient():
    probs = torch.tensor([[[[0.5, 0.5]], [[0.5, 0.5]]]])
    assert overlap(probs, torch.ones(1, 1, 1, 2)).sum() == 0
    assert overlap(probs + 0.01, torch.tensor([[[[0.5, 1.0]]]]))[0, 0].item() == pytest.approx(1 / 2.0002)


def test_small_addend_counts_every_pixel():
    probs = torch.zeros(1, 1, 56, 56)
    probs[0, 0, 3, 4] = 1
    assert overlap(probs, torch.ones(1, 1, 56, 56)).item() == pytest.approx(1 / 1.3136, rel=1e-5)


def test_share_of_exactly_tau_is_background():
    tau = overlap(PROBS[:, 1:], SALIENT)[0, 0].item()
    assert saliency_loss(PROBS.log(), SALIENT, BOTH, tau, 0.5).item() == pytest.approx(0.5, abs=1e-6)


def test_weight_is_of_no_matter_where_all_classes_are_present():
    maps, saliency, _ = random_case(5)
    losses = [saliency_loss(maps, saliency, torch.ones(2, 4), 0.4, w) for w in (0.0, 0.5, 0.9)]
    torch.testing.assert_close(losses, [losses[0]] * 3)


@pytest.mark.parametrize("side, cells, start", [(448, 56, [0, 8, 16]), (321, 41, [0, 7, 15, 23, 31, 39]), (5, 9, [0, 0, 1])])
def test_nearest_takes_the_floor(side, cells, start):
    row = torch.arange(side, dtype=torch.float32).expand(1, 1, 2, side)
    picked = nearest_corner(row, (1, cells))[0, 0, 0].tolist()
    assert picked == [side * i // cells for i in range(cells)]
    assert picked[: len(start)] == start and (side, picked[-1]) in ((448, 440), (321, 313), (5, 4))


def test_rows_and_columns_are_not_mixed_up():
    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert nearest_corner(maps, (3, 2)).tolist() == [[[[0, 2], [4, 6], [8, 10]]]]


def test_saliency_stays_soft():
    maps = torch.zeros(1, 2, 1, 1)
    losses = [saliency_loss(maps, torch.full((1, 1, 4, 4), s), torch.ones(1, 1), 0.4, 0.5).item() for s in (0.2, 0.4)]
    assert losses == pytest.approx([0.04, 0.16])


def test_loss_reads_nothing_back_to_the_host():
    """Meta tensors have no values, so anything that asks for one fails."""
    net, maps = EPS(3, "resnet_small", {}), torch.empty(2, 4, 7, 7, device="meta")
    batch = {"saliency": torch.empty(2, 1, 56, 56, device="meta"), "y": torch.empty(2, 3, device="meta")}
    out = CamOut(logits=torch.empty(2, 3, device="meta"), maps=maps)
    assert net.loss(batch, out, 0)["total"].shape == ()


def test_loss_is_float32_inside_autocast():
    maps, saliency, y = random_case(1)
    half = maps.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = saliency_loss(half, saliency, y, 0.4, 0.5)
    assert loss.dtype == torch.float32
    assert loss == saliency_loss(half.float(), saliency, y, 0.4, 0.5)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_flat_saliency_and_extreme_maps_are_legal(level, scale):
    maps = (scale * torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))).requires_grad_()
    for y in (torch.zeros(2, 3), torch.ones(2, 3)):
        loss = saliency_loss(maps, torch.full((2, 1, 40, 40), level), y, 0.4, 0.5)
        (gradient,) = torch.autograd.grad(loss, maps)
        assert 0 <= loss <= 1 and torch.isfinite(gradient).all()


# --- the nets ------------------------------------------------------------------------------------------


def test_total_is_the_sum_of_both_losses():
    net, g = small(tau=0.3, **{"lambda": 0.8}), torch.Generator().manual_seed(0)
    batch = {"saliency": torch.rand(2, 1, 32, 32, generator=g), "y": torch.tensor([[1.0, 0, 1], [0, 1.0, 0]])}
    out = CamOut(logits=torch.randn(2, 3, generator=g), maps=3 * torch.randn(2, 4, 4, 4, generator=g))
    losses = net.loss(batch, out, 0)
    expected = saliency_loss(out.maps, batch["saliency"], batch["y"], 0.3, 0.8)
    assert losses["saliency"] == expected and losses["total"] == losses["cls"] + expected
    assert losses["cls"] == F.binary_cross_entropy_with_logits(out.logits, batch["y"])


@pytest.mark.parametrize("logits, y, expected", [([0.0] * 3, [1.0, 0, 1], 0.693147), ([1.0, -2, 0.5], [1.0, 0, 0], 0.471422)])
def test_golden_classification_loss(logits, y, expected):
    out = CamOut(logits=torch.tensor([logits]))
    assert small(EPSBase).loss({"y": torch.tensor([y])}, out, 0)["total"].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("family, channels", [(EPS, 4), (EPSBase, 3)])
def test_logits_are_the_mean_of_the_class_maps(family, channels):
    net = small(family).eval()
    out = net({"image": torch.randn(2, 3, 64, 48)}, frozenset({"maps", "logits"}))
    assert out.maps.shape == (2, channels, 8, 6) and out.logits.shape == (2, 3)
    torch.testing.assert_close(out.logits, out.maps[:, -3:].mean((-2, -1)), rtol=1e-4, atol=1e-4)


def test_background_has_no_classification_target():
    net = small().train()
    batch = {"image": torch.randn(2, 3, 64, 64), "y": torch.ones(2, 3), "saliency": torch.rand(2, 1, 64, 64)}
    net.loss(batch, net(batch, net.loss_want), 0)["cls"].backward()
    assert net.classifier.weight.grad[0].abs().sum() == 0 and net.classifier.weight.grad[1:].abs().sum() > 0


def test_dropout_is_the_published_one():
    """The published order: dropout of whole channels, pooling, classifier."""
    net = small(EPSBase).train()
    image = torch.randn(4, 3, 64, 64)
    features = net.backbone(image)[-1]
    torch.manual_seed(7)
    expected = net.classifier(F.dropout2d(features, 0.5).mean((-2, -1), keepdim=True)).flatten(1)
    torch.manual_seed(7)
    ours = net({"image": image}).logits
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(net({"image": image}).logits, ours, rtol=1e-2)


def test_eps_has_no_dropout():
    net, image = small().train(), {"image": torch.randn(2, 3, 64, 64)}
    assert torch.equal(net(image).logits, net(image).logits)


def test_classifier_starts_xavier_uniform_without_bias():
    weight = small(classes=20, backbone="resnet18").classifier.weight
    bound = (6 / (512 + 21)) ** 0.5
    assert weight.shape == (21, 512, 1, 1) and small().classifier.bias is None
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)


@pytest.mark.parametrize("stride", [8, 16])
def test_dilations_are_deeplabs(stride):
    strides, dilations = LAYOUTS[stride]
    assert field_keeping(strides) == dilations
    first, rest = small(output_stride=stride).backbone, small(output_stride=stride, dilated=False).backbone
    assert first.layer4[1].conv1.dilation == (dilations[2],) * 2 and rest.layer4[1].conv1.dilation == (1, 1)
    assert field_keeping((2, 2, 2)) == (1, 1, 1)


@pytest.mark.parametrize(
    "family, classes, total, head",
    [
        (EPSBase, 20, 105_152_832, 81_920),
        (EPSBase, 80, 105_398_592, 327_680),
        (EPS, 20, 105_156_928, 86_016),
        (EPS, 80, 105_402_688, 331_776),
    ],
)
def test_golden_parameter_counts(family, classes, total, head):
    with torch.device("meta"):
        net = family(classes, "resnet38d", {})
    assert count(net.parameters()) == total
    trunk, new = net.param_groups()
    assert (trunk["lr_scale"], new["lr_scale"]) == (1, 10) and trunk["weight_decay"] is new["weight_decay"] is None
    assert len(trunk["params"]) == 35 and len(new["params"]) == 1 and count(new["params"]) == head
    weights = [p for p in net.backbone.parameters() if p.dim() == 4]
    assert len(weights) == 43 and count(weights) == 105_023_168
    trainable = count(p for p in net.parameters() if p.requires_grad)
    assert trainable == count(trunk["params"]) + head == 104_202_240 + head


def test_golden_shapes():
    with torch.device("meta"):
        net = EPS(20, "resnet38d", {})
        batch = {"image": torch.empty(1, 3, 448, 448)}
        out = net(batch, frozenset({"maps", "logits"}))
        coco = net({"image": torch.empty(1, 3, 321, 321)}, frozenset({"maps"})).maps
    assert out.maps.shape == (1, 21, 56, 56) and out.logits.shape == (1, 20) and coco.shape[-2:] == (41, 41)


# --- the schedule --------------------------------------------------------------------------------------

POLY = {"schedule": "poly", "lr": 0.01, "power": 0.9}


@pytest.mark.parametrize("step, rate", [(0, 0.01), (1, 0.00999954999887), (10_000, 0.0053588673), (19_999, 1.34609e-6)])
def test_golden_poly(step, rate):
    assert learning_rate(step, 20_000, settings_of(POLY)) == pytest.approx(rate, rel=1e-5)


def test_golden_frozen_tail():
    released = {**POLY, "poly_steps": 76_950}
    assert learning_rate(76_949, 256_500, settings_of(released)) == pytest.approx(4.0032e-7, rel=1e-4)
    assert {learning_rate(s, 256_500, settings_of(released)) for s in (76_950, 100_000, 256_499)} == {learning_rate(76_949, 256_500, settings_of(released))}
    assert learning_rate(500, 256_500, settings_of(released)) == learning_rate(500, 76_950, settings_of(POLY))
    assert learning_rate(500, 256_500, settings_of({**POLY, "poly_steps": None})) == learning_rate(500, 256_500, settings_of(POLY))
    assert learning_rate(500, 1000, settings_of({**released, "schedule": "constant"})) == 0.01


def test_optimiser_takes_the_published_settings():
    settings = {"optimiser": "sgd", "lr": 0.01, "momentum": 0, "weight_decay": 5e-4}
    trunk, head = build_optimiser(small().param_groups(), settings_of(settings)).param_groups
    assert [(g["lr"], g["weight_decay"], g["momentum"]) for g in (trunk, head)] == [(0.01, 5e-4, 0), (0.1, 5e-4, 0)]


# --- inference -----------------------------------------------------------------------------------------


def waves(height, width):
    """A smooth image, as photos are at the net's stride."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 90 * np.sin(x / (9 + 4 * c) + c) * np.cos(y / (13 - 3 * c)) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_seed_maps_take_the_softmax_before_the_resize():
    net = small().eval()
    views = views_of(waves(64, 64), 1.0)
    maps = net({"image": views}, frozenset({"maps"})).maps
    pair = maps.softmax(1)[:1, 1:] + maps.softmax(1)[1:, 1:].flip(-1)
    torch.testing.assert_close(net.seed_maps(views, torch.ones(1, 3)), pair)


def test_no_minimum_is_taken_off():
    stored = StoredCam((0, 2), (np.array([[[2.0, 4.0]], [[0.0, 3.0]]], np.float32),))
    found = form_of(small(), SCALES[:1]).read(stored, (1, 2), (1, 2))
    np.testing.assert_allclose(found, [[[0.5, 1.0]], [[0.0, 1.0]]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family, needs", [(EPS, {"saliency"}), (EPSBase, set())])
def test_spec(family, needs):
    spec = family.spec_for({"output_stride": 16})
    assert (spec.stride, spec.needs, spec.geometry, spec.form, spec.norm) == (16, needs, "stretch", "sum", "max")
    assert family.spec_for().stride == 8 and not spec.aux and not spec.bg_map
