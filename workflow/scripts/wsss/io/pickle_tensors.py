"""Tensors out of pickles, as arrays: IRN's files hold tensors inside a pickled dict. PyTorch unpickles nothing.

A tensor's pickle names its storage, whose bytes are a file of PyTorch's former format: five pickles (a magic number, a
version, facts of the system, the storage's type and key, the list of keys), then the number of values and the values.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from wsss.io.pickle_arrays import elements, from_bytes
from wsss.io.pickle_machine import Budget, Build, Machine, Name, Refused, pairs

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
BRAIN = "BFloat16Storage"  # NumPy has no such type
TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", BRAIN: "<u2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip
STORAGES: dict[tuple[str, str], Build | None] = {(m, name): None for m in ("torch", "torch.cuda") for name in TYPES}


class Storage:
    """The values of tensors, (n,), and whether they are bfloat16."""

    def __init__(self, values: np.ndarray, is_brain: bool) -> None:
        self.values, self.is_brain = values, is_brain


def storage(arguments: tuple, budget: Budget) -> Storage:
    """The values in a file of PyTorch's former format."""
    (data,) = arguments
    if type(data) is not bytes:
        raise Refused("it has a tensor without bytes")
    stream = io.BytesIO(data)
    magic, version, system, held, _ = (Machine(STORAGES, budget, _reference).run(stream) for _ in range(5))
    if magic != MAGIC or version != VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("it has a tensor in an unknown format")
    if not isinstance(held, _Held):
        raise Refused("it has a tensor without a storage")
    count = int.from_bytes(stream.read(8), "little")
    if count != held.count:
        raise Refused(f"it has a tensor of {held.count} values and a storage of {count}")
    return Storage(from_bytes(stream.read(), np.dtype(TYPES[held.kind]), count, budget), held.kind == BRAIN)


class _Held:
    """What a storage's file says of it."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count


def _reference(said: Any) -> _Held:
    """("storage", type, key, device, number of values, None)."""
    if not isinstance(said, tuple) or len(said) not in (5, 6) or said[0] != "storage" or not isinstance(said[1], Name):
        raise Refused("it has a tensor without a storage")
    if type(said[4]) is not int or said[5:] not in ((), (None,)):
        raise Refused("it has a tensor in an unknown format")
    return _Held(said[1].name, said[4])


def tensor(arguments: tuple, budget: Budget) -> np.ndarray:
    """An array out of a storage's values; floats come out as float32."""
    held, offset, size, stride = arguments[:4]
    count = elements(size)
    if not isinstance(held, Storage) or type(offset) is not int or offset < 0 or elements(stride) < 0 or len(stride) != len(size):
        raise Refused("it has a tensor without a storage, an offset and strides")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and max(count - 1, last) >= len(held.values):
        raise Refused(f"it has a tensor of size {size} out of {len(held.values)} values")
    budget.spend(4 * count)
    steps = [step * held.values.dtype.itemsize for step in stride]
    there = np.lib.stride_tricks.as_strided(held.values[offset:], size, steps) if count else np.zeros(size, held.values.dtype)
    made = there.copy()
    if held.is_brain:
        return (made.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return made.astype(np.float32) if made.dtype.kind == "f" else made


def table(arguments: tuple, _: Budget) -> dict:
    """An ordered dict, empty or (of Python 2) of a list of pairs."""
    if not arguments:
        return {}
    (items,) = arguments
    return dict(pairs([part for key, value in items for part in (key, value)]))


TENSORS: dict[tuple[str, str], Build | None] = {
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
    ("torch.storage", "_load_from_bytes"): storage,
    ("collections", "OrderedDict"): table,
}
