"""MXNet's `.params` files without MXNet, and the names that ResNet38d's tensors have in one.

Layout (little endian): uint64 magic, uint64 0, uint64 N, N arrays, uint64 K, K names (uint64 length, bytes). An
array is a version word, its shape, int32 device type and id, int32 type flag and the values in C order. No size
is believed before the file has been seen to be long enough for it.
"""

import math
import os
import re
import struct
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from wsss.errors import UserError

MAGIC = 0x112
# Version words; any other is itself the number of dimensions, in the oldest layout.
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_DIMENSIONS = 32
DEVICES = (1, 2, 3, 5)  # cpu, gpu, pinned, shared
DTYPES = {
    0: torch.float32,
    1: torch.float64,
    2: torch.float16,
    3: torch.uint8,
    4: torch.int32,
    5: torch.int8,
    6: torch.int64,
}


def is_params(path: Path) -> bool:
    """Whether a file begins as MXNet's do."""
    with open(path, "rb") as handle:
        return handle.read(8) == struct.pack("<Q", MAGIC)


def read_params(path: Path) -> dict[str, Tensor]:
    """Name (with its `arg:` or `aux:`) -> tensor, in the file's order; empty arrays are left out.

    Raises:
        UserError: not such a file, cut short, or holding what weights never hold (sparse arrays, unknown
            types, a name twice).
    """
    with open(path, "rb") as handle:
        return _Reader(handle, Path(path)).read()


class _Reader:
    """One pass over an open file; `where` says in messages what is being read."""

    def __init__(self, handle: BufferedReader, path: Path):
        self.handle, self.path, self.where = handle, path, "the header"
        self.left = os.fstat(handle.fileno()).st_size

    def read(self) -> dict[str, Tensor]:
        if self.left < 8 or self.number("Q") != MAGIC:
            raise UserError(
                f"{self.path}: not an MXNet .params file (it does not begin with 0x112); give the right file"
            )
        if self.number("Q") != 0:
            raise self.damaged("the reserved word is not 0")
        count = self.number("Q")
        arrays: list[Tensor | None] = []
        while len(arrays) < count:
            self.where = f"array {len(arrays) + 1} of {count}"
            arrays.append(self.array())
        return self.named(arrays)

    def named(self, arrays: list[Tensor | None]) -> dict[str, Tensor]:
        self.where = "the list of names"
        count = self.number("Q")
        if count != len(arrays):
            raise self.damaged(f"{count} names for {len(arrays)} arrays")
        result = {}
        for array in arrays:
            name = self.name()
            if name in result:
                raise self.damaged(f"the name {name} stands there twice")
            result[name] = array
        if self.left:
            raise self.damaged(f"{self.left} bytes too many at the end")
        return {name: array for name, array in result.items() if array is not None}

    def array(self) -> Tensor | None:
        """The next array; None for one without a shape, which has no values either."""
        shape = self.shape()
        if shape is None:
            return None
        device, _, flag = self.numbers("iii")
        if device not in DEVICES:
            raise self.damaged(f"device type {device} is not known")
        if flag not in DTYPES:
            raise self.damaged(f"type flag {flag} is not known")
        dtype = DTYPES[flag]
        values = bytearray(self.claim(math.prod(shape) * dtype.itemsize))
        if self.handle.readinto(values) != len(values):
            raise self.damaged("it ends in the middle of an array")
        return torch.frombuffer(values, dtype=dtype).reshape(shape)

    def shape(self) -> list[int] | None:
        version = self.number("I")
        if version in (V2, V3) and (storage := self.number("i")) != 0:
            raise self.damaged(f"it is sparse (storage type {storage}); save it as a dense array")
        dimensions = self.number("i" if version == V3 else "I") if version in (V1, V2, V3) else version
        # Version 3 counts as NumPy does: 0 dimensions are a scalar and -1 stands for none.
        if dimensions == (-1 if version == V3 else 0):
            return None
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise self.damaged(f"{dimensions} dimensions are too many")
        shape = self.numbers(("q" if version in (V1, V2, V3) else "I") * dimensions)
        if any(side < 1 for side in shape):
            raise self.damaged(f"its shape is {tuple(shape)}")
        return shape

    def name(self) -> str:
        data = self.handle.read(self.claim(self.number("Q")))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise self.damaged("a name is not text") from None

    def number(self, kind: str) -> int:
        return self.numbers(kind)[0]

    def numbers(self, kinds: str) -> list[int]:
        kinds = f"<{kinds}"
        return list(struct.unpack(kinds, self.handle.read(self.claim(struct.calcsize(kinds)))))

    def claim(self, size: int) -> int:
        """`size`, having seen that as many bytes are left."""
        if size > self.left:
            raise self.damaged(f"the file ends {size - self.left} bytes too early")
        self.left -= size
        return size

    def damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path}: damaged MXNet file, at {self.where}: {reason}; get it again")


PARTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}


def mxnet_name(key: str) -> str:
    """ResNet38d's name of a tensor -> the file's: b3_1.conv_branch2a.weight -> arg:res3b1_branch2a_weight."""
    module, part = key.rsplit(".", 1)
    if module == "conv1a":
        return "arg:conv1a_weight"
    kind = "aux" if part.startswith("running") else "arg"
    if module == "bn7":
        return f"{kind}:bn7_{PARTS[part]}"
    found = re.fullmatch(r"b(\d)(?:_(\d))?\.(conv|bn)_(\w+)", module)
    assert found is not None  # so all units of ResNet38d are called
    block, number, layer, branch = found.groups()
    unit = f"{block}{f'b{number}' if number else 'a'}_{branch}"
    return f"arg:res{unit}_weight" if layer == "conv" else f"{kind}:bn{unit}_{PARTS[part]}"


def rename(arrays: Mapping[str, Tensor], keys: Iterable[str], path: Path) -> dict[str, Tensor]:
    """Arrays of a file under ResNet38d's `keys`, without the 1000-way layer; unknown names are kept as they are.

    `arg:` and `aux:` may be missing. UserError for two names that mean the same tensor.
    """
    known = {_bare(mxnet_name(key)): key for key in keys}
    result = {}
    for name, array in arrays.items():
        bare = _bare(name)
        if bare.startswith("linear1000_"):
            continue
        key = known.get(bare, name)
        if key in result:
            raise UserError(f"{path}: holds {bare} twice, as arg: and as aux:; give a file with one of them")
        result[key] = array
    return result


def _bare(name: str) -> str:
    return name.removeprefix("arg:").removeprefix("aux:")
