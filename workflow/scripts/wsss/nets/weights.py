"""ImageNet weights: checked tensor by tensor, converted, kept as safetensors (`wsss.nets.fetch` gets them)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from wsss.digest import sha256_file
from wsss.engine.atomic import atomic_path
from wsss.engine.explain import for_people
from wsss.errors import UserError
from wsss.io.tensors import tensor_fault
from wsss.nets.catalog import TRANSFORMERS, WEIGHTS, entry
from wsss.nets.resnet38d import ResNet38d

OTHER_FILES = {  # what lies under the name of weights, by how it begins
    b"version https://git-lfs": for_people("is a Git LFS pointer, not the weights themselves; type git lfs pull in its repository"),
    b"<": for_people("is a web page, mostly a login or an error, not weights; download the file again"),
    b"\x93NUMPY": for_people("is a NumPy array, not weights; give the network's file, of torch.save or safetensors"),
}
GET_AGAIN = for_people("download it again, or save it again where it was made")


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
    state = read_state(path)
    _check(state, name, path)
    return state


def read_metadata(path: Path) -> dict[str, str]:
    """``source``, ``sha256`` (of the source file) and ``architecture``, for run records."""
    try:
        with safe_open(path, "pt") as handle:
            return handle.metadata() or {}
    except Exception as error:  # safetensors raises many kinds on damaged files
        raise _unreadable(Path(path), error, "delete it and run the same command again") from error


def origin(path: Path) -> tuple[str, str]:
    """Where the weights of a file that ``fetch`` wrote come from, in words, and the sha256 of their source.

    Only a source whose digest has the registry's prefix is called by the registry's name for it.
    """
    facts = read_metadata(path)
    source, sha256 = Path(facts["source"]).name, facts["sha256"]
    known = WEIGHTS[facts["architecture"]]
    if "url" in known and sha256.startswith(known["sha256_prefix"]):
        return f"{known.get('by', 'torchvision')} {Path(known['url']).name}", sha256
    return f"local file {source}, sha256 {sha256}", sha256


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of safetensors or torch.save, DeiT's out of its "model". UserError: missing, damaged, or something else."""
    state = load_any(path)
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path}: not a plain state dict (name -> tensor); save model.state_dict() in the trunk's names"
        )
    return dict(state)


def load_any(path: Path) -> Any:
    """Whatever a file of safetensors or torch.save holds, `weights_only=True`. UserError: missing, damaged, or refused."""
    try:
        if (form_of(path) or path.suffix) == ".safetensors":
            return safetensors.torch.load_file(path)
        with open(path, "rb") as handle:  # given a path, torch.load too goes by the suffix
            return torch.load(handle, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds on damaged or hostile files
        raise _unreadable(path, error) from error


def form_of(path: Path) -> str | None:
    """The suffix that a file of weights should have, .safetensors or .pth, by how it begins: people rename files. None: it does not tell."""
    with open(path, "rb") as handle:
        head = handle.read(9)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # a zip, or the pickle of former versions of torch
        return ".pth"
    return ".safetensors" if head[8:] == b"{" else None  # after the header's length


def convert(state: Mapping[str, Tensor], raw: Path, target: Path, name: str, source: str) -> Path:
    """Check the state dict of file `raw` against the architecture and write it to `target`, float32 safetensors."""
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    _check(state, name, raw)
    facts = {"source": source, "sha256": sha256_file(raw), "architecture": name}
    _write(target, state, facts)
    return target


def _unreadable(path: Path, error: Exception, mend: str = GET_AGAIN) -> UserError:
    if not path.is_file():
        return UserError(
            f"{path}: missing weights; let the workflow fetch them, or set the local path in the config"
        )
    with open(path, "rb") as handle:
        head = handle.read(64).lstrip()
    if words := next((words for start, words in OTHER_FILES.items() if head.startswith(start)), None):
        return UserError(f"{path}: {words}")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if reason.startswith("Weights only load failed"):
        return UserError(
            f"{path}: holds objects of Python beside tensors, or is damaged; only tensors are loaded, since a pickle can run "
            "anything; save the network's state_dict() alone (torch.save(network.state_dict(), FILE))"
        )
    return UserError(f"{path}: damaged, or not weights ({reason}); {mend}")


def expected_shapes(name: str) -> dict[str, torch.Size]:
    """Key -> shape of torchvision's model, of timm's DeiT, or of our ResNet38d, without allocating it."""
    entry(name)
    if name == "deit_small":
        return _deit_shapes(**TRANSFORMERS[name])
    with torch.device("meta"):
        model = ResNet38d() if name == "resnet38d" else _torchvision_model(name)
    return {key: value.shape for key, value in model.state_dict().items()}


def _deit_shapes(patch: int, dim: int, depth: int, heads: int, grid: int) -> dict[str, torch.Size]:
    """timm's and DeiT's layout in words: timm itself takes seconds to import, and stages would need it that build none."""
    block = {"norm1": (dim,), "attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "norm2": (dim,)}
    block |= {"mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    layers = {f"blocks.{n}.{name}": shape for n in range(depth) for name, shape in block.items()}
    layers |= {"patch_embed.proj": (dim, 3, patch, patch), "norm": (dim,), "head": (1000, dim)}
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + grid * grid, dim)}
    shapes |= {f"{name}.weight": shape for name, shape in layers.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def _torchvision_model(name: str) -> torch.nn.Module:
    import torchvision  # slow to import, and ResNet38d needs none of it

    return getattr(torchvision.models, name)(weights=None)


def _check(state: Mapping[str, Tensor], name: str, path: Path) -> None:
    """UserError naming missing, surplus and misshapen tensors, and those that `tensor_fault` tells of.

    Old files lack num_batches_tracked, self-supervised ones the classifier (``fc``, DeiT's ``head``); neither is used here.
    """
    expected = expected_shapes(name)
    needed = {
        key for key in expected if not key.endswith("num_batches_tracked") and not key.startswith(("fc.", "head."))
    }
    groups = {
        "missing": sorted(needed - set(state)),
        "surplus": sorted(set(state) - set(expected)),
        for_people("of another shape"): [
            f"{key} {tuple(value.shape)} instead of {tuple(expected[key])}"
            for key, value in state.items()
            if key in expected and value.shape != expected[key]
        ],
        for_people("that no trained network has"): [
            f"{key} {fault}"
            for key, value in state.items()
            if key in expected and value.shape == expected[key] and (fault := tensor_fault(key, value))
        ],
    }
    faults = [f"{len(keys)} tensors {what}: {_some(keys)}" for what, keys in groups.items() if keys]
    if faults:
        layout = {"resnet38d": "this project's", "deit_small": "timm's"}.get(name, "torchvision's")
        raise UserError(f"{path}: not ImageNet weights of {name} in {layout} layout: {'; '.join(faults)}")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def _write(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """A safetensors file with its metadata in sorted order (the library's own order is random)."""
    data = safetensors.torch.save(_apart(state), metadata=dict(facts))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temp, open(temp, "wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        handle.write(memoryview(data)[start:])


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, contiguous and each in memory of its own, as safetensors wants them; copied only where needed."""
    result, seen = {}, set()
    for key, value in state.items():
        pointer, size = value.data_ptr(), value.untyped_storage().nbytes()
        alone = value.is_contiguous() and size == value.nbytes and pointer not in seen
        result[key] = value.detach() if alone else value.detach().clone(memory_format=torch.contiguous_format)
        seen.add(pointer)
    return result
