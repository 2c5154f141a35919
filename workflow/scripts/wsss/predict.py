"""A trained method in Python: segment one photo. For whole folders there is the stage `predict` (docs/predict.md).

    net = wsss.predict.load("results/demo/amn")
    mask = net("photo.jpg")
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsss.constants import LONG_SIDE
from wsss.data.manifest import Record
from wsss.data.transforms import resize_label
from wsss.engine.atomic import read_json
from wsss.engine.explain import plain_words
from wsss.engine.model_facts import read_facts
from wsss.engine.record import refuse_other_classes
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.nets.segmenter import SegmentationNet
from wsss.sections.predictions import Predictions
from wsss.sections.section import typed
from wsss.stages.predict import shrunk, views
from wsss.stages.predictions import Predictor, pruned, refined, trained_network
from wsss.train.device import pick_device

Photo = str | os.PathLike[str] | np.ndarray


def load(folder: str | Path, *, device: str = "auto", long_side: int = LONG_SIDE, crf: bool | None = None) -> "Segmenter":
    """The segmentation network of a finished method, as its stage `predictions` ran it: scales, mirror images, CRF, precision.

    The number of torch's CPU threads becomes that of the stage, on which the last bits of a result depend.

    Args:
        folder: results/DATASET/METHOD; DATASET's dataset.json must lie beside it.
        device: auto, cpu or cuda.
        long_side: larger photos are shrunk to it for network and CRF, as by the stage `predict`.
        crf: whether masks go through the CRF; None: as the recipe says.

    Raises:
        UserError: the folder has no finished segmentation, or files of another kind, or what is asked for is not possible.
    """
    if isinstance(long_side, bool) or not isinstance(long_side, int) or long_side < 1:
        raise UserError(f"long_side: {long_side!r} is no number of pixels; give a whole number of at least 1")
    if crf is not None and not isinstance(crf, bool):
        raise UserError(f"crf: {crf!r} is not known; give True, False, or leave it out")
    task, classes = trained(folder)
    settings = typed(task.settings, Predictions)
    if crf and settings.crf_params is None:
        raise UserError(f"{folder}: its recipe has no CRF (predictions.crf_params); leave `crf` out")
    settings = settings if crf is None else settings.model_copy(update={"crf": crf})
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: {device!r} is not known; choose auto, cpu or cuda")
    compute = task.params["compute"]
    place = pick_device(device, compute["cpu_threads"])
    return Segmenter(task, settings, trained_network(task, classes, place), place, ("background", *classes), long_side)


class Segmenter:
    """A network that makes masks of photos; `load` makes it.

    A photo is a path, read as by all stages (EXIF rotation applied), or (H, W, 3) uint8 RGB.

    Attributes:
        names: name of each value of a mask; names[0] is "background".
        network: the module behind it, with `predict_logits`.
        long_side: larger photos are shrunk to it.
    """

    def __init__(
        self, task: Task, settings: Predictions, network: SegmentationNet, device: torch.device, names: tuple[str, ...], long_side: int
    ) -> None:
        self.names, self.network, self.long_side = names, network, long_side
        self._settings, self._predictor = settings, Predictor[Record](task, settings, network, device, None)

    def __call__(self, photo: Photo) -> np.ndarray:
        """(H, W) uint8 of the photo's size: indices into `names`, never 255; pixel by pixel what the stage `predict` writes.

        Raises:
            UserError: no readable photo.
        """
        image = _pixels(photo)
        seen = shrunk(image, self.long_side)
        probs = self._probabilities(seen)
        crf = self._predictor.crf
        label = refined(seen, *pruned(probs), crf) if crf else probs.argmax(0).cpu().numpy().astype(np.uint8)
        return resize_label(label, image.shape[:2])

    def probabilities(self, photo: Photo) -> np.ndarray:
        """(C+1, h, w) float32 before the CRF, background first, at the size the network sees: the photo's, or `long_side` at most.

        Raises:
            UserError: no readable photo.
        """
        return self._probabilities(shrunk(_pixels(photo), self.long_side)).cpu().numpy()

    def _probabilities(self, image: np.ndarray) -> torch.Tensor:
        return self._predictor.probabilities(views(image, self._settings.scales))[0]


def trained(folder: str | Path) -> tuple[Task, list[str]]:
    """The task of `folder`'s stage `predictions`, with the files where they lie now, and the foreground classes.

    Raises:
        UserError: as in `load`.
    """
    if not isinstance(folder, str | os.PathLike) or "\0" in os.fspath(folder):
        raise UserError(f"{folder!r}: is no path of a folder; give results/DATASET/METHOD")
    folder = Path(folder).resolve()
    record, dataset = folder / "predictions/run.json", folder.parent / "dataset.json"
    wanted = "give results/DATASET/METHOD, after `snakemake results/DATASET/METHOD/predictions/index.json`"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {wanted}")
    try:
        missing = [path for path in (record, dataset) if not path.is_file()]
    except PermissionError as error:  # of the folder
        raise UserError(str(plain_words(error))) from error
    if missing:
        words = f"is missing, so {folder.name} has no finished segmentation here"
        raise UserError(f"{missing[0]}: {words}; {wanted}")
    facts, about = read_json(record), read_json(dataset)
    try:
        params, named = facts["params"], Path(facts["inputs"]["model"])
        classes = list(about["classes"])
        if facts["stage"] != "predictions" or not {"settings", "network", "compute"} <= set(params):
            raise KeyError("stage")
    except (TypeError, KeyError) as error:
        raise UserError(f"{record}: no record of predictions, or {dataset} no dataset's; {wanted}") from error
    refuse_other_classes(record, facts, classes, dataset)
    # The record names files from the project's folder; results may have been copied since.
    model = folder.parent.joinpath(*named.parts[-3:])
    if not model.is_file():
        raise UserError(f"{model}: is missing; {wanted}")
    if (trained_as := (read_facts(model).get("params") or {}).get("network")) not in (None, params["network"]):
        raise UserError(f"{model}: was trained as {trained_as}, and {record} was made with {params['network']}; {wanted}")
    runtime: dict[str, Any] = {"device": "auto", "workers": 0}
    return Task("predict", {"model": str(model), "dataset": str(dataset)}, {}, params, runtime), classes


def _pixels(photo: Photo) -> np.ndarray:
    if isinstance(photo, str | os.PathLike):
        return read_image(Path(photo))
    if not isinstance(photo, np.ndarray):
        raise UserError(f"photo: a {type(photo).__name__}; give the path of a file, or (H, W, 3) uint8 RGB as a NumPy array, one photo a call")
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise UserError(f"photo: an array {photo.shape} of {photo.dtype}; give (H, W, 3) uint8 RGB, or the path of a file")
    return np.asarray(photo)  # of a subclass, such as a masked array, the pixels alone
