"""Whole stages with a CRF give the same masks by `lattice`, in processes, and by `torch`, on the device of the job."""

import numpy as np
import pytest
import torch
from small_chain import INDEX, MODEL, records_of
from wsss.engine.atomic import read_json
from wsss.errors import UserError
from wsss.io.cams import write_cam
from wsss.io.masks import CONFIDENT, UNSURE, read_mask
from wsss.stages.predictions import Predictor

INPUTS = {"seeds": {"cam": f"cam/{INDEX}"}, "predictions": {"model": f"segmentation/{MODEL}"}}


def run(chain, stage, backend, **changes):
    """The stage's folder, made with this backend."""
    settings = chain.plan.params(stage, chain.row)["settings"]
    settings = {**settings, "crf_params": {**settings["crf_params"], "backend": backend}}
    return chain.run(stage, INPUTS[stage], into=f"{stage}_{backend}", threads=2, settings=settings, **changes)


def bump(shape):
    """Smooth hills in [0, 1], of another place for each row."""
    *rows, height, width = shape
    y, x = np.mgrid[:height, :width] / 8.0
    shift = np.arange(np.prod(rows)).reshape(*rows, 1, 1)
    return ((np.sin(x + 2 * shift) * np.cos(y - shift) + 1) / 2).astype(np.float32)


@pytest.mark.parametrize("stage, suffixes", [("seeds", (CONFIDENT, UNSURE)), ("predictions", (".png", ".nocrf.png"))])
def test_torch_gives_the_labels_of_the_lattice(copied, monkeypatch, stage, suffixes):
    if stage == "seeds":
        for record in (r for r in records_of(copied) if r.labels):
            write_cam(copied.results / "cam" / f"{record.id}.npz", record.labels, [bump((1, 20, 20))] * 2)
    else:
        monkeypatch.setattr(Predictor, "probabilities", lambda self, batch: torch.from_numpy(3 * bump((len(batch["id"]), 3, *batch["size"]))).softmax(1))
    lattice, ours = run(copied, stage, "lattice"), run(copied, stage, "torch")
    names = [f"{record.id}{suffix}" for record in records_of(copied) for suffix in suffixes]
    wanted, found = (np.concatenate([read_mask(folder / name).ravel() for name in names]) for folder in (lattice, ours))
    assert (found == wanted).mean() >= 0.9999 and len(np.unique(wanted)) == 3
    facts = read_json(ours / "run.json")
    assert facts["params"]["settings"]["crf_params"]["backend"] == "torch" and facts["device"] == "cpu"


def test_a_gpu_that_is_asked_for_and_missing_is_told(copied, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device: cuda is asked for, but PyTorch sees no GPU"):
        run(copied, "seeds", "torch", runtime={"device": "cuda"})


def test_a_cpu_is_told_to_be_the_wrong_place(copied, caplog):
    run(copied, "seeds", "torch")
    assert "crf.backend: torch is made for a GPU, and this job has none" in caplog.text
