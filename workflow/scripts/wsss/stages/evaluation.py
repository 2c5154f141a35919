"""Stage `evaluation`: score every mask a method made; one pass over the CAMs gives all thresholds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.data.stage_inputs import input_index
from wsss.engine.atomic import drop_temporaries, read_json, write_text
from wsss.engine.explain import for_people
from wsss.engine.index import file_of
from wsss.engine.model_facts import read_facts
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.found import BY_SCORES, CUT_OF, FOUND, MAP, Cut, found_cut, seed_rule, settle, value_of
from wsss.io.cam_forms import UNKNOWN_SCALES
from wsss.io.cams import SUFFIX as CAM
from wsss.io.masks import CONFIDENT, read_mask
from wsss.refine.background import argmax_labels, background
from wsss.score.cams_to_cut import cams_to_cut
from wsss.score.confusion import confusion, summarise
from wsss.score.cuts import Scores
from wsss.score.per_image import PerImage, counts_of
from wsss.score.shapes import Shapes
from wsss.score.sweep import Sweep, SweepResult, default_values
from wsss.score.thresholds import chosen, map_stage, seed_stage
from wsss.score.write import write_miou, write_scores, write_sweep
from wsss.sections.evaluation import Evaluation
from wsss.sections.section import typed

# Of a record, and the size (H, W) of its ground truth: the mask that was made, and what an error calls it.
Made = Callable[[Record, tuple[int, int]], tuple[np.ndarray, str]]


def run(task: Task) -> None:
    """Write miou.txt, scores.json, sweep.csv and per_image.csv."""
    dataset = load_manifest(task.inputs["manifest"])
    scorer = Scorer(task, dataset)
    stages = scorer.stages()
    name = task.params["recipe"]["method"]
    write_scores(task.outputs["scores"], dataset.name, name, stages)
    write_miou(task.outputs["miou"], dataset.name, name, stages)
    scorer.per_image.write(task.outputs["per_image"])
    drop_temporaries(task.folder, [Path(path).name for path in task.outputs.values()])  # `diagnosis` writes here too
    task.write_record()


class Scorer:
    """Scores the stages whose index is among the task's inputs."""

    def __init__(self, task: Task, dataset: Dataset) -> None:
        self.task, self.dataset, self.per_image = task, dataset, PerImage()
        self.settings = typed(task.settings, Evaluation)
        self.train = tuple(r for r in dataset.split("train") if r.mask is not None)
        self.val = tuple(r for r in dataset.split("val") if r.mask is not None)
        of_training = {"cam", "pseudo_masks"} & set(task.inputs)  # imported pseudo-masks have no CAM
        scored = (self.val and "predictions" in task.inputs) or (self.train and of_training)
        if not scored:
            lacking = "val" if self.train else "training" if self.val else ""
            what = for_people(f"no {lacking} images with masks" if lacking else "no ground-truth masks")
            raise UserError(
                f"{dataset.name}: {what}, so there is no mIoU; "
                f"ask for results/{dataset.name}/{task.params['recipe']['method']}/predictions/index.json"
            )

    def stages(self) -> dict[str, Any]:
        """The `stages` of scores.json."""
        stages: dict[str, Any] = {}
        write_text(self.task.outputs["sweep"], "threshold,miou,precision,recall\n")
        if self.train and "cam" in self.task.inputs:
            stages["seed"] = self._seed()
        if self.train and "seeds" in self.task.inputs:
            stages["refined_seed"] = self._masks("refined_seed", "seeds", self.train, CONFIDENT, **self._crf("seeds", "unary"), **self._cut("seeds"))
        if self.train and "pseudo_masks" in self.task.inputs:
            refine = self.task.params["refine"]
            crf = self._crf("pseudo_masks", "crf_unary") if refine in ("crf", "imported") else {"crf": False}
            facts = {**crf, "refine": refine, **self._cut("pseudo_masks")}
            facts["weights"] = self._weights("classifier", "affinity")
            stages["pseudo_mask"] = self._masks("pseudo_mask", "pseudo_masks", self.train, ".png", **facts)
        if self.val and "predictions" in self.task.inputs:
            stages |= self._segmentation()
        return stages

    def _seed(self) -> dict[str, Any]:
        stage = self._beside_map() if self.settings.policy == MAP else self._cut_seed()
        origin = self._origin("cam", self.train, crf=False, multi_scale=_scales(read_json(self.task.inputs["cam"])["scales"]))
        for block in [stage, *(v for v in stage.values() if isinstance(v, dict) and "provenance" in v)]:
            block["provenance"] = {**origin, **block["provenance"]}
        return stage

    def _beside_map(self) -> dict[str, Any]:
        """The seed of CAMs with a background map: one figure, for there is no threshold to sweep."""
        rule = settle(self.settings.bg)
        cams = cams_to_cut(self.task, self.train, self.settings.bg)

        def seed(record: Record, size_hw: tuple[int, int]) -> np.ndarray:
            cam, bg_map = cams.both_at(record, size_hw)
            return argmax_labels(cam, background(cam, *rule, bg_map), record.labels)

        def made(record: Record, size_hw: tuple[int, int]) -> tuple[np.ndarray, str]:
            return seed(record, size_hw), str(file_of(self.task.inputs["cam"], record.id, CAM))

        total, shapes = self._total("seed_map", self.train, made)
        return map_stage(total, self.dataset.classes, rule.value, shapes)

    def _cut_seed(self) -> dict[str, Any]:
        rule, policy = settle(self.settings.bg), self.settings.policy
        found = found_cut(self.task.inputs) if policy == FOUND else None
        taken = settle(seed_rule(self.settings.bg, policy), found).value  # the recipe's, unless the policy is `found`
        result, cut, shapes = self._swept(rule.kind, rule.value, shown=taken)
        self._require_truth(result.confusion[0], self.train)
        write_sweep(self.task.outputs["sweep"], result, self.dataset.classes)
        found = found or cut  # else what would be found on the scored images, for comparison
        value = None if found is None else taken if policy == FOUND else result.nearest(value_of(rule.kind, found.value))
        at = {"seed_fixed": result.index(rule.value), "seed_best": result.best()}
        at |= {} if value is None else {"seed_found": result.index(value)}
        for figure, position in at.items():
            for record, image in zip(self.train, result.images, strict=True):
                self.per_image.add(figure, record.id, *image.at(result.rank[position]))
        return seed_stage(result, self.dataset.classes, rule.value, policy, value, found.by if found else BY_SCORES, shapes)

    def _swept(self, kind: str, fixed: float, shown: float) -> tuple[SweepResult, Cut | None, dict[str, Any]]:
        """Over the scored images: the sweep, which has the values `fixed` and `shown` too; the cut found on them, or None; figures of shapes at `shown`."""
        cams, scores = cams_to_cut(self.task, self.train, self.settings.bg), Scores()
        sweep = Sweep(self.dataset.num_classes, kind, default_values(kind, [fixed, shown]))
        shapes = Shapes(self.dataset.num_classes + 1)
        for record in self.train:
            gt, name = read_mask(_truth(record)), str(file_of(self.task.inputs["cam"], record.id, CAM))
            cam = cams.at(record, gt.shape)
            sweep.add(cam, record.labels, gt, name)
            scores.add(cam, name)
            shapes.add(gt, argmax_labels(cam, background(cam, kind, shown), record.labels))
        cut = scores.cut()
        return sweep.result(), None if cut is None else Cut(cut, BY_SCORES), shapes.result()

    def _crf(self, name: str, key: str) -> dict[str, Any]:
        """That masks went through the seeds' CRF, and what that started from, as `key` of their index says; imported ones say nothing."""
        index = read_json(self.task.inputs[name])
        return {"crf": True, "crf_unary": index[key]} if key in index else {"crf": "not known"}

    def _cut(self, name: str) -> dict[str, Any]:
        """How masks made from CAMs were cut, as their index says, and on which scales; {} where it says nothing, as of imported ones."""
        index = read_json(self.task.inputs[name])
        rule = index.get(CUT_OF[name])
        if rule is None:
            return {}
        policy = FOUND if "by" in rule else MAP if rule["kind"] == MAP else "fixed"
        return {
            **chosen(rule["kind"], rule["value"], policy, rule.get("by", BY_SCORES)),
            **({"threshold_shift": rule["shift"]} if rule.get("shift") else {}),
            "multi_scale": _scales(index["scales"] or UNKNOWN_SCALES),
        }

    def _masks(self, figure: str, name: str, records: tuple[Record, ...], suffix: str, **facts: Any) -> dict[str, Any]:
        input_index(self.task, name, records)

        def made(record: Record, size_hw: tuple[int, int]) -> tuple[np.ndarray, str]:
            path = file_of(self.task.inputs[name], record.id, suffix)
            return read_mask(path), str(path)

        total, shapes = self._total(figure, records, made)
        origin = self._origin(name, records, **facts)
        return {**summarise(total, self.dataset.classes), **shapes, "provenance": origin}

    def _total(self, figure: str, records: tuple[Record, ...], made: Made) -> tuple[np.ndarray, dict[str, Any]]:
        """One confusion matrix over all images, (n, n + 1) int64, and figures of shapes; counts of single images go into per_image.csv."""
        labels = self.dataset.num_classes + 1
        total, shapes = np.zeros((labels, labels + 1), np.int64), Shapes(labels)
        for record in records:
            gt = read_mask(_truth(record))
            mask, name = made(record, gt.shape)
            found = confusion(gt, mask, labels, name)
            self.per_image.add(figure, record.id, *counts_of(found))
            shapes.add(gt, mask)
            total += found
        self._require_truth(total, records)
        return total, shapes.result()

    def _require_truth(self, total: np.ndarray, records: tuple[Record, ...]) -> None:
        if not total.any():
            split = "train" if records is self.train else "val"
            raise UserError(
                f"{self.dataset.name}: every pixel of the {len(records)} masks of {split} is 255 (ignore), so nothing can be "
                f"scored; look at {_truth(records[0]).parent}: 0 is background, 1 to {self.dataset.num_classes} are the classes"
            )

    def _segmentation(self) -> dict[str, Any]:
        index = read_json(self.task.inputs["predictions"])
        tested = self.task.params["test_scales"]
        facts = {
            "multi_scale": _scales(tested["scales"], tested["flip"]),
            "weights": self._weights("segmentation"),
            "backbone": self.task.params["backbones"]["segmentation"],
            "network": self.task.params["segmenter"],
        }
        if ".nocrf.png" not in index["suffixes"]:
            return {"segmentation": self._masks("segmentation", "predictions", self.val, ".png", crf=False, **facts)}
        return {
            "segmentation": self._masks("segmentation", "predictions", self.val, ".nocrf.png", crf=False, **facts),
            "segmentation_crf": self._masks("segmentation_crf", "predictions", self.val, ".png", crf=True, **facts),
        }

    def _weights(self, *networks: str) -> str:
        """What networks started from, as their models say; one that started from another one adds nothing."""
        models = [self.task.inputs[name] for name in networks if name in self.task.inputs]
        found = {read_facts(path)["initial_weights"] for path in models}
        return "; ".join(sorted(found - {"the trained classifier"})) or "not known"

    def _origin(self, name: str, records: tuple[Record, ...], **facts: Any) -> dict[str, Any]:
        split = "train" if records is self.train else "val"
        imported = self.task.params["imported"].get(name)
        return {
            **({"imported": imported} if imported else {}),
            "split": f"{split} ({len(records)} images)",
            "ground_truth": _truth(records[0]).parent.name,
            "rule_255": "background",
            "weights": self._weights("classifier"),
            "supervision": self.task.params["supervision"],
            "backbone": self.task.params["backbones"].get("classifier"),
            "seed": self.task.params["seed"],
            "code_version": self.task.params["chain_code"],
            **read_json(self.task.inputs["dataset"])["builder"].get("provenance", {}),
            **facts,
        }


def _scales(scales: list[float] | str, flip: bool = True) -> str:
    """Scales in words; CAMs are always of mirror images too. Those of imported CAMs are a word that they are not known."""
    mirrored = for_people(", with mirror images") if flip else ""
    return scales if isinstance(scales, str) else f"{', '.join(map(str, scales))}{mirrored}"


def _truth(record: Record) -> Path:
    """The mask of an image that is scored."""
    assert record.mask is not None  # the others are left out at the start
    return record.mask
