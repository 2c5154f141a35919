"""A trained segmentation network as an ONNX file, checked against PyTorch: the command `python -m wsss onnx`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss import __version__
from wsss.data.transforms import MEAN, STD
from wsss.digest import sha256_file
from wsss.engine.atomic import write_bytes
from wsss.engine.index import refuse_stage_file
from wsss.errors import UserError
from wsss.nets.segmenter import SegmentationNet
from wsss.predict import trained
from wsss.stages.predictions import loaded_network

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
AGREE = 0.999  # share of pixels whose class must be the same as in PyTorch
SIZES = ((97, 129), (64, 200), (211, 160))  # height and width of what is compared: odd, wide, high


def export_onnx(folder: str | Path, out: str | Path, overwrite: bool = False) -> str:
    """Write the network of results/DATASET/METHOD; returns what was done, in words.

    The file takes `image` (B, 3, H, W) float32, normalised RGB, of any size, and gives `logits` (B, C+1, H, W) float32, background first:
    one scale, no mirror image, no CRF. Its metadata holds names, mean, std and where it comes from (docs/python.md).

    Raises:
        UserError: as `wsss.predict.load`; packages are missing; `out` is there; or ONNX Runtime does not agree with PyTorch.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"onnx: {', '.join(missing)} not installed; pip install -e '.[onnx]' in the project's folder, or pip install {' '.join(missing)}")
    out = Path(out)
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there; give another name, or say --overwrite")
    refuse_stage_file(out, ".onnx")
    task, classes = trained(folder)
    network = WholeSize(loaded_network(task, classes)).eval()
    content = as_onnx(network, about(task, classes))
    agreement = min(agreements(network, content, [torch.randn(1, 3, *size, generator=_generator()) for size in SIZES]))
    if agreement < AGREE:
        raise UserError(f"{out}: not written: ONNX Runtime gives another class than PyTorch to {1 - agreement:.2%} of the pixels; try other versions of {', '.join(PACKAGES)}")
    write_bytes(out, content)
    return f"{out}: {len(content) / 2**20:.1f} MiB, {len(classes) + 1} classes; the class is PyTorch's on {agreement:.2%} of the pixels at least"


class WholeSize(nn.Module):
    """A segmentation network whose logits have the image's size, enlarged as the stage `predictions` does."""

    def __init__(self, network: SegmentationNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) -> logits (B, C+1, H, W)."""
        logits = self.network.predict_logits(image).float()
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def as_onnx(network: nn.Module, metadata: dict[str, str]) -> bytes:
    """The file's bytes. Batch, height and width are free."""
    import onnx

    free = {0: "batch", 2: "height", 3: "width"}
    example = torch.zeros(2, 3, *SIZES[0])  # a batch of one would fix the number at one
    program = torch.onnx.export(
        network, (example,), input_names=["image"], output_names=["logits"], dynamic_shapes=(free,), dynamo=True, verbose=False
    )
    assert program is not None  # with dynamo
    model = program.model_proto
    for node in model.graph.node:  # source lines of the machine that exports
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def about(task: Any, classes: list[str]) -> dict[str, str]:
    """What a reader of the file must know; all but plain words as JSON."""
    recipe = task.params["recipe"]
    return {
        "names": json.dumps(["background", *classes], ensure_ascii=False),
        "mean": json.dumps([round(float(v), 6) for v in MEAN]),
        "std": json.dumps([round(float(v), 6) for v in STD]),
        "input": "RGB / 255, minus mean, divided by std",
        "method": recipe["method"],
        "dataset": recipe["dataset"],
        "model_sha256": sha256_file(task.inputs["model"]),
        "made_by": f"wsss {__version__}",
    }


@torch.no_grad()
def agreements(network: nn.Module, content: bytes, images: list[Tensor]) -> list[float]:
    """Share of pixels with the same class in ONNX Runtime, on the CPU, and in `network`, for each of the (B, 3, H, W) images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = []
    for image in images:
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        wanted = network(image).numpy()
        found.append(float((logits.argmax(1) == wanted.argmax(1)).mean()) if logits.shape == wanted.shape and np.isfinite(logits).all() else 0.0)
    return found


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
