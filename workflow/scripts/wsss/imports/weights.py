"""The command behind `workflow/scripts/import_weights.py`: the authors' trained weights become a stage of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsss import methods
from wsss.data.labels import require_classes
from wsss.data.manifest import Dataset
from wsss.data.table import listing
from wsss.digest import sha256_file
from wsss.engine.model_facts import read_facts
from wsss.errors import UserError
from wsss.imports.command_line import dataset_of, parser, run
from wsss.imports.layouts import CHANGES, LAYOUTS, amn_rules, target_of
from wsss.io.models import save_model
from wsss.io.tensors import tensor_fault
from wsss.nets.weights import load_any
from wsss.plan.paths import MODEL, import_folder
from wsss.recipes.config import Config
from wsss.recipes.refinement import NETWORK, WALKS
from wsss.recipes.schema import read_yaml
from wsss.refine import walks

CONFIG = Path(__file__).resolve().parents[4] / "config"
STAGES = ("classifier", "affinity")
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which checkpoints hold the weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    made = parser("Import trained weights of a method's authors (or of this workflow).", "loaded with weights_only=True")
    made.add_argument("source", type=Path, help="checkpoint: .pth, .pt or .safetensors")
    made.add_argument("--name", required=True, help="what recipes call the import: `STAGE: {import: NAME}`")
    made.add_argument("--stage", choices=STAGES, required=True, help="which network it is")
    made.add_argument("--method", required=True, help="a recipe that has this very network (cam, amn, eps, irn ...)")
    return run(lambda o: import_weights(o.source, o.dataset, o.name, o.stage, o.method), made.parse_args(arguments))


def import_weights(source: Path, dataset: str, name: str, stage: str, method: str, config: Path = CONFIG) -> str:
    """Write `imports/DATASET/NAME/STAGE/model.safetensors`; returns what was done, in words.

    Raises:
        UserError: not a checkpoint, or not one of this network.
    """
    if not source.is_file():
        raise UserError(f"{source}: {'is a folder' if source.is_dir() else 'no such file'}; give the checkpoint")
    recipe = Config(config, read_yaml(config / "config.yaml")).recipe(method, dataset)
    held = dataset_of(dataset)
    kind, network, facts = built(stage, recipe, held.num_classes)
    if stage == "classifier":
        _refuse_other_classes(source, held)
        facts["classes"] = list(held.classes)
    state = unwrapped(load_any(source), source)
    layout = fill(network, kind, state, source)
    sha256, target = sha256_file(source), Path(import_folder(dataset, name, stage), MODEL)
    origin = {"source": source.name, "sha256": sha256, "layout": layout}
    initial = {"initial_weights": f"imported {source.name}", "initial_weights_sha256": sha256}
    again = f"python workflow/scripts/import_weights.py FILE --stage {stage} --method {method} --dataset {dataset} --name {name}"
    save_model(target, network, imported=origin, remake=again, **facts, **initial)
    tensors = f"{source}: {len(state)} tensors, {layout}"
    return f"{tensors}\nsha256 {sha256}\n{target}: ready; in a recipe: `{stage}: {{import: {name}}}`"


def _refuse_other_classes(source: Path, dataset: Dataset) -> None:
    """UserError for a classifier of this workflow that was trained on another class list: its outputs would be taken for other classes."""
    try:
        facts = read_facts(source)
    except UserError:
        return  # a checkpoint of somebody else's, which does not say
    if "classes" in facts:
        require_classes(source, facts, dataset.classes, dataset.name, f"train one on {dataset.name}, or give the dataset these classes in this order")


def built(stage: str, recipe: dict[str, Any], num_classes: int) -> tuple[str, torch.nn.Module, dict[str, Any]]:
    """Name of the layout, the recipe's network, and facts that inference needs of it."""
    if stage == "classifier":
        family = methods.get(recipe["net"])
        return recipe["net"], family(num_classes, recipe["backbone"], recipe.get("net_options", {})), {}
    refine, section = recipe["refine"], recipe.get("affinity", {})
    if refine not in WALKS or not set(NETWORK[refine]) <= set(section):
        raise UserError(f"--method {recipe['name']}: trains no affinity network of its own; name a recipe that does (irn, seam)")
    settings = {key: section[key] for key in NETWORK[refine]}
    network = walks.learner_module(refine).network(settings)
    return refine, network, {"settings": settings, "refine": refine}


def unwrapped(state: Mapping[str, Any], source: Path) -> dict[str, Tensor]:
    """Name -> tensor, out of the wrappers checkpoints come in and without DataParallel's prefix.

    Raises:
        UserError: there are no tensors, or other things among them.
    """
    state = state if isinstance(state, Mapping) else {}
    for key in WRAPPERS:
        if isinstance(state.get(key), Mapping):
            state = state[key]
    strange = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        raise UserError(f"{source}: not a state dict (name -> tensor): {', '.join(strange[:5]) or 'empty'}")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def fill(network: torch.nn.Module, kind: str, state: dict[str, Tensor], source: Path) -> str:
    """Put `state` into the network, strictly; returns its layout in words.

    Raises:
        UserError: every tensor that is unknown, missing, of another shape, of values that no trained network has, or there twice with two values.
    """
    own = network.state_dict()
    if set(own) == set(state):
        named, layout = state, "this workflow's layout"
        problems: list[str] = []
    else:
        named, problems = renamed(kind, state, own, source)
        layout = f"{kind}'s released layout"
    problems += _faults(named, own)
    nearly_ours = _faults(state, own) if 2 * len(set(own) & set(state)) > len(own) else problems
    problems = min(problems, nearly_ours, key=len)  # ours with one tensor more or less: name that one
    if problems:
        raise UserError(listing(f"{source}: not weights of this network ({kind})", problems))
    with torch.no_grad():
        for key, value in named.items():
            own[key].copy_(value)
    return layout


def renamed(
    kind: str, state: dict[str, Tensor], own: Mapping[str, Tensor], source: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Our name -> tensor, and what does not fit."""
    if kind not in LAYOUTS and kind != "amn":
        raise UserError(f"{source}: no layout of net {kind} is known; known: amn, {', '.join(LAYOUTS)}")
    rules = amn_rules(state, own) if kind == "amn" else LAYOUTS[kind]
    change = CHANGES.get(kind, lambda name, value: value)
    found: dict[str, Tensor] = {}
    problems = []
    for name, value in state.items():
        is_known, ours = target_of(name, rules)
        if not is_known:
            problems.append(f"{name} {tuple(value.shape)}: unknown")
        elif ours in found and not torch.equal(found[ours], change(ours, value)):
            problems.append(f"{name}: another value than a tensor that stands for the same {ours}")
        elif ours and not (ours.startswith("displacement.") and ours not in own):  # IRN's other branch, where it is off
            found[ours] = change(ours, value)
    return found, problems


def _faults(named: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    faults = [f"{key} {tuple(own[key].shape)}: missing" for key in own if key not in named and not _is_counter(key)]
    for key, value in named.items():
        if key not in own:
            faults.append(f"{key}: the network has no such tensor")
        elif value.shape != own[key].shape:
            faults.append(f"{key}: {tuple(value.shape)} instead of {tuple(own[key].shape)}")
        elif fault := tensor_fault(key, value):
            faults.append(f"{key}: {fault}")
    return faults


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")  # checkpoints of old PyTorch have none, and nothing here reads them
