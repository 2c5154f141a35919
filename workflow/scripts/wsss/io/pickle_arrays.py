"""Arrays out of pickles: from shape, plain type, order and bytes alone, all of them checked. NumPy unpickles nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wsss.io.pickle_machine import Budget, Build, Name, Refused, Unbuilt

CODECS = {"latin1", "latin-1"}
PLAIN = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,3}")
AXES = 32


@dataclass(frozen=True)
class Plain:
    """A type of items. `dtype`: None for objects."""

    dtype: np.dtype | None


def encode(arguments: tuple, budget: Budget) -> bytes:
    """What `_codecs.encode` does in array pickles of protocol 2, and nothing more."""
    text, codec = arguments if len(arguments) == 2 else (*arguments, "latin1")
    if not isinstance(text, str) or codec not in CODECS:
        raise Refused(f"it asks for codec {str(codec)[:20]!r}")
    budget.spend(len(text))
    return text.encode("latin1")


def no_bytes(arguments: tuple, _: Budget) -> bytes:
    """Empty bytes, which protocols below 3 write as a call."""
    if arguments:
        raise Refused("it makes bytes of something")
    return b""


def item_type(arguments: tuple, _: Budget) -> Unbuilt:
    """A type by its plain name; the byte order comes with its state."""
    name = arguments[0]
    if isinstance(name, str) and name in ("O8", "O4", "O"):
        return Unbuilt(lambda state, _: Plain(None))
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        raise Refused(f"it has items of type {str(name)[:20]!r}")
    return Unbuilt(lambda state, _: Plain(np.dtype(_order(state) + name)))


def _order(state: Any) -> str:
    """The byte order in a type's state, which must say of no fields."""
    if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
        raise Refused("it has items made of several")
    if state[1] not in ("<", ">", "|", "="):
        raise Refused(f"it has byte order {str(state[1])[:20]!r}")
    return state[1]


def blank_array(arguments: tuple, _: Budget) -> Unbuilt:
    """An array whose state is to come."""
    if not arguments or not isinstance(arguments[0], Name) or arguments[0].name != "ndarray":
        raise Refused("it has arrays of another kind")
    return Unbuilt(_array)


def _array(state: Any, budget: Budget) -> np.ndarray:
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], Plain):
        raise Refused("it has an array without a plain type")
    _, shape, plain, by_columns, data = state
    count = elements(shape)
    order: Literal["F", "C"] = "F" if by_columns else "C"
    if plain.dtype is None:
        return _objects(data, count).reshape(shape, order=order)
    return from_bytes(data, plain.dtype, count, budget).reshape(shape, order=order)


def _objects(data: Any, count: int) -> np.ndarray:
    """(count,) of the objects of a list."""
    if type(data) is not list or len(data) != count:
        raise Refused(f"it has an array of {count} objects without a list of as many")
    made = np.empty(count, object)
    for place, value in enumerate(data):
        made[place] = value
    return made


def elements(shape: Any) -> int:
    """How many a shape has. Refused where it is no tuple of lengths."""
    if not isinstance(shape, tuple) or len(shape) > AXES or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise Refused("it has an array whose shape is no tuple of lengths")
    return math.prod(shape)


def from_bytes(data: Any, dtype: np.dtype, count: int, budget: Budget) -> np.ndarray:
    """(count,) of `dtype`, read only: a view of the bytes, which must be of that length."""
    data = data.encode("latin1") if isinstance(data, str) else data  # bytes in pickles of Python 2
    if type(data) is not bytes or len(data) != count * dtype.itemsize:
        raise Refused(f"it has an array of {count} {dtype} with bytes of another length")
    budget.spend(len(data))
    made = np.frombuffer(data, dtype) if count else np.empty(0, dtype)
    if dtype.kind == "b" and (np.frombuffer(data, np.uint8) > 1).any():
        raise Refused("it has truth values that are neither")
    if dtype.kind == "U" and (np.frombuffer(data, dtype.str[0] + "u4") > 0x10FFFF).any():
        raise Refused("it has text that is none")
    return made


def scalar(arguments: tuple, budget: Budget) -> Any:
    """One number."""
    plain, data = arguments
    if not isinstance(plain, Plain) or plain.dtype is None:
        raise Refused("it has a number without a plain type")
    return from_bytes(data, plain.dtype, 1, budget)[0]


ARRAYS: dict[tuple[str, str], Build | None] = {
    ("multiarray", "_reconstruct"): blank_array,
    ("multiarray", "scalar"): scalar,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): item_type,
    ("_codecs", "encode"): encode,
    ("__builtin__", "bytes"): no_bytes,
}
