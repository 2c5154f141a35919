"""Trained networks as safetensors: nothing but tensors and plain facts, no pickle."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from wsss.engine.atomic import write_bytes, write_text
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.io.tensors import tensor_fault


def save_model(path: str | Path, network: torch.nn.Module, **facts: Any) -> None:
    """Write the network's state dict; `facts` (plain data) go into the header."""
    state = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    # Through bytes: safetensors' own writer does not say that a disk is full.
    write_bytes(path, save(state, metadata={"facts": json.dumps(facts, sort_keys=True)}))


def load_model(path: str | Path, network: torch.nn.Module) -> dict[str, Any]:
    """Load a state dict strictly into `network`; returns the facts stored with it.

    Raises:
        UserError: missing or damaged file, tensors of another network, or such as no trained network has.
    """
    state, facts = read_model(path)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path}: holds another network than the recipe's: {words}") from error
    return facts


def read_model(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a file that `save_model` wrote, and the facts stored with them.

    Raises:
        UserError: missing or damaged file, or tensors such as no trained network has, named.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            facts = dict(json.loads((handle.metadata() or {}).get("facts", "{}")))
    except Exception as error:  # safetensors raises many kinds on damaged files
        words = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: not a readable model ({words}); {remedy(path, 'train it again')}") from error
    faults = [f"{key}: {fault}" for key, value in state.items() if (fault := tensor_fault(key, value))]
    if faults:
        some = "; ".join(faults[:5]) + (f" and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise UserError(f"{path}: not the weights of a trained network ({some}); {remedy(path, 'train it again')}")
    return state, facts


def write_history(path: str | Path, history: list[dict[str, float]]) -> None:
    """Write a training's history as CSV: step, lr, total, then the named losses."""
    names = list(dict.fromkeys(name for row in history for name in row))
    out = io.StringIO()
    table = csv.DictWriter(out, names, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    write_text(path, out.getvalue())
