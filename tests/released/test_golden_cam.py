"""Plain CAM and IR labels against IRN's released code: network, loss, gradients, steps, maps, CRF labels."""

from dataclasses import replace

import pytest
import torch
from cam_reference import seeds_pair, view_pair
from golden_case import (
    Case,
    check_gradients,
    check_rates,
    check_schedule,
    check_steps,
    check_stored_cam,
    full_size_cam,
    images,
    multi_hot,
    photo,
    scale_maps,
    training,
    two_blobs,
)
from plain_crf import oracle
from wsss.refine.background import argmax_index, background
from wsss.refine.crf import IRN_LABEL
from wsss.refine.ir_labels import merge
from wsss.sections.background import Rule

SETTINGS = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 1e-4, "schedule": "poly", "power": 0.9, "steps": 3305}
SCALES = (1.0, 0.5, 1.5, 2.0)
PRESENT = (8, 18)


@pytest.fixture(scope="module")
def case():
    return Case("irn_cam", "cam")


@pytest.fixture(scope="module")
def batch():
    return {"image": images(128, 128, 1, 2), "y": multi_hot([14], [3, 7, 14])}


@pytest.fixture(scope="module")
def y():
    return multi_hot(PRESENT)[0]


def trained(case, batch, momentum):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    return training(case, loss, {**SETTINGS, "momentum": momentum})


@torch.no_grad()
def test_forward(case, batch):
    out = case.network.train()(batch, frozenset({"features", "logits"}))
    taps = dict(zip(("pool", "layer1", "layer2", "layer3", "layer4"), out.features.values(), strict=True))
    case.maps("forward", {**taps, "logits": out.logits})


@pytest.mark.parametrize(("variant", "momentum"), [("released", 1e-4), ("momentum_0", 0.0)])
def test_training(case, batch, variant, momentum):
    done = trained(case, batch, momentum)
    case.agree("loss", done.losses[0]["total"], case.scalars["loss"], "losses", "each")
    check_gradients(case, done)
    check_rates(case, done, variant)
    check_steps(case, done, variant)


def test_schedule(case):
    check_schedule(case, SETTINGS)


def test_inputs(case):
    for scale in SCALES:
        plain = view_pair(photo(112, 144, 5), scale)[0]
        case.agree("network input", plain[:, ::8, ::8], f"input_scale_{scale:g}")


def test_maps(case, y):
    case.maps("maps of a scale", {f"cam_scale_{s:g}": scale_maps(case, photo(112, 144, 5), y, s)[list(PRESENT)] for s in SCALES})


def test_cam(case, y):
    high = full_size_cam(case, photo(112, 144, 5), y, SCALES)
    case.maps("CAM at image size", {"high_res": high}, "inference")
    ours = {"max": high.amax((1, 2)), "mean": high.mean((1, 2))}
    for name, values in ours.items():
        case.agree("CAM at image size", values, case.scalars["high_res"][name], "inference", "each")
    case.maps("CAM on the walk's grid", {"strided": full_size_cam(case, photo(112, 144, 5), y, SCALES, size_hw=(28, 36))}, "inference")


def test_stored_cam_is_near(case, y):
    high = full_size_cam(case, photo(112, 144, 5), y, SCALES).numpy()
    check_stored_cam(case, photo(112, 144, 5), y, SCALES, high, 0.6)


@pytest.mark.parametrize("backend", ["lattice", "pydensecrf"])
@pytest.mark.parametrize(("name", "confident", "unsure"), [("irn", 0.3, 0.05), ("amn", 0.45, 0.15)])
def test_ir_labels(case, name, confident, unsure, backend):
    if backend == "pydensecrf":
        oracle("densecrf")
    cam, rules = two_blobs(90, 120), [Rule("const", value) for value in (confident, unsure)]
    passes = seeds_pair(photo(90, 120, 77), cam, (3, 14), *rules, replace(IRN_LABEL, backend=backend))
    for part, rule, crf in zip(("fg", "bg"), rules, passes, strict=True):
        seed = argmax_index(cam, background(cam, *rule))
        case.agree("seeds of IR labels", seed, f"ir_{name}_seed_{part}", "labels", "share")
        case.agree("CRF labels", crf, f"ir_{name}_pass_{part}", "labels", "share")
    case.agree("IR labels", merge(*passes), f"ir_{name}", "labels", "share")
