"""What a method adds to a training sample: the view that it is shown, and what it may give back."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch

from wsss.data.transforms import Geometry
from wsss.engine.explain import for_people
from wsss.errors import UserError

OWN_NAMES = frozenset({"id", "image", "y", "label", "saliency"})  # what the engine itself puts into a sample
DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32")


@dataclass(frozen=True)
class View:
    """One training sample as the network sees it, before it becomes a batch; not to be written to."""

    photo: np.ndarray  # (H, W, 3) uint8 RGB, as read
    geometry: Geometry  # that was drawn; `geometry.image(photo, colours)` is another view of the same pixels
    crop: np.ndarray  # (3, S, S) float32 normalised: the sample's image, colour changes and all


FurtherArrays = Callable[[View, np.random.Generator], Mapping[str, np.ndarray]]


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Arrays, or NumPy numbers, by name as tensors of the same dtype and shape.

    Raises:
        UserError: a name that the sample has already, or something that no batch can hold.
    """
    if not isinstance(arrays, Mapping):
        raise UserError(f"further_arrays: gives {_kind(arrays)}; let it give arrays by name, a dict")
    for name, value in arrays.items():
        if not isinstance(name, str) or name in OWN_NAMES:
            raise UserError(f"further_arrays: the name {name!r} is not free; choose a text other than {_listed(OWN_NAMES)}")
        if not isinstance(value, np.ndarray | np.generic) or value.dtype.name not in DTYPES:
            raise UserError(f"further_arrays: {name} is {_kind(value)}; make it a NumPy array of {_listed(DTYPES)}")
    return {name: torch.from_numpy(np.require(value, requirements=["C", "W"])) for name, value in arrays.items()}


def require_plain(further: FurtherArrays | None) -> None:
    """See that the loader's processes can get `further` without a network or tensors.

    Raises:
        UserError: they cannot.
    """
    mend = for_people("give a function of the module, by functools.partial with plain values (as wsss.methods.cpn does)")
    if further is not None and not callable(further):
        raise UserError(f"further_arrays: gives a {type(further).__name__}, and the function that makes the arrays is wanted; {mend}")
    try:
        _Plain(io.BytesIO()).dump(further)
    except _HoldsTorch as error:
        raise UserError(f"further_arrays: what it gives holds a {error}, and runs in processes without it; {mend}") from error
    except Exception as error:  # whatever a method's own objects raise when they are packed
        raise UserError(f"further_arrays: what it gives cannot be handed to other processes ({error}); {mend}") from error


class _HoldsTorch(Exception):
    pass


class _Plain(ForkingPickler):
    """Refuses networks and tensors, however deep."""

    def persistent_id(self, thing: Any) -> None:
        if isinstance(thing, torch.nn.Module | torch.Tensor):
            raise _HoldsTorch(type(thing).__name__)


def _kind(value: Any) -> str:
    return for_people(f"an array of {value.dtype}") if isinstance(value, np.ndarray | np.generic) else f"a {type(value).__name__}"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
