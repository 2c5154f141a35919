"""Stage `predictions`: the segmentation network over whole images, multi-scale, flipped, with or without CRF."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from wsss.data.inference import inference_loader, shard_batches
from wsss.data.labels import require_trained_on
from wsss.data.manifest import Record, load_manifest
from wsss.data.stage_inputs import prediction_records
from wsss.engine.per_image import run_images
from wsss.engine.recovery import after_divergence
from wsss.engine.task import Task
from wsss.engine.workers import worker_pool
from wsss.errors import UserError
from wsss.io.images import read_image
from wsss.io.masks import write_mask
from wsss.io.models import load_model
from wsss.nets.fused import ready_to_infer
from wsss.nets.segmenter import SegmentationNet
from wsss.refine.crf import CrfParams, on_device, prepare, softmax_crf
from wsss.score.self_report import about_masks
from wsss.sections.predictions import Predictions
from wsss.sections.section import plain, required, typed
from wsss.stages.segmentation import build_network
from wsss.train.device import autocast, autocast_dtype
from wsss.train.start import start_device

PRUNE = 5e-3  # labels whose probability stays below it in the whole image
WAITING_BYTES = 2**29


def run(task: Task) -> None:
    """Write `{id}.png`; with CRF the mask before it is kept as `{id}.nocrf.png`."""
    settings = typed(task.settings, Predictions)
    pool = crf_pool(task, settings)  # forked before torch starts any thread of its own
    device = start_device(task)
    dataset = load_manifest(task.inputs["manifest"])
    records = prediction_records(dataset)
    predictor = RecordPredictor(task, settings, trained_network(task, dataset.classes, device), device, pool)
    batches = shard_batches(task, records, settings.batch_size)
    predicted = [records[i] for batch in batches for i in batch]
    suffixes = [".png", ".nocrf.png"] if settings.crf else [".png"]

    def work(todo: set[str]) -> Iterator[str]:
        return predictor.make(records, inference_loader(task, dataset, records, batches, todo, device, settings.scales), todo)

    diagnose = about_masks(task, predicted, dataset.classes)
    run_images(task, [r.id for r in predicted], suffixes, work, diagnose=diagnose, every=[r.id for r in records])
    if pool:
        pool.shutdown()


def crf_pool(task: Task, settings: Predictions) -> Executor | None:
    """Its processes stand when this returns; None where the recipe wants no CRF.

    The backend `torch` has one thread: it works on the network's device, which forked processes could not share.
    """
    if not settings.crf:
        return None
    params = CrfParams(**plain(required(settings.crf_params)))
    if params.backend == "torch":
        return ThreadPoolExecutor(1)
    prepare(params)
    pool = worker_pool(max(1, task.threads))
    pool.submit(int).result()
    return pool


def trained_network(task: Task, classes: Sequence[str], device: torch.device) -> SegmentationNet:
    """The segmentation network of the input `model`, ready to predict.

    Raises:
        UserError: it was trained on another class list than `classes`, the dataset's.
    """
    return ready_to_infer(loaded_network(task, classes), device, autocast_dtype(device, task.params["compute"]["precision"]))


def loaded_network(task: Task, classes: Sequence[str]) -> SegmentationNet:
    """The same as it was trained, layer by layer, which can be exported."""
    network, path = build_network(task, len(classes)), task.inputs["model"]
    facts = load_model(path, network)
    require_trained_on(path, facts, classes, task.params["recipe"]["dataset"])
    return network


class Photograph(Protocol):
    """A record, or another photo with an id."""

    @property
    def id(self) -> str: ...
    @property
    def image(self) -> Path: ...


Item = TypeVar("Item", bound=Photograph)


class Predictor(Generic[Item]):
    """Predicts batch by batch; the CRF runs in processes beside the network.

    With the CRF an image waits as the probabilities of those labels that the CRF would keep, most of the time a
    few of 81, and no more than WAITING_BYTES wait at a time.

    Attributes:
        crf: parameters of the CRF, on the network's device; None where the recipe wants none.
    """

    def __init__(
        self, task: Task, settings: Predictions, network: SegmentationNet, device: torch.device, pool: Executor | None
    ) -> None:
        self.task, self.settings, self.network, self.device, self.pool = task, settings, network, device, pool
        self.crf = on_device(CrfParams(**plain(required(settings.crf_params))), str(device)) if settings.crf else None

    def make(self, records: Sequence[Item], loader: Iterable[dict[str, Any]], todo: set[str]) -> Iterator[str]:
        """Write the masks of `todo`, yielding each id when its files stand; batches say by `index` which records they hold.

        Raises:
            UserError: probabilities that are not finite.
        """
        waiting: deque[tuple[Future, int]] = deque()
        for batch in loader:
            probs = self.probabilities(batch)
            if not torch.isfinite(probs).all():
                raise UserError(f"{self.task.inputs['model']}: its network makes no numbers of {', '.join(batch['id'])}; {after_divergence('segmentation')}")
            for row, item_id in enumerate(batch["id"]):
                if item_id not in todo:
                    continue
                record = records[batch["index"][row]]
                found = self.among(probs[row], record)
                if self.pool is None:
                    self.write(self.task.folder, record, found.argmax(0).cpu().numpy().astype(np.uint8))
                    yield item_id
                    continue
                job = (self.task.folder, record, *pruned(found), required(self.crf))
                waiting.append((self.pool.submit(self.refine, *job), job[3].nbytes))
            while waiting and (waiting[0][0].done() or self._enough(waiting)):
                yield waiting.popleft()[0].result()
        while waiting:
            yield waiting.popleft()[0].result()

    def among(self, probs: torch.Tensor, record: Item) -> torch.Tensor:
        """What is taken for the probabilities (C+1, H, W) of an image: those of all classes."""
        return probs

    @staticmethod
    def write(folder: Path, record: Item, label: np.ndarray) -> None:
        """Write the mask of an image that goes through no CRF."""
        write_mask(folder / f"{record.id}.png", label)

    @staticmethod
    def refine(folder: Path, record: Item, labels: np.ndarray, probs: np.ndarray, crf: CrfParams) -> str:
        """What the pool does with an image: `refine_one`."""
        return refine_one(folder, record, labels, probs, crf)

    def _enough(self, waiting: deque[tuple[Future, int]]) -> bool:
        return len(waiting) > 4 * self.task.threads or sum(size for _, size in waiting) > WAITING_BYTES

    @torch.inference_mode()
    def probabilities(self, batch: dict[str, Any]) -> torch.Tensor:
        """(B, C+1, H, W) float32: softmax of the logits averaged over scales and flips."""
        total: torch.Tensor | None = None
        for images in batch["scales"]:
            images = images.to(self.device, non_blocking=True)
            views = torch.cat([images, images.flip(-1)]) if self.settings.flip else images
            with autocast(self.device, self.task.params["compute"]["precision"]):
                logits = self.network.predict_logits(views.contiguous(memory_format=torch.channels_last)).float()
            if self.settings.flip:
                straight, mirrored = logits.chunk(2)
                logits = (straight + mirrored.flip(-1)) / 2
            logits = F.interpolate(logits, size=batch["size"], mode="bilinear", align_corners=False)
            total = logits if total is None else total + logits
        assert total is not None
        return (total / len(batch["scales"])).softmax(1)


class RecordPredictor(Predictor[Record]):
    """Predicts photos of the dataset; what the training lists say of a photo holds for its mask too (`known_labels`)."""

    def among(self, probs: torch.Tensor, record: Record) -> torch.Tensor:
        """Of a training photo only background and its classes, adding up to 1; one without a label shows none."""
        if not (self.settings.known_labels and "trainaug" in record.splits):
            return probs
        known = torch.zeros(len(probs), 1, 1, device=probs.device)
        known[[0, *(label + 1 for label in record.labels)]] = 1
        kept = probs * known
        return kept / kept.sum(0).clamp_min(torch.finfo(probs.dtype).tiny)


def pruned(probs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The labels that count in an image, (K,), and their probabilities, (K, H, W), of (C+1, H, W).

    Those left out stay below PRUNE everywhere: the CRF drops them itself, and none of them wins a pixel, since
    with at most 1 / PRUNE labels the winner has at least PRUNE.
    """
    peaks = probs.amax((1, 2)).cpu().numpy()
    kept = np.flatnonzero(peaks >= PRUNE) if len(probs) * PRUNE < 1 else np.arange(len(probs))
    return kept, probs[torch.from_numpy(kept).to(probs.device)].cpu().numpy()


def refine_one(folder: Path, record: Photograph, labels: np.ndarray, probs: np.ndarray, crf: CrfParams) -> str:
    """Write the mask before the CRF and after it; labels and probabilities as `pruned` gives them. Returns the id."""
    write_mask(folder / f"{record.id}.nocrf.png", labels[probs.argmax(0)].astype(np.uint8))
    write_mask(folder / f"{record.id}.png", refined(read_image(record.image), labels, probs, crf))
    return record.id


def refined(image: np.ndarray, labels: np.ndarray, probs: np.ndarray, crf: CrfParams) -> np.ndarray:
    """(H, W) uint8 after the CRF, of the image (H, W, 3) uint8; labels and probabilities as `pruned` gives them."""
    return labels[softmax_crf(image, probs, crf, PRUNE)].astype(np.uint8)
