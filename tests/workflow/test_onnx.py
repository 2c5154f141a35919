"""`python -m wsss onnx`: the file says what PyTorch says, at any size, and tells how to use it."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import REPOSITORY, Chain, folder_dataset
from wsss.__main__ import main
from wsss.data.transforms import MEAN, STD, normalise
from wsss.imports import onnx_file
from wsss.io.images import read_image
from wsss.predict import load
from wsss.stages.predict import shrunk

needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, onnx_file.PACKAGES)), reason="onnx, onnxscript and onnxruntime (requirements.txt) are not all installed"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """results/DATASET/full of a chain that has learnt for a few steps."""
    chain = Chain(folder_dataset(tmp_path_factory.mktemp("onnx"), sizes=((48, 64),) * 2, masks=True), "full")
    chain.run("segmentation", into="full/segmentation")
    chain.run("predictions", {"model": "full/segmentation/model.safetensors"}, into="full/predictions", settings={"scales": [1.0], "flip": False, "crf": False, "batch_size": 1})
    return chain.results / "full"


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The file, made by the command."""
    out = tmp_path_factory.mktemp("out") / "net ü.onnx"
    assert main(["onnx", str(finished), "--out", str(out)]) == 0
    return out


def whole(finished):
    return onnx_file.WholeSize(load(finished, device="cpu").network)


@needs_onnx
def test_the_class_is_the_same_at_any_size(finished, exported):
    sizes = ((1, 64, 96), (3, 75, 41), (1, 200, 33), (2, 17, 150))
    images = [torch.randn(b, 3, h, w, generator=torch.Generator().manual_seed(h)) for b, h, w in sizes]
    assert min(onnx_file.agreements(whole(finished), exported.read_bytes(), images)) >= onnx_file.AGREE


@needs_onnx
def test_metadata_is_all_one_needs_beside_onnxruntime(finished, exported):
    """The example of docs/python.md gives the mask that one scale without CRF has in Python."""
    import onnxruntime

    example = (REPOSITORY / "docs/python.md").read_text("utf-8").partition("import onnxruntime")[2].partition("```")[0]
    pixels = read_image(next((finished.parents[1] / "images").iterdir()))
    told = {"Image": type("Opened", (), {"open": staticmethod(lambda _: type("Photo", (), {"convert": lambda *_: pixels}))})}
    told |= {"onnxruntime": onnxruntime, "np": np, "json": json}
    exec(example.replace("net.onnx", str(exported)).replace("from PIL import Image\n", ""), told)
    np.testing.assert_array_equal(told["mask"], load(finished, device="cpu")(pixels))
    props = onnxruntime.InferenceSession(exported).get_modelmeta().custom_metadata_map
    assert json.loads(props["names"]) == ["background", "red", "green"] and props["method"] == "full"
    np.testing.assert_allclose([json.loads(props["mean"]), json.loads(props["std"])], [MEAN, STD], rtol=1e-6)
    assert str(REPOSITORY).encode() not in exported.read_bytes()


@needs_onnx
def test_real_photos(finished, exported):
    data = os.environ.get("WSSS_TEST_DATA")
    if not data or not (photos := sorted(Path(data, "voc_mini").rglob("*.jpg"))[:4]):
        pytest.skip("WSSS_TEST_DATA (docs/environments.md) is not set, or has no voc_mini")
    images = [torch.from_numpy(normalise(shrunk(read_image(photo), 320)))[None] for photo in photos]
    assert min(onnx_file.agreements(whole(finished), exported.read_bytes(), images)) >= onnx_file.AGREE


@needs_onnx
def test_another_network_is_noticed(finished, exported):
    other = whole(finished)
    torch.nn.init.normal_(other.network.aspp.weights()[0], std=10)
    assert onnx_file.agreements(other, exported.read_bytes(), [torch.randn(1, 3, 64, 64)])[0] < onnx_file.AGREE


@needs_onnx
def test_a_file_that_is_there_is_kept(finished, exported, capsys):
    before = exported.read_bytes()
    assert main(["onnx", str(finished), "--out", str(exported)]) == 1
    assert "is there; give another name" in capsys.readouterr().err and exported.read_bytes() == before


def test_missing_packages_are_named(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["onnx", str(finished), "--out", str(tmp_path / "net.onnx")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("wsss: onnx: ") and "onnxscript" in said and "pip install -e '.[onnx]'" in said and said.count("\n") == 1
