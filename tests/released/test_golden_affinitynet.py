"""AffinityNet against SEAM's released code: network, pairs, labels, losses, gradients, steps, walk and masks."""

import numpy as np
import pytest
import torch
from golden_case import (
    Case,
    blob,
    check_gradients,
    check_rates,
    check_schedule,
    check_steps,
    images,
    label,
    normal,
    photo,
    tensor,
    training,
    two_blobs,
)
from wsss.data.transforms import normalise
from wsss.refine import affinity_walk
from wsss.refine.affinity_walk import affinitynet_semantic, grid_planes
from wsss.refine.affinitynet import cell_labels, feature_affinity
from wsss.refine.pairs import pair_losses, pair_types
from wsss.refine.paths import path_index
from wsss.refine.random_walk import diagonals, inside, walk_affinity
from wsss.sections.background import Rule

SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "steps": 10576}
BG = Rule("power", 6)
KEYS = (3, 14)


@pytest.fixture(scope="module")
def case():
    return Case("affinitynet", "affinitynet")


@pytest.fixture(scope="module")
def batch():
    labels = np.stack([label(12, 12, [1]), label(12, 12, [1, 2, 3])])
    labels[0, -1] = 255
    return {"image": images(96, 96, 1, 2), "label": torch.from_numpy(labels)}


def in_their_order(case, index):
    """Place of each of their offsets among ours, which go by the length of the path."""
    return [index.directions.index(tuple(int(step) for step in offset)) for offset in case.arrays["offsets"]]


@torch.no_grad()
def test_forward(case, batch):
    network = case.network.train()
    taps, features = network.backbone(batch["image"]), network(batch["image"])
    case.maps("forward", dict(zip(("conv4", "conv5", "conv6"), taps[2:], strict=True)))
    case.maps("forward", {"features": features})
    order = in_their_order(case, network.index)
    case.agree("pairs", sorted(order), list(range(34)), 0, "absolute")
    case.maps("affinities", {"affinity": feature_affinity(features, network.index).flatten(2)[:, order]})


def test_pairs(case, batch):
    case.agree("labels of cells", batch["label"], "labels", 0, "share")
    order = in_their_order(case, path_index(5))
    for kind, pairs in zip(("bg", "fg", "neg"), pair_types(batch["label"], path_index(5)), strict=True):
        case.agree("pairs", pairs.flatten(2)[:, order], f"pairs_{kind}", 0, "share")
        case.agree("pairs", pairs.sum((1, 2, 3)), case.scalars["pair_counts"][kind], 0, "absolute")


def test_pairs_of_a_large_map(case):
    labels = torch.zeros(1, 56, 56, dtype=torch.uint8)
    labels[..., 28:] = 1
    labels[:, 50:] = 255
    pairs = pair_types(labels, path_index(5))
    counts = {kind: int(found.sum()) for kind, found in zip(("bg", "fg", "neg"), pairs, strict=True)}
    case.agree("pairs", counts, case.scalars["map_56"], 0, "absolute")


def test_pairs_of_sizes(case):
    for text, facts in case.scalars["pairs_of_size"].items():
        size, _, radius = text.split()
        (height, width), index = map(int, size.split("x")), path_index(int(radius))
        rows, cols = index.source_shape(height, width)
        sources = np.arange(height * width).reshape(height, width)[:rows, index.reach : index.reach + cols]
        targets = [sources + dy * width + dx for dy, dx in index.directions]
        ours = {
            "offsets": len(index.directions),
            "pairs": len(index.directions) * sources.size,
            "sources": sources.size,
            "sum_from": sources.sum(),
            "sum_to": np.sum(targets),
        }
        case.agree("pairs", ours, facts, 0, "absolute")


def test_labels_from_two_passes(case):
    hills = [blob(96, 96, 0.3, 0.6, 0.35), blob(96, 96, 0.5, 0.35, 0.25), np.float32(0.8) * blob(96, 96, 0.65, 0.7, 0.2)]
    confident, unsure = np.stack(hills), np.stack([np.full((96, 96), 0.45, np.float32), *hills[1:]])
    passes = np.stack([confident, unsure])
    passes[:, :, 88:] = 0
    case.agree("labels of cells", cell_labels(passes), "labels_from_two", 0, "share")
    stored = np.rint(passes * 255).astype(np.uint8)
    case.differ("probabilities in 8 bits", cell_labels(stored), case.arrays["labels_from_two"], at_least=0, at_most=0.02)


def named(losses):
    names = {"loss": "total", "bg_loss": "positive_bg", "fg_loss": "positive_fg", "neg_loss": "negative"}
    return {theirs: float(losses[ours]) for theirs, ours in names.items()}


def test_training(case, batch):
    done = training(case, lambda: case.network.loss(batch), {**SETTINGS, "momentum": 5e-4})
    case.agree("losses", named(done.losses[0]), case.scalars["losses"], "losses", "each")
    check_gradients(case, done)
    check_rates(case, done)
    check_steps(case, done, "released")


def test_schedule(case):
    check_schedule(case, SETTINGS)


def test_losses_of_formula_affinities(case, batch):
    affinity = torch.sigmoid(tensor(normal("aff.function.affinity", 2, 34, 32) * 2)).requires_grad_()
    order = in_their_order(case, path_index(5))
    kinds = [pairs[:, order] for pairs in pair_types(batch["label"], path_index(5))]
    losses = pair_losses(affinity.view(2, 34, 8, 4), *kinds)
    losses["total"].backward()
    detached = {name: value.detach() for name, value in losses.items()}
    case.agree("losses of formula affinities", named(detached), case.scalars["function_losses"], "losses", "each")
    norm = affinity.grad.norm()
    case.agree("losses of formula affinities", norm, case.scalars["function_grad_norm"], "losses", "each")


def test_walk_of_formula_affinities(case):
    index = path_index(5)
    planes = torch.zeros(34, 12, 15)
    planes[in_their_order(case, index), :8, 4:11] = torch.sigmoid(tensor(normal("aff.function.walk", 34, 56) * 2 + 1)).view(34, 8, 7)
    scores = torch.sigmoid(tensor(normal("aff.function.scores", 3, 180))).view(3, 12, 15)
    case.agree("walk of formula affinities", walk_affinity(scores, planes, index.directions, 8, 64), "function_walk", "inference")


@pytest.fixture(scope="module")
def features(case):
    return case.network.eval().features(torch.from_numpy(normalise(photo(90, 116, 6))))


def test_transition(case, features):
    planes, index = grid_planes(features, 5, "inner")
    links = inside(planes.double() ** 8, index.directions)
    dense = diagonals(links.numpy(), index.directions).toarray()
    case.maps("affinity matrix", {"walk_affinity_pow_beta": torch.from_numpy(dense)}, "inference")
    one_hot = np.eye(180).reshape(180, 12, 15)
    walked = walk_affinity(one_hot, planes, index.directions, 8, 64).reshape(180, 180)
    case.maps("transition matrix, 64 steps", {"walk_transition": walked}, "inference")


def mask_of(features, pairs):
    return affinitynet_semantic(two_blobs(90, 116), features, KEYS, BG, pairs=pairs)


def test_masks(case, features, monkeypatch):
    seen = []

    def watched(scores, *arguments):
        seen.extend([scores, walk_affinity(scores, *arguments)])
        return seen[1]

    monkeypatch.setattr(affinity_walk, "walk_affinity", watched)
    mask = mask_of(features, "inner")
    case.agree("scores that walk", seen[0], "walk_start")
    full = torch.nn.functional.interpolate(seen[1][None], scale_factor=8, mode="bilinear", align_corners=False)[0]
    case.agree("walked scores", full[:, ::4, ::4], "walk_scores", "inference")
    case.agree("walked scores", full.amax((1, 2)), case.scalars["walk"]["max"], "inference", "each")
    case.agree("pseudo-mask", mask, "walk_mask", "labels", "share")


def test_all_pairs_change_masks(case, features):
    case.differ("pairs at the border", mask_of(features, "all"), mask_of(features, "inner"), at_least=1e-4, at_most=1)
