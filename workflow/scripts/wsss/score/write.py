"""Score files: scores.json for programs, miou.txt for people, sweep.csv for plots.

They hold no clock and no host name, so that equal results are equal files.
"""

import csv
import io
from pathlib import Path

import numpy as np

from wsss.data.text import as_cell, shown
from wsss.engine.atomic import write_json, write_text
from wsss.errors import UserError
from wsss.score.sweep import SweepResult

STAGES = {
    "seed": "seed",
    "refined_seed": "refined seed",
    "pseudo_mask": "pseudo-mask",
    "segmentation": "segmentation",
    "segmentation_crf": "segmentation + CRF",
}
PROVENANCE = {
    "split": "split",
    "ground_truth": "ground truth",
    "rule_255": "pixels predicted 255 count as",
    "threshold": "threshold",
    "threshold_policy": "threshold policy",
    "crf": "CRF",
    "crf_unary": "CRF starts from",
    "multi_scale": "multi-scale",
    "weights": "initial weights",
    "seed": "seed",
    "code_version": "code",
    "classes_in_mean": "classes in the mean",
}
RATES = {
    "mfpr": "mFPR",
    "mfnr": "mFNR",
    "confusion_ratio": "FP/TP",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
}
SHOWN_CONFUSIONS = 5
REDUNDANT = {"threshold_chosen_by", "threshold_uses_ground_truth"}  # the policy's name says it


def headline(stages: dict) -> str:
    """Name of the stage whose mIoU is the score of the whole chain: the last one there is."""
    known = [name for name in STAGES if name in stages]
    unknown = sorted(set(stages) - set(STAGES))
    if unknown or not known:
        raise UserError(f"scores: stages {unknown or 'missing'}; give at least one of {', '.join(STAGES)}")
    return known[-1]


def write_scores(path, dataset: str, method: str, stages: dict) -> None:
    """Write scores.json: {"dataset", "method", "miou", "stages"}, percent, four decimals."""
    miou = stages[headline(stages)]["miou"]
    write_json(Path(path), _rounded({"dataset": dataset, "method": method, "miou": miou, "stages": stages}))


def write_miou(path, dataset: str, method: str, stages: dict) -> None:
    """Write miou.txt: the score, then a row per stage, a row per class, and where each figure comes from."""
    blocks = [_head(stages), [f"dataset {dataset}, method {method}; all figures in percent"]]
    blocks += [_stage_rows(stages), *_seed_rows(stages), *_pxap_rows(stages), _class_rows(stages)]
    blocks += [_rate_rows(stages), *_shape_rows(stages), *_confusion_rows(stages), _provenance_rows(stages)]
    write_text(Path(path), "\n\n".join("\n".join(block) for block in blocks) + "\n")


def write_sweep(path, result: SweepResult, classes) -> None:
    """Write sweep.csv: threshold, miou, precision, recall, then a column per label, percent, four decimals.

    For background "power" the column `threshold` holds alpha. A figure nothing defines is an empty cell.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["threshold", "miou", "precision", "recall", "background", *map(as_cell, classes)])
    figures = np.column_stack([result.miou, result.precision, result.recall, result.per_class])
    for value, row in zip(result.values, figures, strict=True):
        table.writerow([f"{value:.6g}", *("" if np.isnan(x) else f"{x:.4f}" for x in row)])
    write_text(Path(path), out.getvalue())


def provenance_line(provenance: dict) -> str:
    """One line of plain words; keys without a place of their own follow at the end."""
    rest = sorted(set(provenance) - set(PROVENANCE) - REDUNDANT)
    keys = [*(key for key in PROVENANCE if key in provenance), *rest]
    return "; ".join(f"{name_of(key)} {plain_words(provenance[key])}" for key in keys)


def name_of(key: str) -> str:
    """A key of provenance as people read it."""
    return PROVENANCE.get(key, key.replace("_", " "))


def _head(stages):
    final = headline(stages)
    lines = [f"mIoU: {_figure(stages[final]['miou'])}"]
    if final == "segmentation_crf" and "segmentation" in stages:
        lines.append(f"without test-time CRF: {_figure(stages['segmentation']['miou'])}")
    elif not final.startswith("segmentation"):
        lines.append(f"of the {STAGES[final]} (no segmentation score)")
    return lines


def _stage_rows(stages):
    head = ["stage", "mIoU", "precision", "recall", "coverage", "255 wrong", "255 left out", "split"]
    rows = [
        [STAGES[name], *map(_figure, _main_figures(stages[name])), _source(stages[name]).get("split", "-")]
        for name in STAGES
        if name in stages
    ]
    return _columns([head, *rows])


def _main_figures(block):
    by_rule = block["miou_by_rule"]
    return [*(block[key] for key in ("miou", "precision", "recall", "coverage")), by_rule["wrong"], by_rule["left_out"]]


def _shape_rows(stages):
    there = [name for name in STAGES if "boundary_iou" in stages.get(name, {})]
    if not there:
        return []
    sizes = list(stages[there[0]]["size_iou"])
    head = ["shapes", "boundary IoU", *(f"IoU of {size} objects" for size in sizes)]
    rows = [[STAGES[name], _figure(stages[name]["boundary_iou"]), *(_of_size(stages[name], size) for size in sizes)] for name in there]
    return [_columns([head, *rows])]


def _of_size(block, size):
    return f"{_figure(block['size_iou'][size])} ({block['objects'][size]})"


def _seed_rows(stages):
    blocks = {k: v for k, v in stages.get("seed", {}).items() if isinstance(v, dict) and "miou" in v}
    if not blocks:
        return []
    facts = {name: _source(block) for name, block in blocks.items()}
    rows = [
        [
            name,
            str(facts[name].get("threshold", "-")),
            _figure(b["miou"]),
            facts[name].get("threshold_chosen_by"),
        ]
        for name, b in sorted(blocks.items())
    ]
    return [_columns([["seed by threshold policy", "threshold", "mIoU", "what it is"], *rows])]


def _pxap_rows(stages):
    found = stages.get("seed", {}).get("pxap_per_class")
    if not found:
        return []
    absent = [name for name, value in found.items() if value is None]
    lines = [f"PxAP of the seed, over all thresholds: {_figure(stages['seed']['pxap'])}, the mean over {len(found) - len(absent)} classes"]
    return [lines + ([f"without those that no scored image has: {shown(', '.join(absent))}"] if absent else [])]


def _rate_rows(stages):
    rows = [
        [STAGES[name], *(_figure(stages[name].get(key), 2 if key == "confusion_ratio" else 1) for key in RATES)]
        for name in STAGES
        if name in stages
    ]
    return _columns([["what is lost", *RATES.values()], *rows])


def _confusion_rows(stages):
    stage = headline(stages)
    pairs = stages[stage].get("top_confusions", [])[:SHOWN_CONFUSIONS]
    head = [f"top confusions, {STAGES[stage]}", "taken for", "% of the union", "of class"]
    rows = [[pair["truth"], pair["taken_for"], _figure(pair["percent"]), pair["of"]] for pair in pairs]
    return [_columns([head, *rows])] if rows else []


def _class_rows(stages):
    there = [name for name in STAGES if name in stages]
    classes = sorted(stages[there[0]]["per_class"], key=lambda c: c != "background")
    rows = [[c, *(_figure(stages[s]["per_class"].get(c)) for s in there)] for c in classes]
    return _columns([["IoU per class", *(STAGES[s] for s in there)], *rows])


def _provenance_rows(stages):
    there = [name for name in STAGES if name in stages]
    lines = [f"{STAGES[s]}: {provenance_line(_source(stages[s]))}" for s in there]
    return ["where the figures come from", *lines]


def _source(block):
    there = {"classes_in_mean": block["classes_in_mean"]} if "classes_in_mean" in block else {}
    return {**there, **block.get("provenance", {})}


def _columns(rows):
    """Align: columns of figures to the right, of words to the left."""
    cells = [[shown(str(cell)) for cell in row] for row in rows]
    lines = []
    for column in zip(*cells, strict=True):
        width = max(map(len, column))
        is_right = all(map(_is_figure, column[1:]))
        lines.append([cell.rjust(width) if is_right else cell.ljust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*lines, strict=True)]


def _is_figure(text):
    return text.replace(".", "", 1).replace("-", "", 1).isdigit() or text == "-"


def _figure(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def plain_words(value):
    """A value of provenance as people read it."""
    if isinstance(value, list | tuple):
        return ", ".join(str(plain_words(v)) for v in value) or "none"
    return {"True": "yes", "False": "no", "None": "-"}.get(str(value), value)


def _rounded(obj):
    if isinstance(obj, float):
        return round(obj, 4) if np.isfinite(obj) else None
    if isinstance(obj, dict):
        return {k: _rounded(v) for k, v in obj.items()}
    return [_rounded(v) for v in obj] if isinstance(obj, list | tuple) else obj
