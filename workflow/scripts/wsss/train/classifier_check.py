"""The classifier's check: its loss, mAP and F1 on photos that it has not trained on, into `check.json`.

Photos of val with labels are used where there are enough; else `classifier.held_out` keeps a share out of the training;
else a logistic regression on the trunk's ImageNet features is cross-fitted, which says whether the labels can be told
at all. What the trained network reaches on its own training photos stands beside it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from wsss.data.forked_loader import forked_loader
from wsss.data.held_out import hold_out, sample
from wsss.data.manifest import Dataset, Record
from wsss.data.transforms import Geometry
from wsss.engine.task import Task
from wsss.io.images import read_image
from wsss.methods.base import Method
from wsss.score.ranking import guess_loss, mean_average_precision, mean_f1, soft_margin
from wsss.sections.classifier import Classifier
from wsss.sections.section import typed
from wsss.train.cross_fit import FOLDS, cross_fitted
from wsss.train.device import autocast

log = logging.getLogger(__name__)
FEW = 100  # below so many labelled photos none is kept out
LEAST_VAL = 20  # with fewer photos of val another way is taken where there is one
MOST, MOST_FITTED, MOST_TRAINED = 500, 200, 100  # photos that are looked at: not seen, cross-fitted, trained on
ENOUGH, ENOUGH_A_CLASS = 100, 5  # photos kept out, whatever the share: more would only be missing from the training
BATCH, LAST = 8, 20


@dataclass(frozen=True)
class CheckSplit:
    """Which records are trained on and which checked, and how: val | held_out | cross_fit | none, with `why` where it is none."""

    how: str
    training: tuple[Record, ...]
    checked: tuple[Record, ...] = ()
    why: str = ""


def split_for_check(task: Task, dataset: Dataset, records: tuple[Record, ...], image_logits: bool, share: float) -> CheckSplit:
    """Which of the labelled training `records` are trained on, and what is checked; `share` of them may be kept out for that."""
    seed = task.params["seed"]
    val = [r for r in dataset.split("val") if r.labels]
    if not image_logits:
        return CheckSplit("none", records, why=f"net {task.params['recipe']['net']} says nothing of whole images")
    if len(val) >= LEAST_VAL:
        return CheckSplit("val", records, tuple(sample(val, MOST, seed)))
    if share and len(records) >= FEW:
        enough = min(MOST, max(ENOUGH, ENOUGH_A_CLASS * dataset.num_classes))
        held = tuple(hold_out(records, min(share, enough / len(records)), seed))
        ids = {record.id for record in held}
        if held:  # else all classes are rare, and each keeps its photos
            return CheckSplit("held_out", tuple(r for r in records if r.id not in ids), held)
    if val and ("weights" not in task.inputs or len(records) < 2 * FOLDS):
        return CheckSplit("val", records, tuple(val))
    if "weights" not in task.inputs:
        return CheckSplit("none", records, why=f"{_lack(share, len(records))}, and there are no pretrained weights to cross-fit on")
    if len(records) < 2 * FOLDS:
        return CheckSplit("none", records, why=f"{len(records)} labelled photos are too few to say anything by")
    return CheckSplit("cross_fit", records, tuple(sample(records, MOST_FITTED, seed)))


def _lack(share: float, photos: int) -> str:
    few = f"{photos} labelled photos are too few to keep some out" if share else "classifier.held_out is 0"
    return f"there are no {LEAST_VAL} labelled photos of val, {few}"


def check(
    task: Task, dataset: Dataset, split: CheckSplit, method: Method, history: list[dict[str, float]],
    device: torch.device, start: Callable[[], Method],
) -> dict[str, Any]:  # fmt: skip
    """The facts of a trained network.

    Args:
        method: trained, in evaluation mode.
        history: a row a step.
        start: makes the network as it was before the training, for the cross-fit.
    """
    examiner = Examiner(task, dataset, device)
    facts = {"how": split.how, **training_facts(task, dataset, split, history)}
    if method.spec.image_logits:
        seen = sample(split.training, MOST_TRAINED, task.params["seed"])
        facts["training"] |= figures(examiner.logits(method, seen), examiner.labels(seen), examiner.labels(split.training))
    facts |= {"why": split.why} if split.how == "none" else _checked(examiner, split, method, start)
    log.info("classifier: check %s", facts)
    return facts


def _checked(examiner: "Examiner", split: CheckSplit, method: Method, start: Callable[[], Method]) -> dict[str, Any]:
    """Figures on photos that what gives them has not trained on."""
    y = examiner.labels(split.checked)
    if split.how == "cross_fit":
        features = examiner.features(start().to(examiner.device).eval(), split.checked)
        logits = cross_fitted(torch.from_numpy(features), torch.from_numpy(y)).numpy()
    else:
        logits = examiner.logits(method, split.checked)
    return figures(logits, y, examiner.labels(split.training))


def figures(logits: np.ndarray, y: np.ndarray, training: np.ndarray) -> dict[str, Any]:
    """Loss, mAP and F1 (percent) of (N, C) logits, beside what guessing by the training photos' classes would give."""
    found, chance, classes = mean_average_precision(logits, y)
    f1 = mean_f1(logits, y)
    return {
        "photos": len(y),
        "classes": classes,
        "loss": round(soft_margin(logits, y), 4),
        "guess_loss": round(guess_loss(training, y), 4),
        "map": None if found is None else round(found, 2),
        "guess_map": None if chance is None else round(chance, 2),
        "f1": None if f1 is None else round(f1, 2),
    }


def training_facts(task: Task, dataset: Dataset, split: CheckSplit, history: list[dict[str, float]]) -> dict[str, Any]:
    """What was trained on and how long, and how many photos each class has there, with others and alone."""
    last, batch = history[-LAST:], typed(task.settings, Classifier).batch_size
    name = next(name for name in ("cls", "base", "total") if name in last[0])  # base: without a wrapper's own
    counts = Counter(k for record in split.training for k in record.labels)
    alone = Counter(record.labels[0] for record in split.training if len(record.labels) == 1)
    steps, photos = len(history), len(split.training)
    return {
        "trained": {
            "photos": photos,
            "steps": steps,
            "batch_size": batch,
            "passes": round(steps * batch / photos, 2),
            "last_loss": round(sum(row[name] for row in last) / len(last), 4),
            "unlabelled": sum(not r.labels for r in dataset.split("trainaug")),
            "photos_of": {name: counts[k] for k, name in enumerate(dataset.classes)},
            "alone_in": {name: alone[k] for k, name in enumerate(dataset.classes)},
        },
        "training": {},
    }


class Examiner:
    """Whole photos in the classifier's square, unchanged but for their size."""

    def __init__(self, task: Task, dataset: Dataset, device: torch.device) -> None:
        self.task, self.dataset, self.device = task, dataset, device

    def labels(self, records: Sequence[Record]) -> np.ndarray:
        """(N, C) float32 of 0 and 1."""
        return np.stack([self.dataset.multi_hot(record) for record in records])

    def logits(self, method: Method, records: Sequence[Record]) -> np.ndarray:
        """(N, C) float32."""
        return self._over(records, lambda image: method({"image": image}, frozenset({"logits"})).logits)

    def features(self, method: Method, records: Sequence[Record]) -> np.ndarray:
        """(N, d) float32: the trunk's last map, averaged over cells."""
        return self._over(records, lambda image: method.backbone(image)[-1].mean((-2, -1)))

    @torch.inference_mode()
    def _over(self, records: Sequence[Record], network: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        found = []
        for image in self._loader(records):
            with autocast(self.device, self.task.params["compute"]["precision"]):
                seen = network(image.to(self.device, memory_format=torch.channels_last))
            found.append(seen.float().cpu().numpy())
        return np.concatenate(found)

    def _loader(self, records: Sequence[Record]) -> DataLoader:
        samples = Whole(records, typed(self.task.settings, Classifier).augmentation.crop)
        return forked_loader(samples, self.task.loader_workers(len(records)), batch_size=BATCH)


class Whole(torch.utils.data.Dataset):
    """`self[i]`: (3, crop, crop) float32, the photo's long side at `crop`, the mean colour around it."""

    def __init__(self, records: Sequence[Record], crop: int) -> None:
        self.records, self.crop = records, crop

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = read_image(self.records[index].image)
        factor = self.crop / max(image.shape[:2])
        size = max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))
        offset = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        return torch.from_numpy(Geometry(size, False, self.crop, offset).image(image))
