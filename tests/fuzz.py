"""Damages valid files at random and reads them; run as a script by tests/engine/test_fuzz.py, since a reader may die.

python fuzz.py FOLDER SECONDS KIND=COUNT... prints {KIND: {"read": n, "refused": n, "faults": [...]}} and tells stderr
which damage it is at, for the case that a signal ends it. Where the seconds run out it makes fewer.
"""

import functools
import io
import json
import pickle
import sys
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from wsss.data.cls_labels import read_cls_labels, voc_id
from wsss.data.manifest import load_manifest
from wsss.data.voc_lists import VOC_CLASSES
from wsss.engine.index import merge_shards, read_index
from wsss.errors import UserError
from wsss.imports.cams import NAMES, _bounded, unpack
from wsss.imports.weights import fill, unwrapped
from wsss.io.cams import CamFolder, read_cam, write_cam
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask, write_mask
from wsss.io.models import load_model, save_model
from wsss.io.pickles import load_object
from wsss.io.probs import read_probs, write_probs
from wsss.io.saliency import read_saliency
from wsss.nets.weights import load_any

SIZE = (24, 31)
TOKENS = (  # names, types and orders that a pickle or a header may hold, to be exchanged for one another
    b"f4", b"f8", b"i8", b"O8", b"V8", b"U5", b"S3", b"b1", b"<", b">", b"|", b"dtype", b"ndarray", b"scalar", b"<f2", b"|O",
    b"F32", b"I32", b"F64", b"BOOL", b"null", b"[", b"{", b"1e999", b"NaN", b"-1", b"9" * 5000, b"true", b"(", b")",
)  # fmt: skip
STEPS = b"NtR(bcsue.q)lhKJ\x85\x86\x87\x8a\x93\x94\x81\x95C\x8cQ]}02"
rng = np.random.default_rng(0)


def npy(obj, protocol):
    """As NumPy saves one object."""
    held, buffer = np.empty((), object), io.BytesIO()
    held[()] = obj
    np.save(buffer, np.array({}, object), allow_pickle=True)
    return buffer.getvalue()[:128] + pickle.dumps(held, protocol)


def pickles():
    maps = rng.random((1, *SIZE)).astype(np.float32)
    tables = (
        {"2007_000032": np.eye(20, dtype=np.float32)[3], 2007000033: np.zeros(20, np.int64)},
        {"keys": torch.tensor([2]), "cam": torch.rand(1, 6, 8), "high_res": maps},
        {"keys": np.array([2]), "cam": torch.rand(1, 6, 16, dtype=torch.float64)[:, :, ::2], "high_res": maps.astype(np.float16)},
        {2: maps[0], "text": np.array(["ab", "c"]), "objects": np.array([1, None, "x"], object)},
        {2: np.asfortranarray(maps[0]), 3: np.float32(1), "b": np.array([True, False]), "d": np.zeros(2, "M8[s]")},
        {"s": np.zeros(2, [("a", "i4"), ("b", "O")]), "n": [1, 2.5, None, (3, 4)], "bytes": b"abc", "z": np.array([b"xy"])},
    )
    return [(npy(table, protocol), ".npy") for table in tables for protocol in range(5)]


def read_pickle(path):
    for read in (
        lambda: read_cls_labels(path, VOC_CLASSES, voc_id),
        lambda: _bounded(unpack(load_object(path, "a CAM file", NAMES), SIZE, path)[1], path, 1),
    ):
        try:
            read()
        except UserError as error:
            last = error
        else:
            return
    raise last


def written(write, suffix):
    """The bytes that `write` puts into a file."""
    path = FOLDER / f"valid{suffix}"
    write(path)
    return path.read_bytes(), suffix


class Labelled:
    id, labels = "damaged", (1, 3)


def cams():
    maps = [rng.random((2, 6, 8)).astype(np.float32), rng.random((2, 3, 4)).astype(np.float32)]
    extras = {"rest": np.zeros((1, 6, 8), np.float32), "foreground": np.packbits(np.ones(SIZE, np.uint8), axis=1)}
    writers = [functools.partial(write_cam, classes=[1, 3], maps=maps, extras=more) for more in ({}, extras)]
    return [written(write, ".npz") for write in writers]


def use_cam(path):
    form = "softmax" if read_cam(path).extras else "sum"
    index = {"form": form, "geometry": "view", "norm": "min_max", "scales": [1.0, 0.5], "classes": list("abcd")}
    made = CamFolder.of(path.parent / "index.json", index).at(Labelled, SIZE)
    assert made.shape == (2, *SIZE)


def probs():
    return [written(lambda path: write_probs(path, *rng.random((2, 3, 9, 8))), ".npz")]


def pictures():
    noise = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    made = [written(lambda path: write_mask(path, noise[..., 0]), ".png")]
    for suffix in (".png", ".jpg", ".gif", ".bmp"):
        made.append(written(lambda path: Image.fromarray(noise).save(path), suffix))
    return [*made, written(lambda path: Image.fromarray(noise[..., 0]).save(path), ".png")]


def read_picture(path):
    read_image(path)
    image_size(path)
    (read_mask if path.stat().st_size % 2 else read_saliency)(path)


def indexes():
    cam = {"form": "sum", "geometry": "view", "norm": "max", "scales": [1.0, 0.5], "classes": ["a", "b"], "labels": "x"}
    index = {**cam, "ids": [], "suffixes": [".npz"], "digest": "d", "remake": "python x"}
    shard = {**cam, "digests": {"a": ["s"]}, "suffixes": [".npz"]}
    facts = {"name": "own", "root": ".", "classes": ["a"], "allow_unlabelled": True, "digest": "d", "counts": {"all": 0}}
    return [(json.dumps(content, indent=1).encode(), ".json") for content in (index, shard, facts)]


def read_json_files(path):
    content = path.read_bytes()
    (FOLDER / "manifest.csv").write_text("id,split,image,labels,mask,mask_train,saliency\n")
    (FOLDER / "dataset.json").write_bytes(content)
    (FOLDER / "index.json").write_bytes(content)
    last = None
    for read in (
        lambda: CamFolder.of(path, read_index(path, [])),
        lambda: merge_shards([path], FOLDER / "merged"),
        lambda: load_manifest(FOLDER / "manifest.csv"),
        lambda: read_cam(FOLDER / "none.npz"),  # whose words look into the index
    ):
        try:
            read()
        except UserError as error:
            last = error
    if last:
        raise last


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def models():
    state = network().state_dict()
    plain = safetensors.torch.save(state)
    old = written(lambda path: torch.save(state, path, _use_new_zipfile_serialization=False), ".pth")
    new = written(lambda path: torch.save({"state_dict": state}, path), ".pth")
    return [written(lambda path: save_model(path, network(), lr=1), ".safetensors"), (plain, ".safetensors"), old, new]


def read_models(path):
    if path.suffix == ".safetensors":
        load_model(path, network())
    fill(network(), "cam", unwrapped(load_any(path), path), path)


KINDS = {
    "pickles": (pickles, read_pickle),
    "cams": (cams, use_cam),
    "probs": (probs, read_probs),
    "pictures": (pictures, read_picture),
    "indexes": (indexes, read_json_files),
    "models": (models, read_models),
}


def damaged(data, others, rng):
    """`data` with one to four changes of any kind."""
    made = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(0, len(made) + 1)), int(rng.integers(1, 9))
        how = rng.integers(0, 8)
        if how == 0:
            made[at : at + length] = rng.bytes(length)
        elif how == 1:
            made[at : at + 1] = bytes([rng.choice(list(STEPS))])
        elif how == 2:
            made[at : at + length] = rng.choice([b"\xff", b"\0", b"\x7f"]) * length
        elif how == 3:
            del made[at : at + length * int(rng.integers(1, 40))]
        elif how == 4:
            made[at:at] = made[at : at + 4 * length]
        elif how == 5:
            other = others[rng.integers(len(others))][0]
            start = int(rng.integers(0, len(other)))
            made[at : at + length] = other[start : start + 8 * length]
        else:
            token, instead = (TOKENS[rng.integers(len(TOKENS))] for _ in range(2))
            places = [n for n in range(len(made)) if made.startswith(token, n)] if len(made) < 6000 else []
            at = places[rng.integers(len(places))] if places else at
            made[at : at + len(token)] = instead
    return bytes(made)


def damaged_archive(data, rng):
    """An .npz with one damaged array and sums that are right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = names[rng.integers(len(names))]
        for name in names:
            new.writestr(name, damaged(old.read(name), [(old.read(name), "")], rng) if name == chosen else old.read(name))
    return out.getvalue()


def fuzz(kind, count, seconds):
    """How reading `count` damaged files ended, or as many as `seconds` allow."""
    make, read = KINDS[kind]
    samples = make()
    ends = {"read": 0, "refused": 0, "faults": []}
    for data, suffix in samples if kind in ("cams", "probs", "models") else ():  # what is whole must be read
        (FOLDER / f"damaged{suffix}").write_bytes(data)
        read(FOLDER / f"damaged{suffix}")
    start = time.monotonic()
    for number in range(count):
        if time.monotonic() - start > seconds:
            break
        data, suffix = samples[number % len(samples)]
        path = FOLDER / f"damaged{suffix}"
        rng = np.random.default_rng([7, number])
        is_archive = suffix == ".npz" and number % 4  # else the sums catch nearly all
        path.write_bytes(damaged_archive(data, rng) if is_archive else damaged(data, samples, rng))
        sys.stderr.write(f"\r{kind} {number}")
        try:
            read(path)
            ends["read"] += 1
        except UserError as error:
            ends["refused"] += 1
            if ("\n" in str(error) and kind != "models") or len(str(error)) > 3000:
                ends["faults"].append(f"{number}: not one line: {error}"[:500])
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            ends["faults"].append(f"{number}: {type(error).__name__}: {error} ({where.name} {where.lineno})"[:500])
    return ends


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    FOLDER, SECONDS = Path(sys.argv[1]), float(sys.argv[2])
    wanted = dict(word.split("=") for word in sys.argv[3:])
    whole = sum(map(int, wanted.values()))
    print(json.dumps({kind: fuzz(kind, int(count), SECONDS * int(count) / whole) for kind, count in wanted.items()}))
