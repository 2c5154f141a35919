"""`wsss.predict.load`: the pixels of the stage `predict`, plain errors, and the examples of docs/python.md."""

import json
import re
import shutil

import numpy as np
import pytest
import wsss.predict
from helpers import REPOSITORY, Chain, folder_dataset
from PIL import Image
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.masks import read_mask
from wsss.stages import predict

CRF = {"iterations": 2, "sxy_gaussian": 1, "compat_gaussian": 3, "sxy_bilateral": 67, "srgb": 3, "compat_bilateral": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """results/DATASET/amn of a chain that has learnt for a few steps; its predictions went through the CRF."""
    root = tmp_path_factory.mktemp("api")
    chain = Chain(folder_dataset(root, sizes=((48, 64),) * 2, masks=True), "full")
    chain.run("segmentation", into="amn/segmentation")
    settings = {"scales": [0.5, 1.0], "flip": True, "batch_size": 2, "crf": True, "crf_params": CRF}
    chain.run("predictions", {"model": "amn/segmentation/model.safetensors"}, into="amn/predictions", settings=settings)
    return chain.results / "amn"


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photo on its side, larger than the limit of these tests."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path_factory.mktemp("photos") / "a b ü.JPG"
    Image.fromarray(pixels).save(path, format="JPEG", exif=exif)
    return path


@pytest.mark.parametrize("crf", [None, False])
def test_pixels_are_those_of_the_stage(finished, photo, tmp_path, crf):
    net = wsss.predict.load(finished, device="cpu", long_side=60, crf=crf)
    params = json.loads((finished / "predictions/run.json").read_text())["params"]
    params |= {"photos": {"folder": str(photo.parent), "long_side": 60}, "stamp": "0"}
    params["settings"]["crf"] = crf is None
    inputs = {"model": str(finished / "segmentation/model.safetensors"), "dataset": str(finished.parent / "dataset.json")}
    outputs = {"index": str(tmp_path / "index.json"), "areas": str(tmp_path / "areas.csv")}
    runtime = {"device": "cpu", "workers": 0, "checkpoint_seconds": 1e9, "log_every": 2}
    predict.run(Task("predict", inputs, outputs, params, runtime))
    mask = net(photo)
    assert mask.dtype == np.uint8 and mask.shape == (90, 70) and mask.max() < len(net.names)
    np.testing.assert_array_equal(mask, read_mask(tmp_path / "a b ü.png"))


def test_names_arrays_and_probabilities(finished, photo):
    net = wsss.predict.load(str(finished), device="cpu", long_side=60, crf=False)
    assert net.names == ("background", "red", "green")
    pixels = predict.read_image(photo)
    np.testing.assert_array_equal(net(pixels), net(photo))
    probs = net.probabilities(photo)
    assert probs.shape == (3, 60, 47) and probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(predict.resize_label(probs.argmax(0).astype(np.uint8), (90, 70)), net(photo))


def test_a_copy_of_what_the_docs_name_is_enough(finished, photo, tmp_path):
    for name in ("dataset.json", "amn/predictions/run.json", "amn/segmentation/model.safetensors"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished.parent / name, tmp_path / "copy" / name)
    np.testing.assert_array_equal(wsss.predict.load(tmp_path / "copy/amn")(photo), wsss.predict.load(finished)(photo))


def test_a_network_that_was_trained_otherwise_since_is_refused(finished, tmp_path):
    """The record's options would build another one: stride 8 has the tensors of stride 16."""
    shutil.copytree(finished.parent, tmp_path / "own")
    record = tmp_path / "own/amn/predictions/run.json"
    facts = json.loads(record.read_text())
    facts["params"]["network"]["options"]["output_stride"] = 8
    record.write_text(json.dumps(facts))
    with pytest.raises(UserError, match="model.safetensors: was trained as .*; give results/DATASET/METHOD, after"):
        wsss.predict.load(tmp_path / "own/amn")


def test_what_is_no_finished_method_is_said(finished, tmp_path):
    copy = tmp_path / "own/amn"
    shutil.copytree(finished, copy)
    with pytest.raises(UserError, match="dataset.json: is missing, so amn has no finished segmentation"):
        wsss.predict.load(copy)
    shutil.copy(finished.parent / "dataset.json", copy.parent)
    with pytest.raises(UserError, match="no such folder; give results/DATASET/METHOD"):
        wsss.predict.load(tmp_path / "none")
    with pytest.raises(UserError, match="predictions/run.json: is missing"):
        wsss.predict.load(finished / "segmentation")
    with pytest.raises(UserError, match="no CRF"):
        record = json.loads((copy / "predictions/run.json").read_text())
        del record["params"]["settings"]["crf_params"]
        (copy / "predictions/run.json").write_text(json.dumps(record))
        wsss.predict.load(copy, crf=True)
    (copy / "segmentation/model.safetensors").write_bytes(b"no model")
    with pytest.raises(UserError, match="model.safetensors: not a readable model"):
        wsss.predict.load(copy)
    (copy / "segmentation/model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors: is missing"):
        wsss.predict.load(copy)
    for text in ('{"stage": "seeds", "params": {}, "inputs": {"model": "a"}}', "[]", '{"inputs": 3}'):
        (copy / "predictions/run.json").write_text(text)
        with pytest.raises(UserError, match="run.json: no record of predictions"):
            wsss.predict.load(copy)


def test_classes_that_have_changed_since_are_said(finished, tmp_path):
    """`red` is 1 in the network; where the list was turned around since, 1 would be called `green`."""
    shutil.copytree(finished, tmp_path / "amn")
    about = json.loads((finished.parent / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**about, "classes": about["classes"][::-1]}))
    with pytest.raises(UserError, match="the classes were red, green, and .*json lists green, red now"):
        wsss.predict.load(tmp_path / "amn")


def test_what_is_no_photo_is_said(finished, tmp_path):
    net = wsss.predict.load(finished)
    (tmp_path / "notes.jpg").write_text("no photo")
    with pytest.raises(UserError, match="notes.jpg: not a readable image"):
        net(tmp_path / "notes.jpg")
    for wrong in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(UserError, match=r"give \(H, W, 3\) uint8 RGB"):
            net(wrong)
    with pytest.raises(UserError, match="long_side: 0"):
        wsss.predict.load(finished, long_side=0)
    with pytest.raises(UserError, match="device: 'gpu'"):
        wsss.predict.load(finished, device="gpu")


def test_the_examples_of_the_docs_run(finished, photo, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished.parent, tmp_path / "results/demo")
    shutil.copy(photo, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/python.md").read_text("utf-8"), re.DOTALL)
    own = [example for example in examples if "onnxruntime" not in example]  # tests/test_onnx.py runs the other
    assert len(own) == 2
    for example in own:
        exec(compile(example, "docs/python.md", "exec"), {})
    assert "background" in capsys.readouterr().out and (tmp_path / "overlay.jpg").exists()


@pytest.mark.parametrize("given", [[], ["a.jpg"], None, 5, b"a.jpg", Image.new("RGB", (4, 4)), [np.zeros((4, 4, 3), np.uint8)]])
def test_what_is_neither_a_path_nor_an_array(finished, given):
    net = wsss.predict.load(finished, device="cpu")
    for use in (net, net.probabilities):
        with pytest.raises(UserError, match=f"photo: a {type(given).__name__}; give the path of a file, or .* one photo a call"):
            use(given)


def test_a_masked_array_is_its_pixels(finished):
    net = wsss.predict.load(finished, device="cpu", crf=False)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(net(np.ma.array(pixels)), net(pixels))


@pytest.mark.parametrize("folder", [None, 5, b"results", ["results"], "results\0"])
def test_what_is_no_path_of_a_folder(folder):
    with pytest.raises(UserError, match="is no path of a folder; give results/DATASET/METHOD"):
        wsss.predict.load(folder)


@pytest.mark.parametrize("crf", ["no", 1, 0])
def test_a_crf_is_on_or_off(finished, crf):
    with pytest.raises(UserError, match="crf: .* is not known; give True, False, or leave it out"):
        wsss.predict.load(finished, crf=crf)
