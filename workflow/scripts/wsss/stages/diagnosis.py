"""Stage `diagnosis`: what a method's masks and classifiers say of themselves, without ground truth, and what to change."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.digests import masks_digest
from wsss.data.held_out import sample
from wsss.data.manifest import Dataset, Record, load_manifest
from wsss.engine.atomic import drop_temporaries, read_json, write_json, write_text
from wsss.engine.index import file_of, read_index
from wsss.engine.task import Task
from wsss.found import CUT_OF, cut_key, found_cut, settle
from wsss.io.images import image_size
from wsss.io.masks import read_mask
from wsss.refine.background import argmax_labels, background
from wsss.report.diagnosis import in_words
from wsss.rownames import base_name, row_name
from wsss.score.cams_to_cut import cams_to_cut
from wsss.score.diagnosis import diagnose
from wsss.score.mask_facts import Agreement, facts_of
from wsss.sections.background import Background
from wsss.sections.section import typed

log = logging.getLogger(__name__)
STAGES = ("seeds", "ir_labels", "pseudo_masks", "predictions")
PAIRS = (("seed", "seeds"), ("seeds", "pseudo_masks"), ("pseudo_masks", "predictions"))
MOST_SEEDS, MOST_PAIRS = 100, 500  # photos whose CAMs are cut, and whose masks are compared


def run(task: Task) -> None:
    """Write diagnosis.json and diagnosis.txt; warnings end as one line on the terminal."""
    dataset = load_manifest(task.inputs["manifest"])
    checks = {}
    for name, path in task.inputs.items():
        kind, _, recipe = name.partition("_")
        if kind.startswith("check"):  # check1_eps, check2_eps: the networks of eps
            checks[row_name(recipe, 0, int(kind.removeprefix("check")))] = of_todays_masks(read_json(path), dataset)
    facts = {
        "classifier": chosen_check(checks, task.params["recipe"]["method"]),
        "classifiers": checks,
        **Masks(task, dataset).facts(),
    }
    lines = diagnose(facts)
    content = {"dataset": dataset.name, "method": task.params["recipe"]["method"], "warnings": lines, **facts}
    write_json(task.outputs["diagnosis"], content)
    write_text(task.outputs["text"], in_words(content))
    task.record.write(task.output.with_suffix(".run.json"), inputs=task.inputs)  # run.json there is the evaluation's
    drop_temporaries(task.folder, ["diagnosis."])
    log.info("diagnosis: %s", facts)
    if lines:
        words = f"{len(lines)} warning{'s' * (len(lines) > 1)}, see {task.outputs['text']}; first: {lines[0]}"
        log.warning("%s/%s: %s", dataset.name, content["method"], words)


def of_todays_masks(check: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """A classifier's check without the accuracy of pseudo-labels, where it was counted by other masks than today's."""
    counted = check.get("pseudo_labels")
    if not counted:
        return check
    records = {record.id: record for record in dataset.records}
    ids = counted.get("ids", [])
    if all(i in records for i in ids) and masks_digest(records[i] for i in ids) == counted.get("masks"):
        return check
    log.info("the accuracy of pseudo-labels was counted by other masks; it is left out")
    return {name: value for name, value in check.items() if name != "pseudo_labels"}


def chosen_check(checks: dict[str, Any], method: str) -> dict[str, Any] | None:
    """The method's own check where it has figures, else that of a classifier it rests on; `of` says whose."""
    own = [name for name in checks if name == base_name(method)]
    order = own + sorted(set(checks) - set(own))
    telling = [name for name in order if checks[name]["how"] != "none"]
    name = next(iter(telling or order), None)
    return None if name is None else {**checks[name], "of": name}


class Masks:
    """The masks of those stages whose index is among the task's inputs, each read no more than three times."""

    def __init__(self, task: Task, dataset: Dataset) -> None:
        self.task, self.dataset = task, dataset
        self.records = {name: self._records(name) for name in STAGES if name in task.inputs}
        if "cam" in task.inputs:
            few = sample(dataset.split("trainaug"), MOST_SEEDS, 0)
            bg = typed(task.params["bg"], Background)
            self.cams, self.bg = cams_to_cut(task, few, bg), settle(bg, found_cut(task.inputs))
            self.records["seed"] = few

    def facts(self) -> dict[str, Any]:
        """`stages` and `agreement` of `wsss.score.diagnosis`."""
        stages = {}
        for name in (n for n in STAGES if n in self.records):
            cut = self._cut(name)
            found = facts_of(self.records[name], self.dataset.classes, partial(self._path, name))
            stages[name] = {**found, **({"cut": cut} if cut else {})}
        pairs = [self._agreement(*pair) for pair in PAIRS if set(pair) <= set(self.records)]
        return {"stages": stages, "agreement": [pair for pair in pairs if pair["photos"]]}

    def _cut(self, name: str) -> dict[str, Any] | None:
        """Key, kind and value of the background that masks were cut at, as their index says; None where it says nothing, as of imported ones."""
        index = read_json(self.task.inputs[name])
        rule = index.get(CUT_OF.get(name, ""))
        return {"key": cut_key(name, index.get("refine", "")), **rule} if rule else None

    def _records(self, name: str) -> list[Record]:
        ids = set(read_json(self.task.inputs[name]).get("ids", []))
        found = [record for record in self.dataset.records if record.id in ids]
        read_index(self.task.inputs[name], [record.id for record in found])
        return found

    def _agreement(self, one: str, other: str) -> dict[str, Any]:
        ids = {record.id for record in self.records[other]}
        shared = sample([record for record in self.records[one] if record.id in ids], MOST_PAIRS, 0)
        found = Agreement(self.dataset.num_classes)
        for record in shared:
            found.add(self._mask(one, record), self._mask(other, record), str(self._path(other, record)))
        return {"of": [one, other], "miou": found.result(), "photos": len(shared)}

    def _mask(self, name: str, record: Record) -> np.ndarray:
        if name != "seed":
            return read_mask(self._path(name, record))
        cam, bg_map = self.cams.both_at(record, image_size(record.image))
        return argmax_labels(cam, background(cam, *self.bg, bg_map), record.labels)

    def _path(self, name: str, record: Record) -> Path:
        return file_of(self.task.inputs[name], record.id, ".png")
