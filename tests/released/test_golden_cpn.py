"""CPN against its released code: network, region correlation, losses, gradients, steps, maps, pairs and CRF."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import golden
from golden_case import (
    Case,
    check_crf,
    check_gradients,
    check_rates,
    check_refined_cam,
    check_schedule,
    check_steps,
    check_stored_cam,
    full_size_cam,
    images,
    multi_hot,
    normal,
    photo,
    tensor,
    training,
)
from wsss.data import pair_masks
from wsss.data.pair_masks import denormalised, draw_pair, superpixels
from wsss.io.cam_forms import cut_min_max
from wsss.methods.base import CamOut, multilabel_soft_margin, with_background
from wsss.methods.cpn import shares
from wsss.methods.pixel_correlation import (
    background_from,
    background_minimum,
    image_logits,
    listed_maps,
    only_largest,
)
from wsss.nets.pcm import guidance, region_weights, resize_corners
from wsss.refine.crf import CrfParams

SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "steps": 21160}
SCALES = (0.5, 1.0, 1.5, 2.0)
PRESENT = (3, 14)
SIZE = (80, 80)
WANT = frozenset({"maps", "features", "views"})
# The function stands in the released repository; its scripts never call it.
CRF = CrfParams(iterations=5, sxy_gaussian=3, compat_gaussian=3, sxy_bilateral=50, srgb=13, compat_bilateral=10)


@pytest.fixture(scope="module")
def case():
    return Case("cpn", "cpn", inference=2e-4)


@pytest.fixture(scope="module")
def batch():
    y, x = np.mgrid[:80, :80]
    masks = np.stack([((y // 16 + 2 * (x // 16) + i) % 3 != 0) for i in (0, 1)]).astype(np.float32)
    mask = torch.from_numpy(masks)[:, None]
    pair = {"pair_mask": mask, "pair_weight": mask.mean((1, 2, 3))}
    return {"image": images(80, 80, 1, 2), "y": multi_hot([14], [3, 7, 14]), **pair}


@pytest.fixture(scope="module")
def looks(case, batch):
    """Outputs for the image and its two parts."""
    with torch.no_grad():
        out = case.network.train()(batch, WANT)
    return out, out.views["first"], out.views["second"]


def regions_and_weights(network, guide, features):
    """Region vectors (B, 195, n, 1) and PRCM's weights (B, n, h, w), read where the network makes them."""
    seen = []
    hook = network.prcm.f10.register_forward_hook(lambda module, inputs, output: seen.extend([inputs[0], output]))
    network.prcm(guide, features, network.pcm.f9)
    hook.remove()
    pixels = F.relu(network.pcm.f9(features)).flatten(2)
    weights = region_weights(F.relu(seen[1]).flatten(2), pixels, network.prcm.key)
    return seen[0], weights.view_as(guide)


@torch.no_grad()
def test_forward(case, batch, looks):
    network, out = case.network, looks[0]
    taps = [out.features[f"x{n}"] for n in (3, 4, 5)]
    case.maps("forward", dict(zip(("conv4", "conv5", "conv6"), taps, strict=True)))
    case.maps("forward", {"cam": resize_corners(out.maps, SIZE)})
    guide, features = guidance(out.maps), network.pcm.features(batch["image"], *taps[:2], (10, 10))
    maps = {"guidance": guide, "pcm_features": features, "pcm_out": network.pcm(guide, features)}
    case.maps("pixel and region correlation", maps)
    regions, weights = regions_and_weights(network, guide, features)
    case.maps("pixel and region correlation", {"region_vectors": regions, "prcm_weights": weights})
    case.maps("pixel and region correlation", {"cam_improved": resize_corners(out.features["cam_rv"], SIZE)})


def test_logits(case, looks):
    for name, look in zip(("mean_l", "mean_l1", "mean_l2"), looks, strict=True):
        case.agree("logits", image_logits(look.maps, SIZE), case.arrays[name][:, 1:, 0, 0])


def test_maps_of_the_loss(case, batch, looks):
    every, label = torch.arange(20).expand(2, -1), with_background(batch["y"])
    for n, (look, weight) in enumerate(zip(looks, shares(batch["pair_weight"]), strict=True)):
        for name, maps in (("cam", look.maps), ("cam_improved", look.features["cam_rv"])):
            done = background_from(cut_min_max(listed_maps(maps, every, SIZE)) * (weight * label))
            case.maps("maps of the loss", {f"loss_{name}{n or ''}": done})


def test_loss_terms_of_a_look(case, batch, looks):
    y, every, ours = batch["y"], torch.arange(20).expand(2, -1), {}
    for n, look in enumerate(looks):
        if n:
            ours[f"loss_cls{n}"] = multilabel_soft_margin(image_logits(look.maps, SIZE), y)
        refined = listed_maps(look.features["cam_rv"], every, SIZE)
        ours[f"loss_rvmin{n or ''}"] = background_minimum(refined, y)
    case.agree("losses", ours, {name: case.scalars["losses"][name] for name in ours}, "losses", "each")


def terms(losses, theirs):
    """Our loss terms by their names, and theirs."""
    ours = {
        "loss": losses["total"],
        "loss_cls": losses["cls"] + losses["rvmin"],
        "tcp": losses["tcp"],
        "cpcr": losses["cpcr"],
    }
    sums = {
        "loss": theirs["loss"],
        "loss_cls": theirs["loss_cls"],
        "tcp": theirs["loss_tcp"] + theirs["loss_tcp_improved"],
        "cpcr": theirs["loss_cpcr1_ohem"] + theirs["loss_cpcr2_ohem"],
    }
    return {name: float(value) for name, value in ours.items()}, sums


def test_training(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    done = training(case, loss, {**SETTINGS, "momentum": 5e-4})
    case.agree("losses", *terms(done.losses[0], case.scalars["losses"]), "losses", "each")
    check_gradients(case, done)
    check_rates(case, done)
    check_steps(case, done, "released")


def test_schedule(case):
    check_schedule(case, SETTINGS)


def test_loss_of_formula_maps(case):
    cams = [tensor(normal(f"cpn.function.cam{i}", 2, 21, 8, 8) * 2 - 0.3).requires_grad_() for i in range(3)]
    refined = [tensor(normal(f"cpn.function.improved{i}", 2, 21, 8, 8) * 0.4 + 0.3).requires_grad_() for i in range(3)]
    whole, first, second = (CamOut(maps=c, features={"cam_rv": r}) for c, r in zip(cams, refined, strict=True))
    whole.views = {"first": first, "second": second}
    y = multi_hot([14], [3, 7, 14])
    batch = {"image": torch.zeros(2, 3, 8, 8), "y": y, "pair_weight": torch.tensor([0.6, 0.25])}
    losses = case.network.loss(batch, whole, 0)
    losses["total"].backward()
    detached = {name: value.detach() for name, value in losses.items()}
    case.agree("losses of formula maps", *terms(detached, case.scalars["function_losses"]), "losses", "each")
    leaves = {f"cam{i}": leaf for i, leaf in enumerate(cams)} | {f"improved{i}": leaf for i, leaf in enumerate(refined)}
    for name, leaf in leaves.items():
        case.agree("gradients of formula maps", leaf.grad[:, ::5], f"function_grad_{name}")
    norms = {name: leaf.grad.norm() for name, leaf in leaves.items()}
    case.agree("gradients of formula maps", norms, case.scalars["function_grad_norms"], "gradients", "each")


@torch.no_grad()
def test_functions(case):
    maps, network = tensor(normal("cpn.function.maps", 2, 21, 7, 9)), case.network
    case.agree("functions", only_largest(maps), "function_max_onehot")
    guide = torch.sigmoid(tensor(normal("cpn.function.guidance", 2, 21, 6, 7)))
    features = tensor(normal("cpn.function.features", 2, 195, 6, 7))
    case.agree("functions", network.pcm(guide, features), "function_pcm")
    regions, weights = regions_and_weights(network, guide, features)
    case.agree("functions", regions[:, ::2], "function_region")
    case.agree("functions", weights, "function_prcm")


@torch.no_grad()
def test_prcm_key(case, batch, looks):
    """What the released code's reading of the keys changes: the weights of each class."""
    network, out = case.network, looks[0]
    guide = guidance(out.maps)
    features = network.pcm.features(batch["image"], out.features["x3"], out.features["x4"], (10, 10))
    weights = []
    for network.prcm.key in ("transpose", "reference"):
        weights.append(regions_and_weights(network, guide, features)[1])
    case.differ("prcm_key", *weights, at_least=0.01, at_most=10, measure="largest")


@pytest.fixture(scope="module")
def cam(case):
    return full_size_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES)


def test_cam(case, cam):
    check_refined_cam(case, cam, 0.5)
    case.differ("halved CAM", cam.amax((1, 2)), case.scalars["infer"]["max"], at_least=0.49, at_most=0.51, measure="absolute")


def test_stored_cam_is_near(case, cam):
    check_stored_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES, cam.numpy(), 0.4)


def test_crf(case):
    check_crf(case, "crf_alpha_4_repository_defaults", 4, CRF)


class Drawn:
    """Stands for the generator: what the released code drew, in the order of its draws."""

    def __init__(self, seed):
        self.source = random.Random(seed)

    def integers(self, count):
        return self.source.randint(0, count - 1)

    def random(self, shape):
        return np.array([self.source.random() for _ in range(shape[0] * shape[1])]).reshape(shape)


@pytest.mark.parametrize("seed", range(6))
def test_grid_pairs(case, seed):
    facts = case.scalars["pairs"][f"grid seed {seed}"]
    mask, weight = draw_pair(golden.image(448, 448, 9), Drawn(seed), {"pair": "grid", "grid_sizes": [224, 448]})
    found = [*mask[0, ::224, ::224].ravel(), weight, 1 - weight]
    case.agree("pairs", [1.0, *found], [1.0, *facts["visible_224_cells_row_major"], facts["w1"], facts["w2"]], 1e-6, "absolute")


@pytest.mark.parametrize("seed", [0, 1])
def test_superpixel_pairs(case, seed, monkeypatch):
    facts, labels = case.scalars["pairs"][f"superpixels seed {seed}"], case.arrays["superpixels"]

    class Ids:
        def integers(self, low, high, size):
            assert (low, high, size) == (0, facts["segments"] + 1, len(facts["hidden_ids_drawn"]))
            return np.array(facts["hidden_ids_drawn"])

    monkeypatch.setattr(pair_masks, "slic", lambda image, **options: labels.astype(np.int64))
    visible = superpixels(np.zeros((96, 96, 3), np.uint8), 40, 10, Ids())
    theirs = ~np.isin(labels, facts["distinct_hidden_ids"])
    case.agree("pairs", visible, theirs, 0, "share")
    case.agree("pairs", [visible.mean(), 1 - visible.mean()], [facts["w1"], facts["w2"]], 1e-6, "absolute")


def test_superpixels_of_colours(case):
    """The released code gives SLIC the normalised crop, ours its colours: other superpixels."""
    image = denormalised(golden.image(96, 96, 9))
    ours = pair_masks.slic(image, n_segments=40, compactness=10, start_label=1)
    case.differ("superpixels", edges(ours), edges(case.arrays["superpixels"]), at_least=0.01, at_most=0.6)


def edges(labels):
    """Where a pixel's right or lower neighbour belongs to another superpixel."""
    down, across = labels[1:, :-1] != labels[:-1, :-1], labels[:-1, 1:] != labels[:-1, :-1]
    return down | across
