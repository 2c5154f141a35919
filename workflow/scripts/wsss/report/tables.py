"""Figures of all methods and seeds as tables: for programs (CSV), for mails (text) and for pages."""

import csv
import io
from dataclasses import dataclass

from wsss.report.cells import Cell, Table, dig, figure, over_seeds
from wsss.report.repeats import Spread, spread
from wsss.report.sources import Sources, differing, note, provenance_of
from wsss.rownames import base_name, seed_number

# column name in summary.csv: (heading, path inside scores.json "stages")
COLUMNS = {
    "seed_fixed": ("seed, published threshold", ("seed", "fixed")),
    "seed_best": ("seed, best threshold", ("seed", "best_on_train_gt")),
    "seed_found": ("seed, threshold found without ground truth", ("seed", "found")),
    "seed_map": ("seed, the method's own background map", ("seed", "map")),
    "refined_seed": ("refined seed", ("refined_seed",)),
    "pseudo_mask": ("pseudo-mask", ("pseudo_mask",)),
    "segmentation": ("segmentation", ("segmentation",)),
    "segmentation_crf": ("segmentation + CRF", ("segmentation_crf",)),
}


REPEATS = "mean ± standard deviation of a sample (n - 1) over n seeds"


@dataclass(frozen=True)
class Method:
    """One recipe over its seeds: scores.json of each, the run without a seed suffix first."""

    name: str
    runs: tuple[dict, ...]

    def blocks(self, column: str) -> list[dict]:
        """The blocks of one column, of those seeds that have it."""
        found = [dig(run["stages"], COLUMNS[column][1]) for run in self.runs]
        return [block for block in found if block and block.get("miou") is not None]

    def spread(self, column: str) -> Spread | None:
        """mIoU over the seeds, percent; None where no seed has one."""
        return spread(block["miou"] for block in self.blocks(column))

    def is_yardstick(self, column: str) -> bool:
        """Whether it learns from ground truth: it is compared with, and not in the race."""
        blocks = self.blocks(column)
        return bool(blocks) and str(blocks[0].get("provenance", {}).get("supervision", "")).startswith("ground-truth")


def group(scores: dict) -> list[Method]:
    """{run name: scores.json content} -> one Method per recipe, in order of first appearance."""
    bases = dict.fromkeys(base_name(name) for name in scores)
    names = sorted(scores, key=seed_number)
    return [Method(b, tuple(scores[name] for name in names if base_name(name) == b)) for b in bases]


def used_columns(methods: list[Method]) -> list[str]:
    """Columns that at least one method fills."""
    return [c for c in COLUMNS if any(m.blocks(c) for m in methods)]


def summary_csv(dataset: str, methods: list[Method]) -> str:
    """The table across methods for programs: mean and standard deviation (n - 1) per column, percent, four decimals."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["dataset", "method", "seeds", *(f"{c}{end}" for c in COLUMNS for end in ("", "_std"))])
    for m in methods:
        found = [m.spread(c) for c in COLUMNS]
        figures = [figure for s in found for figure in ((s.mean, s.std) if s else (None, None))]
        table.writerow([dataset, m.name, len(m.runs), *("" if x is None else f"{x:.4f}" for x in figures)])
    return out.getvalue()


def summary_txt(dataset: str, methods: list[Method]) -> str:
    """The same for people: a row per method, `mean ± std` where there are several seeds, and their number n."""
    columns = used_columns(methods)
    rows = [["method", "n", *(COLUMNS[c][0] for c in columns)]]
    rows += [[m.name, str(len(m.runs)), *(_words(m.spread(c), len(m.runs)) for c in columns)] for m in methods]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    several = f"; {REPEATS}" if any(len(m.runs) > 1 for m in methods) else ""
    return "\n".join([f"mIoU in percent on {dataset}{several}", "", *lines]) + "\n"


def _words(found, runs):
    if found is None:
        return "-"
    few = f" (n = {found.n})" if found.n < runs else ""
    return f"{found.mean:.1f}{few}" if found.std is None else f"{found.mean:.1f} ± {found.std:.1f}{few}"


def methods_table(methods: list[Method]) -> Table:
    """A row per method, a column per figure, numbered as the notes of `methods_sources` are.

    The best figure of each column is marked where methods differ; full supervision is a yardstick and not in that race.
    """
    columns = used_columns(methods)
    head = ["method", "runs", *(Cell(COLUMNS[c][0], note=str(i)) for i, c in enumerate(columns, 1))]
    best = {c: _best(methods, c) for c in columns}
    rows = [[Cell(m.name, href=f"{m.name}.html"), len(m.runs), *(_cell(m, c, best[c]) for c in columns)] for m in methods]
    return Table("mIoU of all methods", head, rows)


def methods_sources(methods: list[Method]) -> Sources:
    """Where the columns of `methods_table` come from."""
    found = {
        COLUMNS[c][0]: {m.name: provenance_of(m.blocks(c)) for m in methods if m.blocks(c)} for c in used_columns(methods)
    }
    return Sources(differing(found), [note(heading, sources) for heading, sources in found.items()])


def stability_table(methods: list[Method]) -> Table | None:
    """How much the choice of the threshold matters; None when no method has a sweep."""
    found = {m.name: [s for run in m.runs if (s := (run["stages"].get("seed") or {}).get("sweep"))] for m in methods}
    rows = [_stability_row(name, sweeps) for name, sweeps in found.items() if sweeps]
    head = ["method", "best threshold", "mIoU there", "−0.10", "−0.05", "+0.05", "+0.10"]
    head += ["width within 1 point", "pixels changing within ±0.05", "within ±0.10", "own best per image"]
    return Table("how much the threshold matters", head, rows) if rows else None


def per_class_table(classes, scores: dict) -> Table:
    """IoU of each class, a column a method (or stage), the best marked; scores: as `wsss.report.plots.per_class` has them."""
    rows = []
    for name in ["background", *classes]:
        found = [values.get(name) for values in scores.values()]
        best = _highest(round(s.mean, 1) for s in found if s)
        rows.append([name, *(_spread_cell(s, best) for s in found)])
    return Table("IoU of each class", ["class", *scores], rows)


def _spread_cell(found, best):
    if found is None:
        return Cell(figure(None))
    soft = "" if found.std is None else f"± {found.std:.1f}"
    return Cell(figure(found.mean), soft=soft, is_best=round(found.mean, 1) == best)


def _best(methods, column):
    racing = [m for m in methods if m.blocks(column) and not m.is_yardstick(column)]
    return _highest(round(m.spread(column).mean, 1) for m in racing)


def _highest(figures):
    """The largest of figures that are not all alike; None where none is better than another."""
    found = list(figures)
    return max(found) if len(set(found)) > 1 else None


def _cell(method, column, best):
    blocks = method.blocks(column)
    found = over_seeds(block["miou"] for block in blocks)
    is_best = bool(blocks) and round(method.spread(column).mean, 1) == best and not method.is_yardstick(column)
    few = f"(n = {len(blocks)})" if 0 < len(blocks) < len(method.runs) else ""
    return Cell(found.text, soft=f"{found.soft} {few}".strip(), is_best=is_best)


def _stability_row(name, sweeps):
    def cell(*keys, digits=1):
        return over_seeds((dig(sweep, keys) for sweep in sweeps), digits)

    beside = [cell("at", offset, "miou") for offset in ("-0.10", "-0.05", "+0.05", "+0.10")]
    flips = [cell("flips_within", reach) for reach in ("0.05", "0.10")]
    best = [cell("best", digits=2), cell("best_miou")]
    return [name, *best, *beside, cell("width_1pt", digits=2), *flips, cell("oracle_miou")]
