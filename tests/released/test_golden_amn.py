"""AMN against its released code: network, balanced loss, gradients, Adam's steps, maps and the mask trick."""

import numpy as np
import pytest
import torch
from cam_reference import view_pair
from golden_case import (
    Case,
    check_gradients,
    check_rates,
    check_steps,
    check_stored_cam,
    full_size_cam,
    images,
    label,
    multi_hot,
    normal,
    photo,
    scale_maps,
    tensor,
    training,
)
from wsss.methods.amn import smoothed_cross_entropy
from wsss.methods.base import present, resize
from wsss.nets.heads import balanced_mean, resize_label

SETTINGS = {"optimiser": "adam", "lr": 5e-6, "weight_decay": 1e-4, "schedule": "constant", "steps": 3305}
SCALES = (1.0, 0.5, 1.5, 2.0)
PRESENT = (8, 18)
CHANNELS = [0, 9, 19]  # background and the present classes


@pytest.fixture(scope="module")
def case():
    return Case("amn", "amn", **{"gradients": 1e-3, "change 1": 5e-3, "change 3": 2e-2})


@pytest.fixture(scope="module")
def batch():
    labels = np.stack([label(128, 128, [15]), label(128, 128, [4, 8, 15])])
    return {"image": images(128, 128, 1, 2), "y": multi_hot([14], [3, 7, 14]), "label": torch.from_numpy(labels)}


@pytest.fixture(scope="module")
def y():
    return multi_hot(PRESENT)[0]


@pytest.fixture(scope="module")
def aux():
    return {"ir_labels": label(112, 144, [9, 19])}


def loss_of(case, batch, out):
    return case.network.loss(batch, out, 0)["total"]


@torch.no_grad()
def test_forward(case, batch):
    network = case.network.train()
    out = network(batch, frozenset({"maps", "features"}))
    encoding = network.label_encoder(batch["y"])
    taps = dict(zip(("layer1", "layer2", "layer3", "layer4"), list(out.features.values())[1:], strict=True))
    case.maps("forward", {**taps, "label_encoding": encoding})
    case.maps("forward", {"conditioned": out.features["x5"] * encoding[:, :, None, None], "logits": out.maps})


@torch.no_grad()
def test_labels(case, batch):
    case.agree("labels on the grid", batch["label"], "ir_labels", 0, "share")
    case.agree("labels on the grid", resize_label(batch["label"], (8, 8)), "labels_on_grid", 0, "share")


@torch.no_grad()
def test_loss_by_smoothing(case, batch):
    out, published = case.network.train()(batch), case.network.options["label_smoothing"]
    try:
        ours = {}
        for smoothing in case.scalars["loss_by_eps"]:
            case.network.options["label_smoothing"] = float(smoothing)
            ours[smoothing] = loss_of(case, batch, out)
    finally:
        case.network.options["label_smoothing"] = published
    case.agree("loss", ours, case.scalars["loss_by_eps"], "losses", "each")


def test_training(case, batch):
    done = training(case, lambda: case.network.loss(batch, case.network(batch), 0), SETTINGS)
    case.agree("loss", done.losses[0]["total"], case.scalars["loss"], "losses", "each")
    check_gradients(case, done)
    check_rates(case, done)
    check_steps(case, done, "released")


def balanced(logits, labels, smoothing=0.4):
    labels = resize_label(labels, logits.shape[-2:])
    return balanced_mean(smoothed_cross_entropy(logits, labels, smoothing), labels)


def test_loss_of_formula_logits(case, batch):
    theirs = case.scalars["function"]
    logits = tensor(normal("amn.function.logits", 2, 21, 8, 8) * 2).requires_grad_()
    loss = balanced(logits, batch["label"])
    loss.backward()
    ours = {
        "loss": loss,
        "loss_81_classes": balanced(tensor(normal("amn.function.logits81", 2, 81, 8, 8) * 2), batch["label"]),
        "zero_logits": balanced(torch.zeros(2, 21, 8, 8), batch["label"]),
        "grad_norm": logits.grad.norm(),
    }
    case.agree("loss of formula logits", {k: v.detach() for k, v in ours.items()}, {k: theirs[k] for k in ours}, "losses", "each")
    case.agree("gradient of formula logits", logits.grad, "function_grad")


def test_no_foreground_is_no_reason_for_nan(case):
    assert case.scalars["function"]["all_background"] == "nan"
    nothing = torch.zeros(2, 128, 128, dtype=torch.uint8)
    assert torch.isfinite(balanced(tensor(normal("amn.function.logits", 2, 21, 8, 8) * 2), nothing))


def test_soft_target(case, batch):
    """The target is the gradient to the log-probabilities, less what the softmax takes off."""
    logits = torch.zeros(2, 21, 8, 8, requires_grad=True)
    labels = resize_label(batch["label"], (8, 8))
    smoothed_cross_entropy(logits, labels, 0.4).sum().backward()
    target = 1 / 21 - logits.grad
    valid = (labels != 255)[:, None].expand(-1, 4, -1, -1)
    theirs = torch.from_numpy(case.arrays["function_soft_target"])
    case.agree("soft target", target[:, [0, 4, 8, 15]][valid], theirs[valid], "arrays")


def test_maps(case, y):
    found = {f"logit_scale_{s:g}": scale_maps(case, photo(112, 144, 5), y, s)[CHANNELS] for s in SCALES}
    case.maps("logits of a scale", found)


def mean_logits(case, y, size_hw):
    return sum(scale_maps(case, photo(112, 144, 5), y, scale, size_hw) for scale in SCALES) / len(SCALES)


@pytest.mark.parametrize(("size_hw", "name"), [((112, 144), "high_res"), ((28, 36), "strided")])
def test_cam(case, y, aux, size_hw, name):
    probs = mean_logits(case, y, size_hw).softmax(0)[CHANNELS]
    case.maps("probabilities", {f"{name}_softmax": probs}, "inference")
    # Theirs keeps the background's map as well, which every reader drops.
    cam = full_size_cam(case, photo(112, 144, 5), y, SCALES, aux, size_hw)
    thin = 4 if name == "high_res" else 1
    case.agree("CAM", cam[:, ::thin, ::thin], case.arrays[name][1:], "inference")
    for measure, ours in {"max": cam.amax((1, 2)), "mean": cam.mean((1, 2))}.items():
        if name == "high_res":
            case.agree("CAM", ours, case.scalars["high_res"][measure][1:], "inference", "each")
    case.agree("IR labels read again", aux["ir_labels"], "infer_ir_label", 0, "share")


def test_stored_cam_is_near(case, y, aux):
    high = full_size_cam(case, photo(112, 144, 5), y, SCALES, aux).numpy()
    check_stored_cam(case, photo(112, 144, 5), y, SCALES, high, 0.25, aux)


def test_dropout_at_inference(case, y):
    """The released code leaves dropout on at inference: its maps are random."""
    assert case.scalars["released_dropout_difference_scale_1"]["max"] > 0.1
    pair, network = view_pair(photo(112, 144, 5), 1.0), case.network.eval()
    off = resize(network.seed_maps(pair, y[None]), (112, 144))[0]
    network.dropout.p = network.defaults["dropout"]
    network.dropout.train()
    torch.manual_seed(0)
    on = resize(network.seed_maps(pair, y[None]), (112, 144))[0]
    network.dropout.p = 0.0
    probs = [maps.softmax(0)[present(y) + 1] for maps in (on, off)]
    case.differ("dropout at inference", *probs, at_least=1e-3, at_most=0.5, measure="absolute")
