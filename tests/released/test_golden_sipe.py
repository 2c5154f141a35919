"""SIPE against its released code: network, seeds, prototypes, losses, gradients, steps, and maps with their background."""

import numpy as np
import pytest
import torch
from cam_reference import both_back, form_of
from golden import golden
from golden_case import (
    Case,
    check_gradients,
    check_steps,
    multi_hot,
    scale_maps,
    thinned,
    training,
    view_pair,
)
from sections import settings_of
from wsss import methods
from wsss.io.cam_forms import StoredCam
from wsss.methods.base import flip_pair_sum, with_background
from wsss.methods.sipe import (
    BACKGROUND_WEIGHT,
    agreement_loss,
    label_mask,
    normalised,
    prototype_maps,
    prototypes,
    structure_overlap,
    structure_seeds,
)
from wsss.refine.background import argmax_labels, background
from wsss.train.optim import learning_rate

SETTINGS = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 1e-4, "clip_norm": 1, "schedule": "poly", "power": 0.9, "steps": 3305}
SCALES = (1.0, 0.5, 1.5, 2.0)
PRESENT = (10, 11, 19)
CHANNELS = [0, 11, 12, 20]  # of the arrays of the inference: background and the present classes


@pytest.fixture(scope="module")
def case():
    return Case("sipe", "sipe", **{"change 3": 1e-2})


def mixed(height, width, seed):
    """(3, H, W) float32: a smooth image, whose right half is nine times as fine."""
    image, half = golden.image(height, width, seed).copy(), width // 2
    image[:, :, half:] = golden.image(9 * height, 9 * (width - half), seed + 100)[:, ::9, ::9]
    return image


def mixed_photo():
    """(112, 144, 3) uint8."""
    values = (mixed(112, 144, 11).transpose(1, 2, 0).astype(np.float64) + 2.5) * 51
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def batch():
    valid = torch.zeros(2, 1, 128, 128)
    valid[0], valid[1, :, 24:, :88] = 1, 1
    image = torch.from_numpy(np.stack([mixed(128, 128, 1), mixed(128, 128, 2)])) * valid
    return {"image": image, "y": multi_hot([14], [0, 8, 10]), "valid": valid}


@pytest.fixture(scope="module")
def out(case, batch):
    with torch.no_grad():
        return case.network.train()(batch, case.network.loss_want)


def probabilities(cam, features):
    overlap = structure_overlap(cam, features)
    overlap[:, 0] *= BACKGROUND_WEIGHT
    return overlap.softmax(1)


def test_forward(case, batch, out):
    taps = [out.features[f"x{n}"] for n in range(1, 6)]
    for n, tap in enumerate(taps):
        whole = case.scalars["taps"][f"features/stage{n}"]
        assert list(tap.shape) == whole["shape"]
        case.agree("forward", [float(tap.double().norm()), float(tap.max())], [whole["l2"], whole["absmax"]], measure="each")
    sides = {f"features/side{n}": layer(tap) for n, (layer, tap) in enumerate(zip(case.network.side, taps[1:], strict=True), 1)}
    with torch.no_grad():
        case.maps("forward", {**sides, "features/classifier": out.maps, "features/hie_fea": out.features["hierarchical"]})
    case.agree("logits", out.logits, "score")


def test_maps_of_the_loss(case, batch, out):
    features, size = out.features["hierarchical"], (8, 8)
    valid = label_mask(batch["valid"], batch["y"], size)
    case.agree("valid mask", valid.sum(1), "valid_mask_lowres_sum")
    cam = normalised(out.maps, size) * valid
    case.maps("maps of the loss", {"cam": cam, "probs": probabilities(cam, out.features["x5"])})
    seeds = structure_seeds(cam, out.features["x5"]) * valid
    case.agree("seeds", seeds.argmax(1), "seeds_argmax", "labels", "share")
    case.agree("seeds", seeds.sum(1), "seeds_sum", "labels", "share")
    case.agree("prototypes", thinned("flat[::11]", prototypes(features, seeds)), "prototypes")
    case.agree("prototypes", prototype_maps(features, seeds), "IS_cam")


def test_functions(case):
    def made(name, *shape):
        return torch.from_numpy(golden.tensor(f"sipe.{name}", shape))

    valid = torch.ones(2, 5, 6, 7)
    valid[1, :, :2] = valid[1, 2] = valid[0, 3] = 0
    cam = normalised(3 * made("cam", 2, 4, 6, 7), (6, 7)) * valid
    features, prototype_features = (5 * made("fea", 2, 16, 6, 7) + 0.2).relu(), 5 * made("hie", 2, 12, 6, 7)
    seeds = structure_seeds(cam, features) * valid
    is_cam = prototype_maps(prototype_features, seeds)
    ours = {"norm_cam": cam, "probs": probabilities(cam, features), "seeds": seeds, "IS_cam": is_cam}
    for name, values in {**ours, "prototypes": prototypes(prototype_features, seeds)}.items():
        case.agree("functions", values, f"pure/{name}", 1e-5)
    theirs = {"gsc": case.facts["pure"]["functions"]["lossGSC"]}
    case.agree("functions", {"gsc": agreement_loss(cam, is_cam)}, theirs, 1e-5, "each")


@pytest.fixture(scope="module")
def trained(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    return {momentum: training(case, loss, {**SETTINGS, "momentum": momentum}) for momentum in (1e-4, 0)}


def test_training(case, trained):
    done = trained[1e-4]
    ours, theirs = done.losses[0], case.scalars["losses"]
    names = {"total": "losses", "cls": "lossCLS", "gsc": "lossGSC"}
    case.agree("losses", ours, {mine: theirs[name] for mine, name in names.items()}, "losses", "each")
    longest = {"norm": theirs["gradient_norm_before_clip"]}
    ours = {"norm": np.sqrt(sum(norm**2 for norm in done.gradients.values() if norm))}
    case.agree("gradients", ours, longest, "gradients", "each")
    check_gradients(case, done)
    check_steps(case, done, "released")


def test_momentum(case, trained):
    changes = [{name: change for name, (_, change) in done.after[3].items() if change} for done in trained.values()]
    case.differ("momentum", *changes, at_least=1e-6, at_most=0.01, measure="each")


def test_schedule(case, trained):
    poly = case.facts["pure"]["poly_lr"]["lr_at_step"]
    ours = {step: learning_rate(int(step), 3305, settings_of(SETTINGS)) for step in poly}
    case.agree("learning rates, weight decay", ours, poly, 1e-6, "each")
    entries = case.facts["parameters"]
    ours = {n: rate[0] for n, rate in trained[0].rates[0].items()}
    case.agree("learning rates, weight decay", ours, {n: entries[n]["lr"] for n in ours}, 1e-6, "each")
    ours = {n: rate[1] for n, rate in trained[0].rates[0].items()}
    assert set(ours.values()) == {entries[n]["weight_decay"] for n in ours} == {1e-4}


@pytest.mark.parametrize("classes, everything, learns, head", [(20, 24_433_728, 24_424_192, 40_960), (80, 24_556_608, 24_547_072, 163_840)])
def test_sizes(classes, everything, learns, head):
    """The released code lets layer1 and layer2 require gradients that never come; with freeze stem its counts are ours."""
    with torch.device("meta"):
        net = methods.get("sipe")(classes, "resnet50", {"freeze": "stem"})
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert count(net) == everything and sum(p.numel() for p in net.parameters() if p.requires_grad) == learns
    assert count(net.backbone) == 23_508_032 and count(net.classifier) == head
    assert [count(layer) for layer in net.side] == [32_768, 65_536, 262_144, 524_288]


# --- inference -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_maps_of_a_scale(case, scale):
    y = multi_hot(PRESENT)
    with torch.no_grad():
        look = case.network.eval()({"image": view_pair(mixed_photo(), scale)}, frozenset({"maps", "features"}))
    features = flip_pair_sum(look.features["hierarchical"])
    cam = normalised(flip_pair_sum(look.maps), features.shape[-2:])
    case.agree("CAM of one scale", cam[0, CHANNELS], f"infer/norm_cam_{scale}", "inference")
    seeds = structure_seeds(cam, features) * with_background(y)
    case.agree("seeds of one scale", seeds.sum((2, 3))[0], f"infer/seeds_sum_over_pixels_{scale}", "labels", "share")
    case.agree("IS-CAM of one scale", scale_maps(case, mixed_photo(), y[0], scale)[CHANNELS], f"infer/IS_cam_{scale}", "inference")


@pytest.fixture(scope="module")
def cam(case):
    """Maps of the present classes and of the background at image size, before anything is rounded for the store."""
    y = multi_hot(PRESENT)[0]
    maps = [scale_maps(case, mixed_photo(), y, scale) for scale in SCALES]
    rows, _ = case.network.stored(maps, y, (112, 144), {})
    stored = StoredCam(PRESENT, tuple(one.numpy() for one in rows))
    return form_of(case.network, SCALES).read_both(stored, (112, 144), (112, 144))


def test_cam(case, cam):
    rows = np.concatenate([cam[1][None], cam[0]])
    case.agree("CAM at image size", rows[:, ::4, ::4], "infer/IS_CAM", "inference")


def test_stored_cam_is_near(case, cam):
    stored = both_back(case.network.eval(), mixed_photo(), multi_hot(PRESENT)[0], scales=SCALES)
    seeds = [argmax_labels(maps, background(maps, "map", 1.0, bg_map), PRESENT) for maps, bg_map in (stored, cam)]
    case.differ("stored CAM", *seeds, at_least=0, at_most=0.05)
