"""Reads a pickle step by step and builds plain data of it. Nothing that a pickle says is ever looked up or called.

Python's own unpickler calls what a pickle names, and what NumPy rebuilds of lying facts lies outside its memory. Here a
name stands for a `Name`, which knows what we build in its place (`wsss.io.pickle_arrays`, `wsss.io.pickle_tensors`).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

KEYS = (str, int, float, bytes, type(None), np.generic)  # tuples are hashed to their depth, which may be any
LONGEST_NUMBER = 128  # bits: legacy files of PyTorch begin with one of 77
COPIES = 16  # how many times its own size a file may grow to: a short pickle can ask for the same bytes without end


class Refused(ValueError):
    """A pickle that asks for what is not built here."""


class Budget:
    """Bytes that may still be made."""

    def __init__(self, size: int) -> None:
        self.left = COPIES * size

    def spend(self, size: int) -> None:
        """Refused where it is used up."""
        self.left -= size
        if self.left < 0:
            raise Refused("it asks for far more data than it holds")


Build = Callable[[tuple, Budget], Any]
Names = Mapping[tuple[str, str], Build | None]


class Name:
    """Stands for a thing that a pickle names. `build`: what is made where the pickle calls it; None: it is no function."""

    def __init__(self, module: str, name: str, build: Build | None) -> None:
        self.module, self.name, self.build = module, name, build


class Unbuilt:
    """What a call gave that the pickle completes by a state later on."""

    def __init__(self, complete: Callable[[Any, Budget], Any]) -> None:
        self.complete = complete
        self.places: list[int] = []  # in the memo


class Machine:
    """The stack and the memo of one pickle.

    Args:
        names: (module, name) -> what is built where it is called.
        refer: what stands for a persistent id, where these are allowed.
    """

    def __init__(self, names: Names, budget: Budget, refer: Callable[[Any], Any] | None = None) -> None:
        self.names, self.budget, self.refer = names, budget, refer
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # stacks under the marks
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        """The object of the pickle that `stream` is at, which is left behind its end.

        Raises:
            Refused: it asks for more than plain data and `names`.
            Exception: of any kind, where it is broken.
        """
        for step, argument, _ in pickletools.genops(stream):
            if step.name == "STOP":
                break
            if step.name not in STEPS:
                raise Refused(f"it asks for {step.name}")
            STEPS[step.name](self, argument)
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def number(self, value: int) -> None:
        if value.bit_length() > LONGEST_NUMBER:
            raise Refused(f"it holds a number of {value.bit_length()} bits")
        self.push(value)

    def mark(self, _: None) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """What lies above the last mark, which goes."""
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def pop(self, _: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def tuple_of(self, count: int) -> None:
        if count > len(self.stack):
            raise ValueError("its stack is too short")
        taken = self.stack[len(self.stack) - count :]
        self.stack[len(self.stack) - count :] = [tuple(taken)]

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused(f"it appends to {type(target).__name__}")
        target += values

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise Refused(f"it sets items of {type(target).__name__}")
        for key, value in pairs(values):
            target[key] = value

    def memoise(self, place: int | None) -> None:
        value, place = self.stack[-1], len(self.memo) if place is None else place
        if isinstance(value, Unbuilt):
            value.places.append(place)
        self.memo[place] = value

    def name(self, text: str | None) -> None:
        if text is None:
            name, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, name = text.partition(" ")
        if not (isinstance(module, str) and isinstance(name, str)) or (short(module), name) not in self.names:
            raise Refused("it asks for " + ascii(f"{module!s:.80}.{name!s:.80}")[1:-1])
        self.push(Name(module, name, self.names[short(module), name]))

    def call(self, _: None) -> None:
        arguments, named = self.stack.pop(), self.stack.pop()
        if not isinstance(named, Name) or named.build is None or type(arguments) is not tuple:
            raise Refused("it calls what is no function")
        self.push(named.build(arguments, self.budget))

    def complete(self, _: None) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Unbuilt):
            raise Refused(f"it sets the state of {type(target).__name__}")
        self.stack[-1] = built = target.complete(state, self.budget)
        for place in target.places:
            self.memo[place] = built

    def persistent(self, _: None) -> None:
        if self.refer is None:
            raise Refused("it asks for a persistent id")
        self.push(self.refer(self.stack.pop()))


def short(module: str) -> str:
    """NumPy 2 moved what its pickles name."""
    return "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module


def pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    """Keys and values that come in turn. Refused where a key is no plain one."""
    found = list(zip(values[::2], values[1::2], strict=True))
    for key, _ in found:
        if not isinstance(key, KEYS):
            raise Refused(f"it has a key of type {type(key).__name__}")
    return found


STEPS: dict[str, Callable[[Machine, Any], object]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), Machine.number),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"), Machine.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), Machine.push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), Machine.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine.memoise),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.push(m.memo[place])),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), Machine.name),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": lambda m, _: m.to_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "TUPLE": lambda m, _: m.push(tuple(m.to_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "LIST": lambda m, _: m.push(m.to_mark()),
    "DICT": lambda m, _: m.push(dict(pairs(m.to_mark()))),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.to_mark()),
    "SETITEM": lambda m, _: m.update([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, _: m.update(m.to_mark()),
    "REDUCE": Machine.call,
    "BUILD": Machine.complete,
    "BINPERSID": Machine.persistent,
}
