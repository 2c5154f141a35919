"""FSAE's functions against PixMatch, its published predecessor: label masking, confident cells, ring, consistency loss with its
gradient, and the teacher's average. The arrays of its own training steps are gone through from the maps on."""

import json

import golden_case
import numpy as np
import pytest
import torch
from parity import agree
from wsss.train.optim import learning_rate
from wsss.wrappers.expansion import (
    Pseudo,
    confident_cells,
    consistency,
    expand,
    mask_absent,
    ring_around,
)

FACTS = json.loads((golden_case.FOLDER / "pixmatch.json").read_text("utf-8"))
with np.load(golden_case.FOLDER / "pixmatch.npz") as stored:
    ARRAYS = {name: stored[name] for name in stored.files}
PURE = FACTS["pure"]
Y = golden_case.multi_hot(*FACTS["inputs"]["labels"])
BACKGROUND = 20  # theirs comes last
OPTIONS = {"kernel": 3, "iters": 1, "ring": "own_argmax", "ring_source": "fg"}
CASES = {  # name: tau_r, kernel; None: no ring
    "both_thresholds": (0.80, 3),
    "kernel5": (0.80, 5),
    "ring_cutoff_0": (0.0, 3),
    "no_ring": (None, 3),
}


def background_first(maps):
    return torch.from_numpy(np.concatenate([maps[:, BACKGROUND:], maps[:, :BACKGROUND]], axis=1))


def background_last(maps):
    return torch.cat([maps[:, 1:], maps[:, :1]], dim=1)


def their_labels(labels):
    """Ours, 0 the background -> theirs."""
    return torch.where(labels == 0, BACKGROUND, labels - 1)


def taus(value):
    return torch.full((21,), value)


def pseudo_of(probs, tau_r=0.80, kernel=3) -> Pseudo:
    pseudo = confident_cells(probs, taus(0.95))
    return pseudo if tau_r is None else expand(pseudo, probs, taus(tau_r), {**OPTIONS, "kernel": kernel})


def logits(name):
    return mask_absent(background_first(ARRAYS[f"pure/{name}"]), Y, "zero")


def compare(stage, ours, theirs, tolerance=1e-5, measure="largest"):
    agree("pixmatch", stage, ours, theirs, tolerance, measure)


def stored_part(name, full):
    """An array as the file keeps it."""
    stride = FACTS["tensors"][name].get("flat_stride", 1)
    return full if stride == 1 else full.contiguous().flatten()[::stride]


def test_masked_logits_and_confidence():
    masked = logits("cam_w")
    compare("absent classes masked", background_last(masked), ARRAYS["pure/cam_w_masked"])
    probs = masked.softmax(1)
    compare("confidence", probs.amax(1), ARRAYS["pure/conf_value"])
    compare("pseudo-labels", their_labels(confident_cells(probs, taus(0.95)).label), ARRAYS["pure/pl_w"], 0, "share")
    bins = torch.histogram(probs.amax(1), torch.tensor([0, 0.4, 0.6, 0.8, 0.95, 0.99, 1.1])).hist / probs[:, 0].numel()
    compare("shares", bins, np.array(PURE["confidence_bins_lt.4_.6_.8_.95_.99_ge.99"]))


def test_confident_cells_and_ring():
    pseudo = pseudo_of(logits("cam_w").softmax(1))
    for name, mask in {"pl_mask": pseudo.confident, "pl_mask_fg": pseudo.foreground}.items():
        compare("confident cells", mask, ARRAYS[f"pure/{name}"], 0, "share")
    compare("ring", ring_around(pseudo.foreground, 3, 1), ARRAYS["pure/ring_before_cutoff"], 0, "share")


@pytest.mark.parametrize("name", CASES)
def test_loss_masks_and_gradient(name):
    """The loss of the student's map, and its gradient there, under four settings of the ring."""
    pseudo = pseudo_of(logits("cam_w").softmax(1), *CASES[name])
    student = background_first(ARRAYS["pure/cam_s"]).requires_grad_()
    distance = consistency(mask_absent(student, Y, "zero"), pseudo.label, pseudo.mask, "all")
    distance.backward()
    theirs = PURE[name]
    compare("consistency loss", [distance.item()], [theirs["loss_semcon"]], measure="each")
    key = f"pure/{name}/grad_cam_s"
    compare("gradient", stored_part(key, background_last(student.grad)), ARRAYS[key])
    ours = {key: value.item() for key, value in pseudo.shares().items()}
    names = {"mask_ratio": "confident", "fg_mask_ratio": "confident_fg", "bdry_ratio": "ring", "exp_mask_ratio": "expanded"}
    compare("shares", [ours[names[key]] for key in theirs["meter"]], list(theirs["meter"].values()), 1e-5, "each")
    if CASES[name][0] is not None:
        compare("ring", pseudo.ring, ARRAYS[f"pure/{name}/pl_mask_bdry"], 0, "share")
        compare("learned cells", pseudo.mask, ARRAYS[f"pure/{name}/pl_mask_exp"], 0, "share")


@pytest.mark.parametrize("step", [0, 1])
def test_masks_of_its_training_steps(step):
    """Of the teacher's confidence, labels and confident foreground in training: ring and learned cells of both steps."""
    known = {key: torch.from_numpy(ARRAYS[f"step{step}/{key}"]) for key in ("conf_value", "pl_w", "pl_mask", "pl_mask_fg")}
    label = torch.where(known["pl_w"] == BACKGROUND, 0.0, known["pl_w"] + 1).long()
    rest = (1 - known["conf_value"]) / 20
    probs = rest[:, None].expand(-1, 21, -1, -1).scatter(1, label[:, None], known["conf_value"][:, None])
    pseudo = pseudo_of(probs)
    for name, mask in {"pl_mask": pseudo.confident, "pl_mask_fg": pseudo.foreground}.items():
        compare("confident cells", mask, ARRAYS[f"step{step}/{name}"], 0, "share")
    compare("ring", pseudo.ring, ARRAYS[f"step{step}/pl_mask_bdry"], 0, "share")
    compare("learned cells", pseudo.mask, ARRAYS[f"step{step}/pl_mask_exp"], 0, "share")
    theirs = FACTS["losses_step_by_step"][step]
    ours = {key: value.item() for key, value in pseudo.shares().items()}
    compare("shares", [ours["ring"], ours["expanded"]], [theirs["bdry_ratio"], theirs["exp_mask_ratio"]], 1e-5, "each")


def test_facts():
    """One present class at z beside a background at 0; rings of one cell; a uniform map."""
    facts = PURE["facts_1.9"]
    y = golden_case.multi_hot([14])
    for z in (5.9401, 5.9403):
        one = torch.zeros(1, 21, 1, 1)
        one[:, 15] = z
        found = confident_cells(mask_absent(one, y, "zero").softmax(1), taus(0.95)).confident.float().mean().item()
        assert found == facts[f"confident_at_z_{z}"]
    cell = torch.zeros(2, 4, 4, dtype=torch.bool)
    cell[0, 1, 2] = cell[1, 0, 0] = True
    whole, none = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    rings = [int(ring_around(mask, 3, 1).sum()) for mask in (cell[:1], cell[1:], whole, none)]
    assert rings == [facts[f"ring_cells_{name}"] for name in ("single_interior", "corner", "full", "empty")] == [8, 3, 0, 0]
    uniform = torch.zeros(1, 21, 4, 4, requires_grad=True)
    label = torch.zeros(1, 4, 4, dtype=torch.int64)
    distance = consistency(uniform, label, cell[:1], "all")
    compare("consistency loss", [distance.item()], [facts["uniform_one_cell_4x4"]], measure="each")
    empty = consistency(uniform, label, none, "all")
    empty.backward()
    assert empty.item() == facts["empty_mask_loss"] and uniform.grad.abs().max() == facts["empty_mask_grad_abs_max"]


def test_schedule():
    """Its poly schedule is shorter than its training, and stands still at its end."""
    theirs = PURE["poly_lr"]
    settings = {"schedule": "poly", "lr": theirs["base_lr"], "power": 0.9, "poly_steps": theirs["max_step"]}
    steps = [int(step) for step in theirs["lr_at_step"]]
    rates = [learning_rate(step, 40000, settings) for step in (*steps, 39999)]
    compare("learning rates", rates, [*theirs["lr_at_step"].values(), theirs["lr_after_max_step"]], 1e-6, "each")
