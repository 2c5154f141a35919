"""Worker processes that are killed or run out of memory: plain words, and the same command goes on to the same bytes."""

import functools
import logging
import os
import re
import resource
import signal
import time

import numpy as np
import pytest
from helpers import Chain, artefacts, folder_dataset
from wsss.data import torch_sets
from wsss.engine.explain import plain_words
from wsss.io.images import read_image
from wsss.stages import seeds

MODEL, INDEX = "model.safetensors", "index.json"
CAM = {"cam": f"cam/{INDEX}"}
WORKERS = {"workers": 2, "checkpoint_seconds": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Classifier, CAMs and seeds without any fault; a batch is four images."""
    chain = Chain(folder_dataset(tmp_path_factory.mktemp("made") / "own"), steps=6)
    chain.run("classifier")
    chain.run("cam", {"model": f"classifier/{MODEL}"})
    chain.run("seeds", CAM)
    return chain


def killed():
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel's out-of-memory killer does


def starved():
    """A real refusal: the process may grow no further, and asks for more."""
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**24, resource.RLIM_INFINITY))
    try:
        np.ones(2**30)
    finally:  # room to end in
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS = {"killed": (killed, "a process that reads images was killed"), "starved": (starved, "memory is used up")}
MENDS = {"killed": "give the job more memory", "starved": "give the job more memory"}


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """Makes a module's `read_image` strike once, at its n-th call over all worker processes."""
    parent = os.getpid()

    def reader(strike, calls, ready, path):
        with open(calls, "a+") as count:
            count.write(".")
            count.seek(0)
            number = len(count.read())
        if number == strike[1] and os.getpid() != parent:
            end = time.monotonic() + 60
            while not ready() and time.monotonic() < end:  # what came before is made and saved
                time.sleep(0.01)
            strike[0]()
        return read_image(path)

    def plant(module, fault, at, left):
        """`left`: what the stage has left to go on from when the fault strikes."""

        def ready():
            return left.exists() and (left.suffix == ".pt" or left.read_text().count("\n") > 1)  # a journal has a head

        monkeypatch.setattr(module, "read_image", functools.partial(reader, (fault, at), tmp_path / "calls", ready))

    return plant


def failure(function):
    with pytest.raises(Exception) as caught:
        function()
    words = plain_words(caught.value)
    assert words is not None and "\n" not in words, repr(caught.value)
    return words


@pytest.mark.parametrize("name", FAULTS)
def test_a_worker_that_reads_for_a_training(made, faulty, caplog, name):
    fault, expected = FAULTS[name]
    train = functools.partial(made.run, "classifier", into=f"{name}/classifier", runtime=WORKERS)
    faulty(torch_sets, fault, 20, made.results / name / "classifier/train_state.pt")
    words = failure(train)
    assert expected in words and MENDS[name] in words
    with caplog.at_level(logging.INFO):
        train()  # it strikes once
    assert re.search("6 steps of 4 images, from step [1-5] on", caplog.text), "no checkpoint was taken up"
    assert artefacts(made.results / name / "classifier") == artefacts(made.results / "classifier")


@pytest.mark.parametrize("name", FAULTS)
def test_a_worker_that_reads_for_cams(made, faulty, name):
    fault, expected = FAULTS[name]
    infer = functools.partial(
        made.run, "cam", {"model": f"classifier/{MODEL}"}, into=f"{name}/cam", threads=2, runtime={"workers": 1}
    )
    faulty(torch_sets, fault, 6, made.results / name / "cam/journal.jsonl")
    assert expected in failure(infer)
    infer()
    assert artefacts(made.results / name / "cam") == artefacts(made.results / "cam")


@pytest.mark.parametrize("name", FAULTS)
def test_a_process_of_a_pool(made, faulty, caplog, name):
    fault = FAULTS[name][0]
    refine = functools.partial(made.run, "seeds", CAM, into=f"{name}/seeds", threads=2)
    faulty(seeds, fault, 5, made.results / name / "seeds/journal.jsonl")
    words = failure(refine)
    assert "fewer cores (--cores)" in words and MENDS[name] in words
    with caplog.at_level(logging.INFO):
        refine()
    assert re.search("seeds: 6 images, [1-5] already done", caplog.text), "the journal was not taken up"
    assert artefacts(made.results / name / "seeds") == artefacts(made.results / "seeds")
