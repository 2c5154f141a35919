"""SEAM against its released code: network, pixel correlation, losses, gradients, steps, maps and CRF."""

import pytest
import torch
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
from wsss.io.cam_forms import cut_min_max
from wsss.methods.base import multilabel_soft_margin, with_background
from wsss.methods.pixel_correlation import (
    background_from,
    background_minimum,
    hardest_mean,
    image_logits,
    listed_maps,
)
from wsss.methods.seam import strongest_class
from wsss.nets.pcm import guidance, resize_corners
from wsss.refine.background import argmax_labels, background

SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "steps": 10576}
SCALES = (0.5, 1.0, 1.5, 2.0)
PRESENT = (3, 14)
WANT = frozenset({"maps", "features", "views", "logits"})


@pytest.fixture(scope="module")
def case():
    return Case("seam", "seam", inference=2e-4)


@pytest.fixture(scope="module")
def batch():
    return {"image": images(80, 80, 1, 2), "y": multi_hot([14], [3, 7, 14])}


@pytest.fixture(scope="module")
def looks(case, batch):
    """Outputs for both views, each with the size of its image."""
    with torch.no_grad():
        out = case.network.train()(batch, WANT)
    return (out, (80, 80)), (out.views["second"], (24, 24))


def test_forward(case, batch, looks):
    out, network = looks[0][0], case.network
    taps = [out.features[f"x{n}"] for n in (3, 4, 5)]
    case.maps("forward", dict(zip(("conv4", "conv5", "conv6"), taps, strict=True)))
    case.maps("forward", {"cam": resize_corners(out.maps, (80, 80))})
    case.agree("forward", network.further_views(batch)["second"][..., ::2, ::2], "img2")
    with torch.no_grad():
        features = network.pcm.features(batch["image"], *taps[:2], (10, 10))
    case.maps("pixel correlation", {"guidance": guidance(out.maps), "pcm_features": features})
    refined = out.features["cam_rv"]
    case.maps("pixel correlation", {"pcm_out": refined, "cam_rv": resize_corners(refined, (80, 80))})


def test_logits(case, looks):
    # Theirs has a mean of the background as well, which no loss looks at.
    for n, (look, size) in enumerate(looks, 1):
        case.agree("logits", image_logits(look.maps, size), case.arrays[f"label{n}"][:, 1:, 0, 0])


def test_maps_of_the_loss(case, batch, looks):
    y = batch["y"]
    every = torch.arange(20).expand(2, -1)  # ours lists present classes only; the formulae are the same for all
    for n, (look, size) in enumerate(looks, 1):
        for name, maps in (("cam", look.maps), ("cam_rv", look.features["cam_rv"])):
            done = resize_corners(cut_min_max(listed_maps(maps, every, size)), (24, 24)) * with_background(y)
            done = strongest_class(background_from(done)) if name == "cam" else done
            case.maps("maps of the loss", {f"loss_{name}{n}": done})


def test_loss_terms_of_a_view(case, batch, looks):
    y, every, ours = batch["y"], torch.arange(20).expand(2, -1), {}
    for n, (look, size) in enumerate(looks, 1):
        ours[f"loss_cls{n}"] = multilabel_soft_margin(image_logits(look.maps, size), y)
        ours[f"loss_rvmin{n}"] = background_minimum(listed_maps(look.features["cam_rv"], every, size), y)
    case.agree("losses", ours, {name: case.scalars["losses"][name] for name in ours}, "losses", "each")


def test_training(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    done = training(case, loss, {**SETTINGS, "momentum": 5e-4})
    first, theirs = done.losses[0], case.scalars["losses"]
    # Their classification loss holds rvmin.
    ours = {"loss": first["total"], "loss_cls": first["cls"] + first["rvmin"], "loss_er": first["er"], "loss_ecr": first["ecr"]}
    case.agree("losses", ours, {name: theirs[name] for name in ours}, "losses", "each")
    check_gradients(case, done)
    check_rates(case, done)
    check_steps(case, done, "released")


def test_schedule(case):
    check_schedule(case, SETTINGS)


@torch.no_grad()
def test_functions(case):
    maps, y = tensor(normal("seam.function.maps", 2, 21, 7, 9) * 2 - 0.5), multi_hot([14], [3, 7, 14])
    case.agree("functions", cut_min_max(maps), "function_max_norm")
    case.agree("functions", strongest_class(cut_min_max(maps) * with_background(y)), "function_max_onehot")
    guide = torch.sigmoid(tensor(normal("seam.function.guidance", 2, 21, 6, 7)))
    features = tensor(normal("seam.function.features", 2, 195, 6, 7))
    case.agree("functions", case.network.pcm(guide, features), "function_pcm")
    other = tensor(normal("seam.function.maps2", 2, 21, 7, 9) * 2 - 0.5)
    a, b = (cut_min_max(part) * with_background(y) for part in (maps, other))
    er = (a - b)[:, 1:].abs().mean()
    ecr = hardest_mean((strongest_class(background_from(a)) - b).abs(), 0.2, 20)
    ours = {"function_er": er, "function_ecr": ecr}
    case.agree("functions", ours, {name: case.scalars[name] for name in ours}, "losses", "each")


@pytest.fixture(scope="module")
def cam(case):
    return full_size_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES)


def test_cam(case, cam):
    check_refined_cam(case, cam, 1.0)
    # Their absent classes hold -1 and take no pixel from the background.
    assert case.scalars["infer_absent_class_value"] < 0.26
    mask = argmax_labels(cam.numpy(), background(cam.numpy(), "const", 0.26), PRESENT)
    case.agree("seed", mask, "infer_mask_0.26", "labels", "share")


def test_stored_cam_is_near(case, cam):
    check_stored_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES, cam.numpy(), 0.26)


@pytest.mark.parametrize("alpha", [4, 24])
def test_crf(case, alpha):
    check_crf(case, f"crf_alpha_{alpha}", alpha)
