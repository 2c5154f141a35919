"""MXNet's container read without MXNet, and ResNet38d's names in it. Files are written here, layout by layout."""

import struct

import numpy as np
import pytest
import torch
from wsss.errors import UserError
from wsss.nets import fetch, weights
from wsss.nets.mxnet_params import V1, V2, V3, is_params, mxnet_name, read_params, rename

LAYOUTS = {"legacy": None, "v1": V1, "v2": V2, "v3": V3}
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
KEYS = [key for key in weights.expected_shapes("resnet38d") if not key.endswith("num_batches_tracked")]


def packed_shape(shape, version):
    if version is None:
        return struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    storage = b"" if version == V1 else struct.pack("<i", 0)
    return struct.pack("<I", version) + storage + struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def packed_array(array, version=None, device=(1, 0), flag=None):
    flag = FLAGS[array.dtype.name] if flag is None else flag
    return packed_shape(array.shape, version) + struct.pack("<iii", *device, flag) + array.tobytes()


def packed_file(arrays, names, count=None, magic=0x112, reserved=0):
    """Bytes of a file from packed arrays; `names` are str or bytes."""
    parts = [struct.pack("<QQQ", magic, reserved, len(arrays) if count is None else count), *arrays]
    parts.append(struct.pack("<Q", len(names)))
    for name in (n.encode() if isinstance(n, str) else n for n in names):
        parts.append(struct.pack("<Q", len(name)) + name)
    return b"".join(parts)


def stored(tmp_path, data):
    path = tmp_path / "net.params"
    path.write_bytes(data)
    return path


def written(tmp_path, arrays, version=None):
    """A file holding `arrays` (name -> NumPy array)."""
    return stored(tmp_path, packed_file([packed_array(a, version) for a in arrays.values()], list(arrays)))


def refused(tmp_path, data, *words):
    path = stored(tmp_path, data)
    with pytest.raises(UserError) as caught:
        read_params(path)
    message = str(caught.value)
    assert str(path) in message and "get it again" in message
    for word in words:
        assert word in message
    return message


FLOATS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

# --- the container


@pytest.mark.parametrize("version", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kind", FLAGS)
def test_every_layout_and_type(tmp_path, version, kind):
    arrays = {
        "arg:a": FLOATS.astype(kind),
        "aux:b_ü": np.array([7], kind),
        "arg:c": FLOATS[:, :1, 1:].astype(kind).copy(),
    }
    found = read_params(written(tmp_path, arrays, version))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == getattr(torch, kind) and found[name].shape == array.shape
        assert np.array_equal(found[name].numpy(), array)


def test_layouts_may_be_mixed_and_devices_do_not_matter(tmp_path):
    parts = [
        packed_array(FLOATS + i, v, device=(d, i))
        for i, (v, d) in enumerate(zip(LAYOUTS.values(), (1, 2, 3, 5), strict=True))
    ]
    found = read_params(stored(tmp_path, packed_file(parts, "abcd")))
    assert [float(t[0, 0, 0]) for t in found.values()] == [0, 1, 2, 3]


def test_values_are_writable_and_unaligned_files_are_read(tmp_path):
    arrays = {"odd": np.array([1, 2, 3], np.uint8), "next": FLOATS}
    found = read_params(written(tmp_path, arrays))
    found["next"] += 1
    assert np.array_equal(found["next"].numpy(), FLOATS + 1)


@pytest.mark.parametrize(
    "none",
    [
        struct.pack("<I", 0),
        struct.pack("<II", V1, 0),
        struct.pack("<IiI", V2, 0, 0),
        struct.pack("<Iii", V3, 0, -1),
    ],
)
def test_arrays_without_a_shape_are_left_out(tmp_path, none):
    found = read_params(stored(tmp_path, packed_file([none, packed_array(FLOATS)], ["empty", "full"])))
    assert list(found) == ["full"]


def test_scalars_of_version_3(tmp_path):
    found = read_params(written(tmp_path, {"s": np.array(2.5, np.float32)}, V3))
    assert found["s"].shape == () and found["s"] == 2.5


def test_no_array_at_all(tmp_path):
    assert read_params(stored(tmp_path, packed_file([], []))) == {}


# --- damage


@pytest.mark.parametrize("version", LAYOUTS.values(), ids=LAYOUTS)
def test_a_file_cut_anywhere_is_refused(tmp_path, version):
    data = packed_file(
        [packed_array(FLOATS, version), packed_array(FLOATS[0], version)], ["arg:first", "arg:second"]
    )
    path = tmp_path / "net.params"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match="damaged MXNet file|not an MXNet"):
            read_params(path)


def test_a_cut_file_says_where(tmp_path):
    first, second = packed_array(FLOATS), packed_array(FLOATS)
    data = packed_file([first, second], ["a", "b"])
    refused(tmp_path, data[: 24 + len(first) + 40], "array 2 of 2", "too early")
    refused(tmp_path, data[:20], "the header", "4 bytes too early")
    refused(tmp_path, data[:-1], "the list of names", "1 bytes too early")


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 a zip file", packed_file([], [], magic=0x113), b"\x12\x01"]
)
def test_another_kind_of_file(tmp_path, data):
    path = stored(tmp_path, data)
    assert not is_params(path)
    with pytest.raises(UserError, match="not an MXNet .params file"):
        read_params(path)


HOSTILE = {
    "arrays": (packed_file([], [], count=2**60), "of 1152921504606846976"),
    "legacy dimensions": (packed_file([struct.pack("<I", 0xF0000000)], ["a"]), "4026531840 dimensions"),
    "v2 dimensions": (packed_file([struct.pack("<IiI", V2, 0, 2**31)], ["a"]), "2147483648 dimensions"),
    "v3 dimensions": (packed_file([struct.pack("<Iii", V3, 0, -2)], ["a"]), "-2 dimensions"),
    "legacy sides": (packed_file([struct.pack("<I3Iiii", 3, *[2**32 - 1] * 3, 1, 0, 0)], ["a"]), "too early"),
    "v1 sides": (packed_file([struct.pack("<II2qiii", V1, 2, 2**62, 2**62, 1, 0, 0)], ["a"]), "too early"),
    "negative side": (packed_file([struct.pack("<II2qiii", V1, 2, -3, 4, 1, 0, 0)], ["a"]), "(-3, 4)"),
    "no side": (packed_file([struct.pack("<II2qiii", V1, 2, 0, 2**62, 1, 0, 0)], ["a"]), "its shape is"),
    "name": (
        packed_file([packed_array(FLOATS)], [])[:-8] + struct.pack("<QQ", 1, 2**63) + b"a",
        "the list of names",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_sizes_are_not_believed(tmp_path, case):
    refused(tmp_path, *HOSTILE[case])


def test_what_weights_never_hold(tmp_path):
    array = packed_array(FLOATS)
    refused(
        tmp_path, packed_file([struct.pack("<Ii", V2, 1) + array], ["a"]), "array 1 of 1", "sparse", "dense"
    )
    refused(tmp_path, packed_file([packed_array(FLOATS, flag=7)], ["a"]), "type flag 7")
    refused(tmp_path, packed_file([packed_array(FLOATS, device=(9, 0))], ["a"]), "device type 9")
    refused(tmp_path, packed_file([array, array], ["a", "a"]), "the name a stands there twice")
    refused(tmp_path, packed_file([array], []), "0 names for 1 arrays")
    refused(tmp_path, packed_file([array], [b"\xff\xfe"]), "not text")
    refused(tmp_path, packed_file([array], ["a"]) + b"more", "4 bytes too many")
    refused(tmp_path, packed_file([array], ["a"], reserved=1), "reserved word")


# --- ResNet38d's names

EXAMPLES = {
    "conv1a.weight": "arg:conv1a_weight",
    "b3_1.conv_branch2a.weight": "arg:res3b1_branch2a_weight",
    "b2.conv_branch1.weight": "arg:res2a_branch1_weight",
    "b6.bn_branch2b2.running_var": "aux:bn6a_branch2b2_moving_var",
    "b5_2.bn_branch2b1.weight": "arg:bn5b2_branch2b1_gamma",
    "b7.bn_branch2a.bias": "arg:bn7a_branch2a_beta",
    "bn7.running_mean": "aux:bn7_moving_mean",
}


def test_names_of_the_field():
    assert {key: mxnet_name(key) for key in EXAMPLES} == EXAMPLES
    assert len(KEYS) == len({mxnet_name(key) for key in KEYS}) == 191


@pytest.mark.parametrize("prefixed", [True, False])
def test_all_191_tensors_are_renamed_and_the_classifier_dropped(prefixed, tmp_path):
    names = [mxnet_name(key) if prefixed else mxnet_name(key)[4:] for key in KEYS]
    arrays = {name: torch.full((1,), i) for i, name in enumerate(names)}
    arrays |= {"arg:linear1000_weight": torch.zeros(1), "arg:linear1000_bias": torch.zeros(1)}
    renamed = rename(arrays, KEYS, tmp_path / "x.params")
    assert {key: int(value) for key, value in renamed.items()} == {key: i for i, key in enumerate(KEYS)}


def test_one_tensor_under_two_names(tmp_path):
    both = {"arg:bn7_gamma": torch.zeros(1), "aux:bn7_gamma": torch.zeros(1)}
    with pytest.raises(UserError, match="holds bn7_gamma twice"):
        rename(both, KEYS, tmp_path / "x.params")


# --- from the file to the workflow's weights; `small_net` stands for the full one


@pytest.fixture
def small_net(monkeypatch):
    """Narrow shapes instead of the real ones: 191 tensors in 0.4 MB."""
    from wsss.nets.resnet38d import ResNet38d

    monkeypatch.setattr(weights, "ResNet38d", lambda: ResNet38d(width=2))
    generator = np.random.default_rng(0)
    shapes = weights.expected_shapes("resnet38d")
    arrays = {mxnet_name(k): generator.random(shapes[k], np.float32) for k in KEYS}
    return {**arrays, "arg:linear1000_weight": np.zeros((10, 8), np.float32)}


def fetched(tmp_path, arrays, version=None):
    local = written(tmp_path, arrays, version)
    return local, fetch.fetch("resnet38d", tmp_path / "out/resnet38d.safetensors", local=local)


@pytest.mark.parametrize("version", LAYOUTS.values(), ids=LAYOUTS)
def test_a_params_file_becomes_weights(tmp_path, small_net, version):
    _, target = fetched(tmp_path, small_net, version)
    state = weights.load(target, "resnet38d")
    assert set(state) == set(KEYS)
    for key in KEYS:
        assert np.array_equal(state[key].numpy(), small_net[mxnet_name(key)])
    source, sha256 = weights.origin(target)
    assert source == f"local file net.params, sha256 {sha256}" and len(sha256) == 64


def test_half_precision_and_another_file_name(tmp_path, small_net):
    local, first = fetched(tmp_path, {name: array.astype(np.float16) for name, array in small_net.items()})
    assert all(value.dtype == torch.float32 for value in weights.load(first, "resnet38d").values())
    renamed = local.rename(tmp_path / "model-0001.bin")
    assert fetch.fetch("resnet38d", tmp_path / "b.safetensors", local=renamed).exists()


def test_our_own_files_are_a_source_too(tmp_path, small_net):
    _, first = fetched(tmp_path, small_net)
    again = fetch.fetch("resnet38d", tmp_path / "b.safetensors", local=first)
    torch.save(weights.load(first, "resnet38d"), tmp_path / "net.pth")
    third = fetch.fetch("resnet38d", tmp_path / "c.safetensors", local=tmp_path / "net.pth")
    for path in (again, third):
        assert torch.equal(
            weights.load(path, "resnet38d")["bn7.bias"], weights.load(first, "resnet38d")["bn7.bias"]
        )


CHANGES = {
    "missing": (
        lambda a: a.pop("arg:res4b3_branch2a_weight"),
        "1 tensors missing: b4_3.conv_branch2a.weight",
    ),
    "surplus": (lambda a: a.update({"arg:fc8_weight": FLOATS}), "1 tensors surplus: arg:fc8_weight"),
    "shape": (
        lambda a: a.update({"arg:conv1a_weight": FLOATS}),
        r"conv1a.weight \(2, 3, 4\) instead of \(2, 3, 3, 3\)",
    ),
    "integers": (
        lambda a: a.update({"arg:bn7_beta": np.zeros(128, np.int32)}),
        "bn7.bias holds integers",
    ),
    "infinite": (
        lambda a: a.update({"aux:bn7_moving_var": np.full(128, np.inf, np.float32)}),
        "bn7.running_var not finite",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_191_are_checked_strictly(tmp_path, small_net, change):
    edit, words = CHANGES[change]
    edit(small_net)
    with pytest.raises(UserError, match=words) as caught:
        fetched(tmp_path, small_net)
    assert "net.params" in str(caught.value) and not (tmp_path / "out").exists()


def test_an_mxnet_file_for_another_trunk(tmp_path):
    local = written(tmp_path, {"arg:a": FLOATS})
    with pytest.raises(UserError, match="for resnet38d only; give torchvision's file of resnet50"):
        fetch.fetch("resnet50", tmp_path / "x.safetensors", local=local)


def test_without_a_file_the_mend_is_named(tmp_path):
    with pytest.raises(
        UserError, match="ilsvrc-cls_rna-a1_cls1000_ep-0001.params.*437 MB.*backbone: resnet50"
    ):
        fetch.fetch("resnet38d", tmp_path / "x.safetensors")
