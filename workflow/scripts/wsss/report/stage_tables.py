"""A method's figures, stage by stage: those of the mean IoU, and the further ones."""

from typing import Any

from wsss.report.cells import Cell, Table, dig, figure, over_seeds
from wsss.report.tables import Method
from wsss.score.write import STAGES

MAIN = {  # heading -> where the figure stands in scores.json
    "mIoU": ("miou",),
    "precision": ("precision",),
    "recall": ("recall",),
    "coverage": ("coverage",),
    "mIoU, 255 wrong": ("miou_by_rule", "wrong"),
    "mIoU, 255 left out": ("miou_by_rule", "left_out"),
}
FURTHER = {
    "mFPR": ("mfpr",),
    "mFNR": ("mfnr",),
    "FP/TP": ("confusion_ratio",),
    "pixel accuracy": ("pixel_accuracy",),
    "mean accuracy": ("mean_accuracy",),
    "PxAP": ("pxap",),
    "boundary IoU": ("boundary_iou",),
    "small objects": ("size_iou", "small"),
    "medium": ("size_iou", "medium"),
    "large": ("size_iou", "large"),
}
DIGITS = {"FP/TP": 2}  # a ratio, no percent


def stages_of(method: Method) -> list[tuple[str, dict[str, Any]]]:
    """(stage, its block of the first seed), in the chain's order."""
    stages = method.runs[0]["stages"]
    return [(name, stages[name]) for name in STAGES if name in stages]


def stage_tables(method: Method) -> list[Table]:
    """A row a stage; figures that no stage has (PxAP without a seed) have no column, and without a column there is no table."""
    found = [_table(method, "scores", MAIN), _table(method, "further scores", FURTHER)]
    return [table for table in found if len(table.head) > 1]


def _table(method: Method, label: str, figures: dict[str, tuple[str, ...]]) -> Table:
    stages = [name for name, _ in stages_of(method)]
    columns = [[_cell(method, stage, heading, keys) for stage in stages] for heading, keys in figures.items()]
    there = {heading: column for heading, column in zip(figures, columns, strict=True) if any(cell.text != figure(None) for cell in column)}
    rows = [[STAGES[stage], *cells] for stage, *cells in zip(stages, *there.values(), strict=True)]
    return Table(f"{label} of {method.name}, stage by stage", ["stage", *there], rows)


def _cell(method: Method, stage: str, heading: str, keys: tuple[str, ...]) -> Cell:
    return over_seeds((dig(run["stages"].get(stage), keys) for run in method.runs), DIGITS.get(heading, 1))
