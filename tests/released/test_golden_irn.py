"""IRN against its released code: both branches, pairs, losses, gradients, steps, boundary maps, walk and masks."""

import numpy as np
import pytest
import torch
from cam_reference import view_pair
from golden_case import (
    Case,
    check_gradients,
    check_rates,
    check_steps,
    images,
    label,
    normal,
    photo,
    tensor,
    training,
    two_blobs,
)
from wsss.refine.affinity import grid_affinity, pair_affinity
from wsss.refine.irn import irn_losses, label_grid
from wsss.refine.pairs import pair_types
from wsss.refine.paths import path_index
from wsss.refine.random_walk import diagonals, inside, irn_scores, irn_semantic, walk, walk_affinity
from wsss.sections.background import Rule

SETTINGS = {"optimiser": "sgd", "lr": 0.1, "weight_decay": 1e-4, "schedule": "poly", "power": 0.9, "steps": 990}
LOSSES = {  # their names and ours
    "bg_pos": "positive_bg",
    "fg_pos": "positive_fg",
    "neg": "negative",
    "displacement_fg": "displacement_fg",
    "displacement_bg": "displacement_bg",
    "total": "total",
}

BG = Rule("const", 0.25)


@pytest.fixture(scope="module")
def case():
    return Case("irn", "irn")


@pytest.fixture(scope="module")
def batch():
    labels = np.stack([label(128, 128, [15]), label(128, 128, [4, 8, 15])])
    return {"image": images(128, 128, 1, 2), "label": torch.from_numpy(labels)}


def sigmoid(values):
    return torch.sigmoid(tensor(values))


def by_kind(pairs):
    return dict(zip(("bg", "fg", "neg"), pairs, strict=True))


@torch.no_grad()
def test_forward(case, batch):
    taps = case.network.train().backbone(batch["image"])
    out = case.network(batch["image"])
    case.maps("forward", {f"x{n}": tap for n, tap in enumerate(taps, 1)})
    edges = [block(tap) for block, tap in zip(case.network.edge.taps, taps, strict=True)]
    case.maps("forward, edge branch", {f"edge{n}": part for n, part in enumerate(edges, 1)})
    case.maps("forward, edge branch", {"edge_logits": out.edge[:, None]})
    branch = case.network.displacement
    parts = [block(tap) for block, tap in zip(branch.taps, taps, strict=True)]
    case.maps("forward, displacement branch", {f"dp{n}": part for n, part in enumerate(parts, 1)})
    case.maps("forward, displacement branch", {"dp6": branch.deep(torch.cat(parts[2:], 1)), "displacement": out.displacement})


@torch.no_grad()
def test_pairs_of_training(case, batch):
    index, out = case.network.index, case.network(batch["image"])
    case.agree("pairs", index.directions, "directions", 0, "absolute")
    case.maps("affinities", {"affinity": pair_affinity(out.edge.sigmoid(), index).flatten(2)})
    case.agree("labels on the grid", batch["label"], "ir_labels", 0, "share")
    labels = label_grid(batch["label"], (32, 32))
    case.agree("labels on the grid", labels, "labels_on_grid", 0, "share")
    for kind, pairs in by_kind(pair_types(labels, index)).items():
        case.agree("pairs", pairs.sum((1, 2, 3)), case.scalars["pair_counts"][kind], 0, "absolute")
        by_direction = pairs.sum((0, 2, 3)) if len(case.scalars["pair_counts_by_direction"][kind]) == 152 else pairs.sum((2, 3))
        case.agree("pairs", by_direction, case.scalars["pair_counts_by_direction"][kind], 0, "absolute")


@pytest.mark.parametrize(("variant", "momentum"), [("released", 1e-4), ("momentum_0", 0.0)])
def test_training(case, batch, variant, momentum):
    done = training(case, lambda: case.network.loss(batch), {**SETTINGS, "momentum": momentum})
    ours = {name: done.losses[0][mine] for name, mine in LOSSES.items()}
    case.agree("losses", ours, {name: case.scalars["losses"][name] for name in LOSSES}, "losses", "each")
    check_gradients(case, done)
    check_rates(case, done, variant)
    check_steps(case, done, variant, {"fc_dp": 1e-2})


def test_losses_of_formula_maps(case):
    edge, moved = normal("irn.function.edge", 1, 16, 20) * 2, normal("irn.function.displacement", 1, 2, 16, 20) * 2
    labels = torch.from_numpy(label(16, 20, [4, 8, 15]))[None]
    losses = irn_losses(tensor(edge), tensor(moved), labels, path_index(10))
    theirs = {name: case.scalars["function_losses"][name] for name in LOSSES}
    case.agree("losses of formula maps", {name: losses[mine] for name, mine in LOSSES.items()}, theirs, "losses", "each")


@pytest.mark.parametrize("radius", [5, 10])
def test_paths(case, radius):
    index, facts = path_index(radius), case.scalars[f"paths_r{radius}"]
    edge, name = sigmoid(normal("irn.function.edge", 1, 16, 20) * 2), f"paths_r{radius}"
    case.agree("paths", index.directions, f"{name}_directions", 0, "absolute")
    case.agree("paths", [len(path) for path in index.paths], f"{name}_length", 0, "absolute")
    # Of cells that lie equally far on, either may come first: the maximum does not care.
    theirs = np.split(case.arrays[f"{name}_cells"], np.cumsum([len(path) for path in index.paths])[:-1])
    ours, theirs = (np.concatenate([sorted(map(tuple, path)) for path in paths]) for paths in (index.paths, theirs))
    case.agree("paths", ours, theirs, 0, "absolute")
    rows, cols = index.source_shape(16, 20)
    sources = np.arange(320).reshape(16, 20)[:rows, index.reach : index.reach + cols].ravel()
    case.agree("paths", sources, f"{name}_sources", 0, "absolute")
    targets = [sources + dy * 20 + dx for dy, dx in index.directions]
    case.agree("paths", np.stack(targets), f"{name}_targets", 0, "absolute")
    affinity = pair_affinity(edge, index).flatten(2)[0]
    case.agree("affinities of a formula map", affinity[:: 4 if radius == 10 else 1], f"{name}_affinity")
    labels = torch.from_numpy(label(16, 20, [4, 8, 15]))
    case.agree("labels on the grid", labels, f"{name}_labels", 0, "share")
    counts = {kind: int(pairs.sum()) for kind, pairs in by_kind(pair_types(labels[None], index)).items()}
    case.agree("pairs", counts, facts["pair_counts"], 0, "absolute")


def test_walk(case):
    edge, cams = sigmoid(normal("irn.walk.edge", 1, 12, 14) * 1.5 - 2)[0], two_blobs(12, 14)
    case.agree("inputs of the walk", edge[None], "walk_edge")
    case.agree("inputs of the walk", cams, "walk_cams")
    index = path_index(5)
    planes = grid_affinity(edge, index)
    dense = diagonals(inside(planes.double(), index.directions).numpy(), index.directions).toarray()
    case.maps("affinity matrix", {"walk_dense_affinity": torch.from_numpy(dense)})
    one_hot = np.eye(168).reshape(168, 12, 14)
    walked = walk_affinity(one_hot, planes, index.directions, 10, 256).reshape(168, 168)
    case.maps("transition matrix, 256 steps", {"walk_transition": walked}, "inference")
    for power, name in ((1.0, "walk"), (1.3, "walk_power_1.3")):
        start = torch.from_numpy(cams) ** power * (1 - edge)
        case.agree("walk", walk(start, edge, 5, 10, 256)[:, None], name, "inference")


def edge_map(case, pad_to):
    case.network.pad_to = pad_to
    try:
        return case.network.eval().edge_maps(view_pair(photo(112, 144, 5), 1.0))
    finally:
        case.network.pad_to = 512


@torch.no_grad()
def test_inference(case):
    # On the large canvas the released run's GroupNorm (of channels-last maps) is 4.5e-5 off the float64 answer, ours 1e-6.
    case.agree("boundary map, canvas 512", edge_map(case, 512), "infer_edge", "inference")
    case.agree("boundary map, canvas 144", edge_map(case, 144), "infer_edge_pad_144")
    plain = case.network.eval()._padded(view_pair(photo(112, 144, 5), 1.0))[:1]
    displacement = case.network(plain).displacement[0, :, :28, :36]
    case.agree("displacement less its mean", displacement, "infer_displacement", "inference")


def test_masks(case):
    cam, edge, size = two_blobs(28, 36), torch.from_numpy(case.arrays["infer_edge"])[0], (112, 144)
    case.agree("walk", walk(torch.from_numpy(cam) * (1 - edge), edge, 5, 10, 256)[:, None], "infer_walk", "inference")
    scores = torch.from_numpy(irn_scores(cam, edge, size))
    case.maps("scores at image size", {"infer_scores": scores}, "inference")
    case.agree("scores at image size", scores.amax((1, 2)), case.scalars["infer_max"], "inference", "each")
    case.agree("scores at image size", scores.mean((1, 2)), case.scalars["infer_mean"], "inference", "each")
    for boundary in (edge, edge_map(case, 512)[0]):
        case.agree("pseudo-mask", irn_semantic(cam, boundary, size, (8, 18), BG), "infer_mask", "labels", "share")


def test_canvas_moves_boundaries(case):
    case.differ("canvas", edge_map(case, "multiples_of_16"), edge_map(case, 512), at_least=1e-3, at_most=1, measure="absolute")
    masks = [irn_semantic(two_blobs(28, 36), edge_map(case, pad)[0], (112, 144), (8, 18), BG) for pad in ("multiples_of_16", 512)]
    assert (masks[0] != masks[1]).any()
