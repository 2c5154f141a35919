"""Files that were damaged at random, and pickles that lie: none ends a reader by a signal or in a traceback."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz import npy
from helpers import LIBRARY, environment
from wsss.errors import UserError
from wsss.imports.cams import NAMES
from wsss.io.pickle_machine import short
from wsss.io.pickles import load_object

COUNTS = {"pickles": 3000, "cams": 300, "probs": 150, "pictures": 400, "indexes": 300, "models": 400}
SECONDS = 60  # for all of them; on a slow machine fewer are made


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    words = [f"{kind}={count}" for kind, count in COUNTS.items()]
    command = [sys.executable, str(Path(__file__).resolve().parents[1] / "fuzz.py"), str(tmp_path), str(SECONDS), *words]
    done = subprocess.run(command, env={**environment(), "PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"ended by {done.returncode}: {done.stderr[-2000:]}"
    ends = json.loads(done.stdout)
    assert not [f"{kind} {fault}" for kind, end in ends.items() for fault in end["faults"]]
    assert set(ends) == set(COUNTS) and all(end["refused"] for end in ends.values()), ends
    print(ends)


# --- pickles that lie: each was memory that is not the file's, or an end without a word


class Calls:
    """Pickles as a call of `function`, with a state set on what it gives."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


MAKE = np.zeros(0).__reduce__()[0]
SCALAR = np.float32(0).__reduce__()[0]
STORED = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


def rebuilt(shape, dtype, data, order=False):
    return Calls(MAKE, np.ndarray, (0,), b"b", state=(1, shape, dtype, order, data))


def lying_type(*fields):
    """A type whose state says other things than its name."""
    return Calls(np.dtype, "V8", False, True, state=(3, "|", *fields))


def tensor(offset, size, stride):
    storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True)
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


def nested(depth):
    """A tuple in a tuple ... as the key of a dict, which is hashed to its depth."""
    return b"\x80\x02}(" + b")" + b"\x85" * depth + b"K\x01u."


OBJECTS, PLAIN = np.dtype("O"), np.dtype("f4")
LIES = {
    "ndarray called": Calls(np.ndarray, (2,), "O", b"A" * 16),
    "ndarray of objects over bytes": Calls(np.ndarray, (2,), OBJECTS, b"A" * 16),
    "negative offset": Calls(np.ndarray, (2,), "f4", b"A" * 16, -4096),
    "objects out of bytes": rebuilt((2,), OBJECTS, b"A" * 16),
    "more objects than listed": rebuilt((1000,), OBJECTS, [1, 2]),
    "fields whose flags lie": rebuilt((2,), lying_type(None, ("a",), {"a": (OBJECTS, 0)}, 8, 1, 0), b"A" * 16),
    "an array of arrays": rebuilt((2,), lying_type((PLAIN, (2,)), None, None, 8, 1, 0), b"A" * 16),
    "dates": rebuilt((1,), np.dtype("M8[s]"), b"A" * 8),
    "complex": rebuilt((1,), np.dtype("c8"), b"A" * 8),
    "long doubles": rebuilt((1,), np.dtype("longdouble"), b"A" * 16),
    "fewer bytes": rebuilt((100,), PLAIN, b"A" * 16),
    "more bytes": rebuilt((1,), PLAIN, b"A" * 16),
    "a negative length": rebuilt((-1, -4), PLAIN, b"A" * 16),
    "lengths whose product is small again": rebuilt((2**33, 2**33), PLAIN, b""),
    "a length that is no number": rebuilt((4.0,), PLAIN, b"A" * 16),
    "33 axes": rebuilt((1,) * 33, PLAIN, b"A" * 4),
    "no type": rebuilt((4,), "f4", b"A" * 16),
    "the state twice": Calls(MAKE, np.ndarray, (0,), b"b", state=(1, (4,), Calls(np.dtype, "O8", False, True), False, b"A" * 16)),
    "text beyond Unicode": rebuilt((1,), np.dtype("U1"), b"\xff" * 4),
    "truth beyond 1": rebuilt((1,), np.dtype("b1"), b"\x07"),
    "an object as a number": Calls(SCALAR, OBJECTS, b"A" * 8),
    "a short number": Calls(SCALAR, PLAIN, b"A"),
    "a tensor beyond its storage": tensor(0, (5,), (1,)),
    "an offset beyond its storage": tensor(4, (1,), (1,)),
    "a negative offset of a tensor": tensor(-1, (2,), (1,)),
    "strides beyond its storage": tensor(0, (2,), (2**40,)),
    "negative strides": tensor(3, (2,), (-1,)),
    "strides for another size": tensor(0, (2, 2), (1,)),
    "a tensor without a storage": Calls(torch._utils._rebuild_tensor_v2, b"A" * 16, 0, (2,), (1,), False, {}),
    "a storage of other bytes": Calls(torch.storage._load_from_bytes, STORED + pickle.dumps(("storage",), 2) * 2 + b"A" * 16),
    "a state of a dict": Calls(dict, state={"a": 1}),
    "text as a function": Calls(MAKE, "ndarray", (0,), b"b", state=(1, (4,), PLAIN, False, b"A" * 16)),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("lie", LIES)
def test_pickles_that_lie_are_refused(tmp_path, lie, protocol):
    (tmp_path / "a.npy").write_bytes(npy({"keys": LIES[lie]}, protocol))
    with pytest.raises(UserError, match="a.npy: refused, it ") as caught:
        load_object(tmp_path / "a.npy", "a CAM file", NAMES)
    assert "\n" not in str(caught.value)


STREAMS = {
    "deep keys": nested(1_000_000),
    "a key that is a list": b"\x80\x02}(]K\x01u.",
    "a number without end": b"\x80\x02\x8b\xff\xff\x00\x00" + b"\x7f" * 65535 + b".",
    "the same bytes again and again": b"\x80\x02c_codecs\nencode\nq\x00X\x00\x40\x00\x00" + b"a" * 2**14 + b"q\x010" + b"h\x00h\x01\x85R0" * 5000 + b"N.",
    "a class": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an instance": b"(inumpy\nndarray\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02NQ.",
    "no stack": b"\x80\x02\x85.",
    "no end": b"\x80\x02N",
    "a name on two lines": b"\x80\x04\x8c\x03a\nb\x8c\x03c\nd\x93.",
}


@pytest.mark.parametrize("stream", STREAMS)
def test_broken_streams_are_refused(tmp_path, stream):
    (tmp_path / "a.npy").write_bytes(npy({}, 2)[:128] + STREAMS[stream])
    with pytest.raises(UserError, match="a.npy: (refused|not a CAM file)") as caught:
        load_object(tmp_path / "a.npy", "a CAM file", NAMES)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_memo_of_billions_of_places_takes_one(tmp_path):
    """Python's own reader makes them all: 64 GB."""
    (tmp_path / "a.npy").write_bytes(npy({}, 2)[:128] + b"\x80\x02}r\xff\xff\xff\xff.")
    assert load_object(tmp_path / "a.npy", "a CAM file", NAMES) == {}


@pytest.mark.parametrize("header", ["{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "{'descr': [('a', '|O')]}", "(" * 5000, ""])
def test_headers_of_something_else(tmp_path, header):
    text = header.encode()
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + pickle.dumps({}))
    with pytest.raises(UserError, match="a.npy: not a CAM file .*not a pickled dict"):
        load_object(tmp_path / "a.npy", "a CAM file", NAMES)


TYPES = ("f2", ">f4", "f8", "i1", ">i2", "i4", "i8", "u1", "u2", ">u4", "u8", "b1", "S3", "U2", ">U2", "O")


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_come_out_as_numpy_saved_them(tmp_path, protocol):
    rng = np.random.default_rng(0)
    table = {n: rng.integers(0, 2, (2, 3)).astype(kind) for n, kind in enumerate(TYPES)}
    table |= {"columns": np.asfortranarray(table[1]), "none": np.zeros((0, 3)), "one": np.array(2.5), "number": np.float32(0.1)}
    (tmp_path / "a.npy").write_bytes(npy(table, protocol))
    found = load_object(tmp_path / "a.npy", "a CAM file", NAMES)
    assert list(found) == list(table)
    for name, value in table.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        np.testing.assert_array_equal(found[name], value)


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_tensors_come_out_as_arrays(tmp_path, protocol):
    base = torch.arange(24).reshape(2, 3, 4)
    views = {"all": base, "columns": base.transpose(0, 2), "part": base[1, 1:, ::2], "one": base[1, 2, 3], "none": base[:0], "spread": base[0, 0, :1].expand(4)}
    table = {f"{kind} {name}": view.to(kind) for kind in FLOATS + WHOLE for name, view in views.items()} | views
    (tmp_path / "a.npy").write_bytes(npy(table, protocol))
    found = load_object(tmp_path / "a.npy", "a CAM file", NAMES)
    for name, value in table.items():
        wanted = (value.float() if value.is_floating_point() else value).numpy()
        assert found[name].dtype == wanted.dtype, name
        np.testing.assert_array_equal(found[name], wanted)


def test_names_of_both_numpys():
    assert short("numpy.core.multiarray") == short("numpy._core.multiarray") == "multiarray"
