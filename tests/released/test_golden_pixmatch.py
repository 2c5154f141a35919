"""FSAE around PPC on EPS against PixMatch, its published predecessor: label masking, confident cells, ring and consistency loss as
functions; then the whole network in two steps of training, teacher and all."""

import json
from dataclasses import dataclass

import golden_case
import numpy as np
import pytest
import torch
from golden_case import Case, check_gradients, check_steps, images, training
from parity import agree
from sections import settings_of
from wsss.methods import prototype_contrast
from wsss.train.optim import learning_rate
from wsss.wrappers.expansion import (
    Pseudo,
    confident_cells,
    consistency,
    expand,
    mask_absent,
    ring_around,
)
from wsss.wrappers.fsae import FSAE

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
    rates = [learning_rate(step, 40000, settings_of(settings)) for step in (*steps, 39999)]
    compare("learning rates", rates, [*theirs["lr_at_step"].values(), theirs["lr_after_max_step"]], 1e-6, "each")


# --- the whole network, in training ------------------------------------------------------------------------------------

SETTINGS = {"optimiser": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "momentum": 5e-4, "steps": 39660}
# As the file advises.
WIDER = {"arrays": 1e-4, "losses": 1e-4, "later losses": 1e-4, "gradients": 1e-3, "norms": 1e-5, "change 2": 1e-2, "teacher": 1e-2}
MASKS = {"pl_mask": "confident", "pl_mask_fg": "foreground", "pl_mask_bdry": "ring", "pl_mask_exp": "mask"}
TERMS = {
    "loss_er": "er",
    "loss_ecr": "ecr",
    "loss_sal": "saliency",
    "loss_sup": "base",
    "loss_semcon": "consistency",
    "loss": "total",
    "nce/loss_cross_nce": "cross_prototype",
    "nce/loss_cross_nce2": "cross_label",
    "nce/loss_intra_nce": "intra_view",
}
SHARES = {"mask_ratio": "confident", "fg_mask_ratio": "confident_fg", "bdry_ratio": "ring", "exp_mask_ratio": "expanded"}


class Watched(FSAE):
    """Keeps what the teacher and the strong view gave."""

    def teacher_output(self, batch):
        self.seen = {"out": super().teacher_output(batch)}
        return self.seen["out"]

    def pseudo_labels(self, batch):
        self.seen["pseudo"] = super().pseudo_labels(batch)
        return self.seen["pseudo"]

    def strong_logits(self, batch, mix=None):
        logits = super().strong_logits(batch, mix)
        self.seen["student"] = logits.detach()
        return logits


@pytest.fixture(scope="module")
def case():
    case = Case("pixmatch", "ppc_eps", **WIDER)
    del case.network.backbone.forward  # the teacher's copy must ask itself
    case.network.options["second_saliency"] = "direct"
    return case


@dataclass
class Trained:
    """Two steps of training; lists have an entry a step."""

    done: golden_case.Training
    seen: list[dict]  # of `Watched`
    gradients: dict[str, list[torch.Tensor]]  # of the tensors that the file has
    teacher: list[dict[str, torch.Tensor]]  # its parameters, by their names, less those of the start


@pytest.fixture(scope="module")
def trained(case):
    weak = images(160, 144, 1, 2)
    strong = 0.6 * weak + 0.3 * images(160, 144, 21, 22)
    batch = {"image": weak, "y": Y, "saliency": weak[:, :1].clamp(0, 1), "strong": strong, "strong_valid": torch.ones(2, 1, 160, 144)}
    fsae = Watched(case.network).train()
    parameters = dict(fsae.teacher.named_parameters())
    start = {name: p.clone() for name, p in parameters.items()}
    seen, teacher, gradients = [], [], {"fc8.weight": [], "b7.conv_branch2b2.weight": []}
    hooks = [case.parameters()[name].register_hook(kept.append) for name, kept in gradients.items()]

    def loss():
        losses = fsae.loss(batch, fsae(batch, fsae.loss_want), len(seen))
        seen.append(fsae.seen)
        return losses

    def after_step(step):
        fsae.after_step(step)
        teacher.append({name: parameters[ours] - start[ours] for name, ours in case.names.items() if ours in parameters})

    with pytest.MonkeyPatch.context() as patch:  # the file takes the first half of a class's pixels where the code draws one
        patch.setattr(prototype_contrast, "chance_of", lambda labels: torch.arange(len(labels)).float())
        done = training(case, loss, SETTINGS, 2, after_step)
    for hook in hooks:
        hook.remove()
    return Trained(done, seen, gradients, teacher)


@pytest.mark.parametrize("step", [0, 1])
def test_losses_in_training(case, trained, step):
    """Every term of the base, consistency, total, and shares of cells. Their classification loss holds rvmin."""
    ours, theirs = trained.done.losses[step], FACTS["losses_step_by_step"][step]
    terms = {name: ours[term] for name, term in TERMS.items()} | {"loss_cls": ours["cls"] + ours["rvmin"]}
    stage, tolerance = ("losses", "losses") if step == 0 else ("losses after a step", "change 1")
    case.agree(stage, terms, {name: theirs[name] for name in terms}, tolerance, "each")
    shares = {name: ours[share] for name, share in SHARES.items()}
    case.agree("shares in training", shares, {name: theirs[name] for name in shares}, 1e-5, "each")


@pytest.mark.parametrize("step", [0, 1])
def test_maps_and_masks_in_training(case, trained, step):
    """The teacher's map of the weak view, the student's of the strong one, and all that is cut from the first."""
    seen = trained.seen[step]
    logits = mask_absent(case.network.pixel_logits(seen["out"]), Y, "zero")
    ours = {"cam_w_masked": background_last(logits), "cam_s_masked": background_last(seen["student"]), "conf_value": logits.softmax(1).amax(1)}
    case.maps(f"maps in step {step + 1}", {f"step{step}/{name}": maps for name, maps in ours.items()})
    case.agree("pseudo-labels in training", their_labels(seen["pseudo"].label), f"step{step}/pl_w", 0, "share")
    for name, mask in MASKS.items():
        case.agree("cells in training", getattr(seen["pseudo"], mask), f"step{step}/{name}", 0, "share")


def test_gradients_in_training(case, trained):
    check_gradients(case, trained.done)
    of_fc8, of_b7 = (kept[0] for kept in trained.gradients.values())
    whole = {"grad/fc8.weight": of_fc8.roll(-1, 0), "grad/b7.conv_branch2b2.weight": of_b7}
    case.maps("gradients, by entry", whole, 3e-3)  # the file advises on norms alone; an entry differs by more


def test_student_after_steps(case, trained):
    check_steps(case, trained.done, "released")


def test_teacher_after_steps(case, trained):
    """It has the same tensors as theirs in its average, and they move as theirs do."""
    averaged = [name for name, entry in FACTS["parameters"].items() if entry["in_ema"]]
    assert len(averaged) == FACTS["ema_tensors"] == 40
    for n, moved in enumerate(trained.teacher, 1):
        norms = {name: float(change.double().norm()) for name, change in moved.items()}
        assert {name for name, norm in norms.items() if norm} == set(averaged)
        theirs = {name: FACTS["parameters"][name][f"step{n}_ema_change_l2"] for name in averaged}
        case.agree(f"teacher: change after {n}", {name: norms[name] for name in averaged}, theirs, "teacher", "each")
    case.maps("teacher: fc8, by entry", {"ema/fc8.weight_minus_start_x1000": 1000 * moved["fc8.weight"].roll(-1, 0)}, "teacher")
