"""The frame every stage runs in: signals, plain words for errors, fingerprint, run record."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest
import torch
import torchvision
from helpers import LIBRARY, environment
from torch.utils.data import DataLoader
from wsss.engine.explain import plain_words
from wsss.engine.task import Task
from wsss.engine.workers import worker_pool
from wsss.errors import UserError
from wsss.io.models import load_model
from wsss.nets import weights
from wsss.sections.training import Training
from wsss.stages import download
from wsss.train import start as starting
from wsss.train import training
from wsss.train.device import pick_device
from wsss.train.loop import Learner

COMPUTE = {"precision": "auto", "cpu_threads": 1}
NETWORKS = {"classifier", "cam", "affinity", "segmentation", "predictions", "predict", "voc_test", "weights"}
LIGHT = [f"wsss.stages.{path.stem}" for path in sorted((LIBRARY / "wsss/stages").glob("[a-z]*.py")) if path.stem not in NETWORKS]


def make_task(folder, stage="own", **inputs):
    outputs = {"model": str(folder / "model.safetensors"), "history": str(folder / "history.csv")}
    params = {"compute": COMPUTE, "seed": 0, "settings": {}}
    return Task(stage, {k: str(v) for k, v in inputs.items()}, outputs, params, {"device": "cpu"})


def test_stages_without_a_network_start_without_torch():
    """Nor numba: these two take longer to load than such a stage's own imports together."""
    code = "import sys, importlib\nfor name in sys.argv[1:]:\n importlib.import_module(name)\n assert not {'torch', 'numba'} & set(sys.modules), name"
    command = [sys.executable, "-c", code, "wsss.engine.entry", *LIGHT]
    done = subprocess.run(command, env={**environment(), "PYTHONPATH": str(LIBRARY)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"wsss.stages.seeds", "wsss.stages.pseudo_masks", "wsss.stages.evaluation"} <= set(LIGHT)


# --- signals -------------------------------------------------------------------------------------------

SIGNALLED = """
import sys
from types import SimpleNamespace
import wsss.stages
from wsss.engine.entry import start

wsss.stages.__path__.append(sys.argv[1])
start("slow", SimpleNamespace(log=[], input={}, output={}, params={}, config={"runtime": {}}, threads=1))
"""
SLOW = """
import time
from pathlib import Path

def slowly(task=None):
    Path(__file__).with_name("ready").touch()
    time.sleep(60)

"""


@pytest.mark.parametrize("where", ["slowly()", "run = slowly"], ids=["while its module loads", "while it runs"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_ctrl_c_end_a_stage_that_never_asks(tmp_path, signum, where):
    ready = tmp_path / "ready"
    (tmp_path / "slow.py").write_text(SLOW + where)
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in the background it is unheard
    place = {**environment(), "PYTHONPATH": str(LIBRARY)}
    process = subprocess.Popen(command, env=place, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signum)
        _, said = process.communicate(timeout=30)
        assert process.returncode == -signal.SIGTERM and "Traceback" not in said
    finally:
        process.kill()
        process.wait()


# --- errors in plain words -----------------------------------------------------------------------------


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        try:
            raise OSError("cut short")
        except OSError as error:
            raise UserError("photos/a b.png: not a readable image; replace it") from error


def error_of(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def test_an_error_in_a_loader_worker_is_one_line():
    loader = DataLoader(Broken(), num_workers=1, multiprocessing_context="fork")
    error = error_of(lambda: list(loader))
    assert "Traceback" in str(error), "torch puts the worker's traceback inside"
    assert plain_words(error) == "photos/a b.png: not a readable image; replace it"
    assert plain_words(UserError("b.png: bad")) == "b.png: bad"


def test_a_killed_pool_process_has_a_mend():
    def broken():
        with worker_pool(2) as pool:
            pool.submit(os._exit, 9).result()

    error = error_of(broken)
    assert isinstance(error, BrokenProcessPool)
    assert "fewer cores (--cores)" in plain_words(error)


@pytest.mark.parametrize(
    "error, mend",
    [
        (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), "runtime.workers"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "runtime.workers"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU's memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "lower the stage's batch_size",
        ),
        (MemoryError(), "more memory"),
        (RuntimeError("[/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:5: Connection reset"), "train together"),
    ],
)
def test_want_of_memory_has_a_mend(error, mend):
    assert mend in plain_words(error) and "\n" not in plain_words(error)


def test_other_errors_keep_their_traceback():
    assert plain_words(ValueError("shapes differ")) is None
    assert plain_words(RuntimeError("Caught RuntimeError in DataLoader worker process 0.")) is None


# --- fingerprint and record ----------------------------------------------------------------------------


def test_the_fingerprint_knows_device_and_number_type(tmp_path, monkeypatch):
    task = make_task(tmp_path)
    marks = {task.fingerprint()}
    starting.note_device(task, torch.device("cpu"))
    marks.add(task.fingerprint())
    for bf16 in (False, True):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda bf16=bf16, **_: bf16)
        starting.note_device(task, torch.device("cuda", 0))
        marks.add(task.fingerprint())
    starting.note_device(task, torch.device("cuda", 1))
    assert len(marks) == 4 and task.fingerprint() in marks, "which of the GPUs it was makes no difference"


def test_the_record_names_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "pick_device", lambda *a: pick_device("cpu", 1) and torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    task = make_task(tmp_path)
    starting.start_device(task)
    task.write_record(images=3)
    assert json.loads((tmp_path / "run.json").read_text())["device"] == "cuda:1"


def test_a_download_says_how_it_was_run(tmp_path, monkeypatch):
    monkeypatch.setitem(download.FETCHERS, "voc12", lambda folder, lock_file: folder / "VOC2012")
    download.run(Task("download", {}, {"done": str(tmp_path / "voc12.json")}, {"archive": "voc12"}, {}))
    assert json.loads((tmp_path / "voc12.json").read_text())["folder"] == "VOC2012"
    assert json.loads((tmp_path / "run.json").read_text())["stage"] == "download"


# --- initial weights -----------------------------------------------------------------------------------


class OneSample(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, key):
        return {"id": "a", "values": torch.ones(2)}


@pytest.mark.parametrize("known", [True, False])
def test_the_model_says_where_its_first_weights_come_from(tmp_path, monkeypatch, known):
    with torch.random.fork_rng():
        state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "mine.pth")
    file = weights.convert(state, tmp_path / "mine.pth", tmp_path / "w.safetensors", "resnet18", source="a/mine.pth")
    sha256 = weights.read_metadata(file)["sha256"]
    if known:
        monkeypatch.setitem(weights.WEIGHTS["resnet18"], "sha256_prefix", sha256[:8])
    monkeypatch.setattr(training, "fit", lambda job: [{"step": 0, "total": 1.0}])
    task = make_task(tmp_path, weights=file)
    task.params["settings"]["batch_size"] = 1
    task.runtime["workers"] = 0
    network = torch.nn.Linear(2, 2)
    losses = lambda batch, step: {"total": network(batch["values"]).sum()}  # noqa: E731 - one line, used once
    training.train(task, Training.model_construct(batch_size=1), Learner(network, [{"params": list(network.parameters()), "lr_scale": 1.0, "weight_decay": None}], losses), OneSample(), torch.device("cpu"))
    facts = load_model(task.outputs["model"], network)
    expected = "torchvision resnet18-f37072fd.pth" if known else f"local file mine.pth, sha256 {sha256}"
    assert facts["initial_weights"] == expected and facts["initial_weights_sha256"] == sha256
    assert json.loads((tmp_path / "run.json").read_text())["initial_weights"] == expected


def test_random_weights_and_a_trunk_are_called_so(tmp_path):
    assert starting.initial_weights(make_task(tmp_path))["initial_weights"] == "none"
    trunk = make_task(tmp_path, classifier="model.safetensors")
    assert starting.initial_weights(trunk)["initial_weights"] == "the trained classifier"
