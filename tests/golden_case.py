"""Golden cases: our network of a released layout, filled with the formula's weights, and what the released code computed.

A file `golden/NETWORK.json` says what was run; its arrays stand in `NETWORK.npz`. Names of tensors are mapped by the
door that imports checkpoints (wsss.imports), so a golden test also says that trained weights are imported rightly.
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from cam_reference import form_of, masked, read_back, view_pair
from golden import golden
from golden_record import as_first_form, flat_step
from parity import agree, differ
from sections import settings_of
from timm.layers import DropPath
from torch import Tensor, nn
from wsss import methods
from wsss.imports.layouts import LAYOUTS, amn_rules, target_of
from wsss.imports.weights import fill
from wsss.io.cam_forms import StoredCam
from wsss.io.grids import nearest_centre
from wsss.methods.base import present, resize
from wsss.refine.affinity_net import AffinityNet
from wsss.refine.background import argmax_labels, background
from wsss.refine.boundary_net import IrnNet
from wsss.refine.crf import CrfParams, score_marginals
from wsss.train.optim import build_optimiser, learning_rate, set_learning_rate

FOLDER = Path(__file__).parent / "golden"
CLASSES = 20
TOLERANCES = {  # as the golden files advise; a case widens those that its file widens
    "arrays": 3e-5,
    "inference": 1e-4,
    "labels": 1e-3,
    "losses": 1e-5,
    "later losses": 1e-4,
    "gradients": 2e-4,
    "norms": 1e-6,
    "change 1": 1e-3,
    "change 3": 3e-3,
}


def released_network(layout: str) -> nn.Module:
    """Our network as the released code has it. The one place that names network options."""
    if layout == "irn":
        return IrnNet("resnet50", displacement=True, pad_to=512)
    if layout == "affinitynet":
        return AffinityNet("resnet38d")
    backbones = dict.fromkeys(("cam", "amn", "sipe"), "resnet50") | dict.fromkeys(("mctformer_v1", "mctformer_v2"), "deit_small")
    backbone = backbones.get(layout, "resnet38d")
    options = {"prcm_key": "reference"} if layout == "cpn" else {}
    return methods.get(layout)(CLASSES, backbone, options)


class Numbers:
    """One golden file, for what needs no network."""

    def __init__(self, name: str, **tolerances: float):
        self.name = name
        facts = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        self.facts = as_first_form(facts) if "state_dict" in facts else facts
        with np.load(FOLDER / f"{name}.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}
        self.scalars, self.tolerances = self.facts["scalars"], {**TOLERANCES, **tolerances}

    def agree(self, stage, ours, theirs, tolerance="arrays", measure="largest"):
        """`parity.agree`; `theirs` may be the name of an array, `tolerance` a name in `tolerances`."""
        theirs = self.arrays[theirs] if isinstance(theirs, str) else theirs
        agree(self.name, stage, ours, theirs, self.tolerances.get(tolerance, tolerance), measure)

    def differ(self, difference, *arguments, **options):
        """`parity.differ` for this network."""
        differ(self.name, difference, *arguments, **options)

    def maps(self, stage: str, maps: Mapping[str, Tensor], tolerance="arrays"):
        """Maps by the names of arrays: the values that the file keeps, and what it says of each as a whole."""
        for name, full in maps.items():
            self.agree(stage, thinned(self.facts["arrays"][name], full), name, tolerance)
            if whole := self.scalars.get("taps", {}).get(name):
                assert list(full.shape) == whole["shape"], f"{name}: {list(full.shape)} instead of {whole['shape']}"
                self.agree(stage, _summary(full), {key: whole[key] for key in ("absmax", "l2", "std")}, tolerance, "each")

class Case(Numbers):
    """One golden file, and our network filled with its weights."""

    def __init__(self, name: str, layout: str, **tolerances: float):
        super().__init__(name, **tolerances)
        self.network = released_network(layout)
        self.names = filled(self.network, layout, self.state())
        if not layout.startswith("mctformer"):  # their trunk is asked in more than one way
            remember(self.network.backbone)

    def state(self) -> dict[str, Tensor]:
        """Their name -> tensor, by the formula."""
        scale = self.facts["scale"]
        made = {key: golden.tensor(key, tuple(shape)) for key, shape in self.facts["keys"]}
        return {key: torch.from_numpy(v * np.float32(scale[key]) if key in scale else v) for key, v in made.items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Their name -> our parameter."""
        ours = dict(self.network.named_parameters())
        return {name: ours[target] for name, target in self.names.items() if target in ours}


def _summary(full: Tensor) -> dict[str, float]:
    wide = full.detach().double()
    found = {"absmax": wide.abs().max(), "l2": wide.norm(), "std": wide.std(correction=0)}
    return {key: float(value) for key, value in found.items()}


def filled(network: nn.Module, layout: str, state: dict[str, Tensor]) -> dict[str, str]:
    """Put the formula's weights into `network` and turn dropout off; their name -> ours."""
    fill(network, layout, state, FOLDER / f"{layout} by formula")
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    rules = amn_rules(state, network.state_dict()) if layout == "amn" else LAYOUTS[layout]
    return {key: target_of(key, rules)[1] for key in state}


def remember(backbone: nn.Module) -> None:
    """Let a trunk that is asked the same thing again without gradient give what it gave: inference is most of the time."""
    forward, known = backbone.forward, {}

    def remembered(image: Tensor) -> list[Tensor]:
        if torch.is_grad_enabled():
            return forward(image)
        weights = sum(p._version for p in backbone.parameters())  # grows with every change in place
        key = weights, image.dtype, tuple(image.shape), zlib.crc32(image.contiguous().numpy())
        if key not in known:
            known[key] = forward(image)
        return known[key]

    backbone.forward = remembered


def thinned(text: str, full: Tensor) -> Tensor:
    """`full` as a file keeps it, which `text` says: whole, every nth entry of each dimension, or of rows and columns."""
    if step := flat_step(text):
        return full.reshape(-1)[::step]
    if found := re.search(r"every \[([\d, ]+)\] of \[([\d, ]+)\]", text):
        steps, shape = ([int(n) for n in part.split(",")] for part in found.groups())
        assert list(full.shape) == shape, f"{text}: {list(full.shape)}"
        return full[tuple(slice(None, None, n) for n in steps)]
    if found := re.search(r"every (\d+)\w\w(?: row and column)?(?: of|,)", text):
        return full[..., :: int(found[1]), :: int(found[1])]
    return full


# --- training ------------------------------------------------------------------------------------------------------


@dataclass
class Training:
    """What steps on one batch left behind; norms by their names."""

    losses: list[dict[str, float]]  # one a step
    rates: list[dict[str, tuple[float, float]]]  # one a step: learning rate and weight decay by name
    gradients: dict[str, float | None]  # of the first step
    after: dict[int, dict[str, tuple[float, float]]]  # after 1 and 3 steps: norm, norm of the change


def training(case: Case, step_loss, settings: Mapping, steps: int = 3, after_step=lambda step: None) -> Training:
    """Train as the loop does, every step on the same batch, and put the weights back.

    Args:
        step_loss: () -> losses with "total".
        settings: a recipe's optimiser section, `steps` being the length of the schedule.
        after_step: called with the number of each step when it is done.
    """
    parameters, done = case.parameters(), Training([], [], {}, {})
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimiser = build_optimiser(case.network.param_groups(), settings_of(dict(settings)))
    case.network.train()
    for step in range(steps):
        set_learning_rate(optimiser, learning_rate(step, settings["steps"], settings_of(settings)))
        losses = step_loss()
        losses["total"].backward()
        done.losses.append({name: float(value.detach()) for name, value in losses.items()})
        group_of = {id(p): group for group in optimiser.param_groups for p in group["params"]}
        groups = {name: group_of[id(p)] for name, p in parameters.items() if id(p) in group_of}
        done.rates.append({name: (group["lr"], group["weight_decay"]) for name, group in groups.items()})
        if step == 0:
            done.gradients = {name: None if p.grad is None else _norm(p.grad) for name, p in parameters.items()}
        if settings.get("clip_norm"):
            nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], settings["clip_norm"])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        after_step(step)
        if step + 1 in (1, steps):
            done.after[step + 1] = {name: (_norm(p), _norm(p - before[name])) for name, p in parameters.items()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(before[name])
    return done


def _norm(values: Tensor) -> float:
    return float(values.detach().double().norm())


def check_gradients(case: Case, done: Training):
    """The first step's gradients, and that the same tensors have none."""
    theirs = {name: norm for name, norm in case.scalars["gradient_norms"].items() if norm is not None}
    ours = {name: norm for name, norm in done.gradients.items() if norm is not None}
    case.agree("gradients", ours, theirs, "gradients", "each")


def check_steps(case: Case, done: Training, variant: str, wider: Mapping[str, float] | None = None):
    """Losses, rates and parameters of `steps/variant`.

    Args:
        wider: prefix of names -> tolerance of their change after 3 steps, where the file advises one of its own.
    """
    theirs, wider = case.scalars["steps"][variant], wider or {}
    label = _label(theirs)
    case.agree(f"{label}: loss", [step["total"] for step in done.losses], theirs["loss"], "later losses", "each")
    for steps, ours in done.after.items():
        norms = theirs[f"after_{steps}"]
        assert set(norms) <= set(ours)
        case.agree(f"{label}: norms", _column(ours, norms, 0), _column(norms, norms, 0), "norms", "each")
        parts = {prefix: [n for n in norms if n.startswith(prefix)] for prefix in wider} if steps > 1 else {}
        rest = [n for n in norms if not any(n in part for part in parts.values())]
        case.agree(f"{label}: change after {steps}", _column(ours, rest, 1), _column(norms, rest, 1), f"change {steps}", "each")
        for prefix, part in parts.items():
            stage = f"{label}: change after {steps}, {prefix}*"
            case.agree(stage, _column(ours, part, 1), _column(norms, part, 1), wider[prefix], "each")


def _label(theirs: Mapping) -> str:
    momentum = theirs["momentum"][0]
    return "steps" if momentum is None else f"steps, momentum {momentum:g}"


def _column(table: Mapping, names, column: int) -> dict[str, float]:
    return {name: table[name][column] for name in names}


def check_rates(case: Case, done: Training, variant: str = "released"):
    """Learning rate of every step, and weight decay, of each parameter that learns."""
    learns = [name for name, norm in case.scalars["gradient_norms"].items() if norm is not None]
    place = {key: n for n, group in enumerate(case.facts["groups"]) for key in group["keys"]}
    decay = {f"decay of {name}": case.facts["groups"][place[name]]["weight_decay"] for name in learns}
    for ours, theirs in zip(done.rates, case.scalars["steps"][variant]["lr"], strict=True):
        rates = {name: theirs[place[name]] for name in learns}
        found = {n: ours[n][0] for n in learns} | {f"decay of {n}": ours[n][1] for n in learns}
        case.agree("learning rates, weight decay", found, rates | decay, 1e-6, "each")


def check_schedule(case: Case, settings: Mapping):
    """The rates of a schedule of 4 steps, and what is held after its end."""
    rates = [learning_rate(step, 4, settings_of({**settings, "lr": 0.1})) for step in range(6)]
    case.agree("learning rates, weight decay", rates, case.scalars["schedule_max_step_4_lr_.1"], 1e-6, "each")


# --- inference -----------------------------------------------------------------------------------------------------


def scale_maps(case: Case, image: np.ndarray, y: Tensor, scale: float, size_hw=None) -> Tensor:
    """(C or C+1, h, w): the maps of one scale, flips together, on the network's own grid or stretched over `size_hw`."""
    maps = case.network.eval().seed_maps(view_pair(image, scale), y[None])
    return (maps if size_hw is None else resize(maps, size_hw))[0]


def full_size_cam(case: Case, image: np.ndarray, y: Tensor, scales, aux=None, size_hw=None) -> Tensor:
    """(K, H, W): the CAM at image size (or at `size_hw`) before anything is rounded for the store."""
    spec, size = case.network.spec, image.shape[:2]
    if spec.form == "softmax":
        return softmax_cam(case, image, y, scales, aux, size_hw or size)
    rows, _ = case.network.stored([scale_maps(case, image, y, scale) for scale in scales], y, size, aux or {})
    whole = StoredCam(tuple(present(y).tolist()), tuple(one.numpy() for one in rows))
    return torch.from_numpy(form_of(case.network, scales).read(whole, size, size_hw or size))


def softmax_cam(case: Case, image: np.ndarray, y: Tensor, scales, aux, size_hw) -> Tensor:
    """AMN's order: logits of all classes at the size, their mean over scales, softmax, min-max off the background."""
    mean = sum(scale_maps(case, image, y, scale, size_hw) for scale in scales) / len(scales)
    label = None if aux is None else nearest_centre(aux["ir_labels"], size_hw)
    return torch.from_numpy(masked(mean.softmax(0)[present(y) + 1].numpy(), label))


def stored_cam(case: Case, image: np.ndarray, y: Tensor, scales, aux=None) -> np.ndarray:
    """(K, H, W): what a reader gets at image size of the CAM that the engine stores. The one place that names the store."""
    return read_back(case.network.eval(), image, y, (aux or {}).get("ir_labels"), scales=scales)


def check_stored_cam(case: Case, image: np.ndarray, y: Tensor, scales, exact: np.ndarray, threshold: float, aux=None):
    """Seeds of the CAM that is stored, beside those of `exact` (K, H, W), its classes being those of `y`; both cut at `threshold`."""
    present = torch.nonzero(y).flatten().tolist()
    maps = stored_cam(case, image, y, scales, aux), exact
    seeds = [argmax_labels(cam, background(cam, "const", threshold), present) for cam in maps]
    case.differ("stored CAM", *seeds, at_least=0, at_most=0.05)


def check_refined_cam(case: Case, cam: Tensor, height: float):
    """The CAM (K, H, W) of SEAM or CPN against `infer_cam`, which is stored at `height` and keeps values below zero.

    What lies within 1e-5 of a class's minimum is cut there too, but then stretched to below zero; here it is 0.
    """
    theirs = np.maximum(case.arrays["infer_cam"] / np.float32(height), 0)
    case.agree("CAM at image size", thinned(case.facts["arrays"]["infer_cam"], cam), theirs, "inference", "absolute")
    peak = [value / height for value in case.scalars["infer"]["max"]]
    case.agree("CAM at image size", cam.amax((1, 2)), peak, "inference", "absolute")
    lowest = [value / height for value in case.scalars["infer"]["min"]]
    case.differ("cut at zero", cam.amin((1, 2)), lowest, at_least=0.1, at_most=20, measure="absolute")


# The released function of EPS, SEAM and AffinityNet.
CRF = CrfParams(iterations=10, sxy_gaussian=3, compat_gaussian=3, sxy_bilateral=80, srgb=13, compat_bilateral=10)


def check_crf(case: Case, name: str, alpha: float, params: CrfParams = CRF):
    """CRF of two hills of classes 3 and 14 (0-based) beside (1 - max)^alpha: labels, and probabilities where kept."""
    maps = two_blobs(90, 120)
    scores = np.concatenate([background(maps, "power", alpha)[None], maps])
    for backend in ["lattice"] + ["pydensecrf"] * bool(find_spec("pydensecrf")):
        marginals, _ = score_marginals(photo(90, 120, 77), scores, scores, replace(params, backend=backend))
        by = "" if backend == "lattice" else f" by {backend}"
        if f"{name}_q" in case.arrays:
            kept = thinned(case.facts["arrays"][f"{name}_q"], torch.from_numpy(marginals))
            case.agree(f"CRF probabilities{by}", kept, f"{name}_q", "inference", "absolute")
        case.agree(f"CRF labels{by}", np.array([0, 4, 15])[marginals.argmax(0)], name, "labels", "share")


# --- inputs by formula ---------------------------------------------------------------------------------------------


def normal(name: str, *shape: int) -> np.ndarray:
    """Float64 normal numbers by a name."""
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


def tensor(values) -> Tensor:
    """Float32."""
    return torch.from_numpy(np.asarray(values).astype(np.float32))


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.ascontiguousarray(golden.uint8_image(height, width, seed))


def images(height: int, width: int, *seeds: int) -> Tensor:
    """(B, 3, H, W) normalised."""
    return torch.from_numpy(np.stack([golden.image(height, width, seed) for seed in seeds]))


def multi_hot(*classes) -> Tensor:
    """(B, 20) float32 of lists of 0-based classes."""
    y = torch.zeros(len(classes), CLASSES)
    for row, listed in zip(y, classes, strict=True):
        row[list(listed)] = 1
    return y


def blob(height, width, cy, cx, r) -> np.ndarray:
    """(H, W) float32 hill."""
    y, x = np.mgrid[:height, :width]
    near = (y - cy * height) ** 2 + (x - cx * width) ** 2
    return np.exp(-near / (2 * (r * min(height, width)) ** 2)).astype(np.float32)


def two_blobs(height, width) -> np.ndarray:
    """(2, H, W) class maps: a hill, and a lower one."""
    return np.stack([blob(height, width, 0.45, 0.30, 0.22), np.float32(0.9) * blob(height, width, 0.55, 0.72, 0.18)])


def label(height, width, classes) -> np.ndarray:
    """(H, W) uint8: an ellipse a class with a rim of 255."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    ellipses = [(0.45, 0.35, 0.3, 0.25), (0.62, 0.76, 0.24, 0.18), (0.2, 0.72, 0.16, 0.2)][: len(classes)]
    out = np.zeros((height, width), np.uint8)
    far = [((y - cy * height) / (ry * height)) ** 2 + ((x - cx * width) / (rx * width)) ** 2 for cy, cx, ry, rx in ellipses]
    for d in far:
        out[(d >= 1) & (d < 1.6)] = 255
    for d, value in zip(far, classes, strict=True):
        out[d < 1] = value
    return out
