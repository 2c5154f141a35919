"""EPS against its released code: network, losses, overlap, gradients, steps, maps and CRF."""

import numpy as np
import pytest
import torch
from golden_case import (
    CRF,
    Case,
    check_crf,
    check_gradients,
    check_rates,
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
    two_blobs,
)
from wsss.methods.eps import nearest_corner, overlap, saliency_loss
from wsss.refine.background import argmax_labels, background
from wsss.refine.crf import DEEPLAB_TEST, score_marginals

SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "steps": 20000}
SCALES = (0.5, 1.0, 1.5, 2.0)
PRESENT = (8, 17)
# Their background is the last channel, ours the first.
TO_LAST = [*range(1, 21), 0]

@pytest.fixture(scope="module")
def case():
    return Case("eps", "eps")


@pytest.fixture(scope="module")
def batch():
    saliency = np.stack([disc(36, 43, 22, 3), disc(50, 32, 28, 3)])[:, None]
    return {"image": images(80, 80, 1, 2), "y": multi_hot([8], [2, 6, 17]), "saliency": torch.from_numpy(saliency)}


@pytest.fixture(scope="module")
def formula():
    """Maps with the background last, saliency, labels."""
    maps = tensor(normal("eps.function.cam", 3, 21, 9, 11) * 3)
    maps[:, [0, 2, 7, 19]] += 2.5
    saliency = torch.sigmoid(torch.from_numpy(normal("eps.function.saliency", 3, 1, 36, 44) * 2)).float()
    return maps, saliency, multi_hot([2], [0, 7, 19], range(20))


def disc(cy, cx, r, s):
    y, x = np.mgrid[:80, :80]
    return (1 / (1 + np.exp((np.sqrt((y - cy) ** 2 + (x - cx) ** 2) - r) / s))).astype(np.float32)


def background_first(maps):
    return maps.roll(1, 1)


@torch.no_grad()
def test_forward(case, batch):
    out = case.network.train()(batch, frozenset({"maps", "logits", "features"}))
    case.maps("forward", dict(zip(("conv4", "conv5", "conv6"), list(out.features.values())[2:], strict=True)))
    case.maps("forward", {"cam": out.maps[:, TO_LAST]})
    # Theirs has a logit of the background, which no loss looks at.
    case.agree("forward", out.logits, case.arrays["logits"][:, :20])


def parts(maps, saliency, y, tau):
    """(sum of the foreground's maps, 1 - the background's) as `saliency_loss` makes them, by its two extreme weights."""
    target, probs = nearest_corner(saliency, maps.shape[-2:]), maps.softmax(1)
    salient = (y > 0) & (overlap(probs[:, 1:], target) > tau)
    foreground = (probs[:, 1:] * salient[..., None, None]).sum(1, keepdim=True)
    rest = (probs[:, 1:] * ((y > 0) & ~salient)[..., None, None]).sum(1, keepdim=True)
    return foreground, 1 - probs[:, :1] - rest


@torch.no_grad()
def test_saliency_maps(case, batch):
    maps = case.network.train()(batch, frozenset({"maps"})).maps
    case.agree("saliency on the grid", nearest_corner(batch["saliency"], (10, 10)), "saliency_at_cam")
    foreground, rest = parts(maps, batch["saliency"], batch["y"], 0.4)
    case.maps("saliency maps", {"fg_map": foreground, "one_minus_bg_map": rest, "sal_pred": (foreground + rest) / 2})
    counts = (maps.softmax(1)[:, 1:] > 0.5).sum((2, 3))
    case.agree("saliency maps", counts, case.scalars["cells_over_half"], 0, "absolute")
    ours = {}
    for name in case.scalars["saliency_loss"]:
        _, tau, _, weight = name.split()
        ours[name] = saliency_loss(maps, batch["saliency"], batch["y"], float(tau), float(weight))
    case.agree("saliency loss by tau, lambda", ours, case.scalars["saliency_loss"], "losses", "each")


def test_loss_of_formula_maps(case, formula):
    maps, saliency, y = formula
    case.agree("saliency on the grid", nearest_corner(saliency, (9, 11)), "function_saliency_resized")
    target = nearest_corner(saliency, (9, 11))
    case.agree("overlap", overlap(background_first(maps).softmax(1)[:, 1:], target), "function_overlap")
    ours, gradient = {}, None
    for name in case.scalars["function_saliency_loss_and_grad_norm"]:
        _, tau, _, weight = name.split()
        leaf = maps.clone().requires_grad_()
        loss = saliency_loss(background_first(leaf), saliency, y, float(tau), float(weight))
        loss.backward()
        ours[name] = [loss.item(), leaf.grad.norm().item()]
        gradient = leaf.grad if name == "tau 0.4 lambda 0.5" else gradient
    theirs = case.scalars["function_saliency_loss_and_grad_norm"]
    for column in (0, 1):
        found, golden = ({name: pair[column] for name, pair in table.items()} for table in (ours, theirs))
        case.agree("saliency loss of formula maps", found, golden, "losses", "each")
    case.agree("gradient of formula maps", gradient[:, ::4], "function_grad")


def test_training(case, batch):
    def loss():
        return case.network.loss(batch, case.network(batch, case.network.loss_want), 0)

    done = training(case, loss, {**SETTINGS, "momentum": 5e-4})
    ours = {"loss": "total", "loss_cls": "cls", "loss_sal": "saliency"}
    case.agree("losses", {k: done.losses[0][mine] for k, mine in ours.items()}, case.scalars["losses"], "losses", "each")
    check_gradients(case, done)
    check_rates(case, done)
    check_steps(case, done, "released")


def test_schedule(case):
    check_schedule(case, SETTINGS)


@pytest.fixture(scope="module")
def cam(case):
    return full_size_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES)


def test_cam(case, cam):
    case.maps("CAM at image size", {"infer_cam": cam}, "inference")
    for measure, ours in {"max": cam.amax((1, 2)), "mean": cam.mean((1, 2))}.items():
        case.agree("CAM at image size", ours, case.scalars["infer"][measure], "inference", "each")
    mask = argmax_labels(cam.numpy(), background(cam.numpy(), "const", 0.20), PRESENT)
    case.agree("seed", mask, "infer_mask_0.20", "labels", "share")


def test_stored_cam_is_near(case, cam):
    check_stored_cam(case, photo(112, 144, 5), multi_hot(PRESENT)[0], SCALES, cam.numpy(), 0.20)


@pytest.mark.parametrize("alpha", [4, 32])
def test_crf(case, alpha):
    # With the released function's numbers; its readme names other ones (recipe eps_crf).
    check_crf(case, f"crf_alpha_{alpha}", alpha)


def test_crf_numbers_of_the_readme(case):
    maps, image = two_blobs(90, 120), photo(90, 120, 77)
    scores = np.concatenate([background(maps, "power", 4)[None], maps])
    labels = [score_marginals(image, scores, scores, params)[0].argmax(0) for params in (DEEPLAB_TEST, CRF)]
    case.differ("CRF of the readme", *labels, at_least=1e-4, at_most=0.3)
