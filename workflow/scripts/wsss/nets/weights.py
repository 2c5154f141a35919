"""ImageNet weights: checked tensor by tensor, converted, kept as safetensors (`wsss.nets.fetch` gets them)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wsss.errors import UserError
from wsss.io.atomic import write_bytes
from wsss.io.digest import sha256_file

# torchvision's IMAGENET1K_V1 weights; the file names carry the first 8 hex digits of the sha256.
WEIGHTS = {
    "resnet18": {
        "url": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "sha256_prefix": "f37072fd",
    },
    "resnet50": {
        "url": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "sha256_prefix": "0676ba61",
    },
    "resnet101": {
        "url": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
        "sha256_prefix": "63fe2227",
    },
}


def load(path: Path, name: str) -> dict[str, Tensor]:
    """State dict of a file that ``fetch`` wrote, float32 on the CPU, with ``fc.*`` where the source had it.

    UserError: missing or damaged file, weights of another architecture.
    """
    path = Path(path)
    architecture = read_metadata(path).get("architecture")
    if architecture != name:
        raise UserError(
            f"{path}: holds weights of {architecture}, not {name}; fetch {name}, or change the backbone"
        )
    state = _read(path)
    _check(state, name, path)
    return state


def read_metadata(path: Path) -> dict[str, str]:
    """``source``, ``sha256`` (of the source file) and ``architecture``, for run records."""
    try:
        with safe_open(path, "pt") as handle:
            return handle.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(Path(path), error) from error


def origin(path: Path) -> tuple[str, str]:
    """Where the weights of a file that ``fetch`` wrote come from, in words, and the sha256 of their source.

    Only a source whose digest has the registry's prefix is called torchvision's.
    """
    facts = read_metadata(path)
    source, sha256 = Path(facts["source"]).name, facts["sha256"]
    known = WEIGHTS[facts["architecture"]]
    if sha256.startswith(known["sha256_prefix"]):
        return f"torchvision {Path(known['url']).name}", sha256
    return f"local file {source}, sha256 {sha256}", sha256


def entry(name: str) -> dict[str, str]:
    """`url` and `sha256_prefix` of a backbone's weights. UserError for a name without any."""
    if name not in WEIGHTS:
        raise UserError(
            f"weights: there are none for {name!r}; choose {', '.join(WEIGHTS)}, or set `weights: none`"
        )
    return WEIGHTS[name]


def convert(raw: Path, target: Path, name: str, source: str) -> Path:
    """Check a state dict against the architecture and write it to `target` as float32 safetensors."""
    state = {key: value.float() if value.is_floating_point() else value for key, value in _read(raw).items()}
    _check(state, name, raw)
    facts = {"source": source, "sha256": sha256_file(raw), "architecture": name}
    write_bytes(target, _serialise(state, facts))
    return target


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds on damaged or hostile files
        raise _unreadable(path, error) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path}: not a plain state dict (name -> tensor); save model.state_dict() in torchvision's names"
        )
    return dict(state)


def _unreadable(path: Path, error: Exception) -> UserError:
    if not path.is_file():
        return UserError(
            f"{path}: missing weights; let the workflow fetch them, or set the local path in the config"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(f"{path}: damaged, or not weights ({reason}); delete it and fetch it again")


def expected_shapes(name: str) -> dict[str, torch.Size]:
    """Key -> shape of torchvision's model, without allocating it."""
    entry(name)
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(weights=None)
    return {key: value.shape for key, value in model.state_dict().items()}


def _check(state: Mapping[str, Tensor], name: str, path: Path) -> None:
    """UserError naming missing, surplus, misshapen and non-finite tensors.

    Old files lack num_batches_tracked, self-supervised ones the classifier ``fc``; neither is used here.
    """
    expected = expected_shapes(name)
    needed = {
        key for key in expected if not key.endswith("num_batches_tracked") and not key.startswith("fc.")
    }
    groups = {
        "missing": sorted(needed - set(state)),
        "surplus": sorted(set(state) - set(expected)),
        "of another shape": [
            f"{key} {tuple(value.shape)} instead of {tuple(expected[key])}"
            for key, value in state.items()
            if key in expected and value.shape != expected[key]
        ],
        "not finite": [key for key, value in state.items() if not torch.isfinite(value).all()],
    }
    faults = [f"{len(keys)} tensors {what}: {_some(keys)}" for what, keys in groups.items() if keys]
    if faults:
        raise UserError(
            f"{path}: not ImageNet weights of {name} in torchvision's layout: {'; '.join(faults)}"
        )


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _serialise(state: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    """safetensors bytes with the metadata in sorted order (the library's own order is random)."""
    own = {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    data = safetensors.torch.save(own, metadata=dict(facts))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]
