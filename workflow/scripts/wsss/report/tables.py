"""Figures of all methods and seeds as tables: for programs (CSV) and for pages (HTML)."""

import csv
import io
import statistics
from dataclasses import dataclass
from html import escape

from wsss.score.write import REDUNDANT

# column name in summary.csv: (heading, path inside scores.json "stages")
COLUMNS = {
    "seed_fixed": ("seed, published threshold", ("seed", "fixed")),
    "seed_best": ("seed, best threshold", ("seed", "best_on_train_gt")),
    "seed_no_gt": ("seed, threshold without ground truth", ("seed", "no_gt")),
    "refined_seed": ("refined seed", ("refined_seed",)),
    "pseudo_mask": ("pseudo-mask", ("pseudo_mask",)),
    "segmentation": ("segmentation", ("segmentation",)),
    "segmentation_crf": ("segmentation + CRF", ("segmentation_crf",)),
}


@dataclass(frozen=True)
class Method:
    """One recipe over its seeds: scores.json of each, the run without a seed suffix first."""

    name: str
    runs: tuple[dict, ...]

    def blocks(self, column: str) -> list[dict]:
        """The blocks of one column, of those seeds that have it."""
        found = [_dig(run["stages"], COLUMNS[column][1]) for run in self.runs]
        return [block for block in found if block and block.get("miou") is not None]

    def mean(self, column: str) -> float | None:
        """Mean mIoU over the seeds, percent."""
        blocks = self.blocks(column)
        return statistics.fmean(b["miou"] for b in blocks) if blocks else None

    def spread(self, column: str) -> float | None:
        """Standard deviation over the seeds (of a sample), None with fewer than two."""
        blocks = self.blocks(column)
        return statistics.stdev(b["miou"] for b in blocks) if len(blocks) > 1 else None


def base_name(name: str) -> str:
    """`amn.seed2` -> `amn`: the runs of one recipe share a row."""
    return name.split(".seed")[0]


def group(scores: dict) -> list[Method]:
    """{run name: scores.json content} -> one Method per recipe, in order of first appearance."""
    bases = dict.fromkeys(base_name(name) for name in scores)
    return [Method(b, tuple(s for name, s in sorted(scores.items()) if base_name(name) == b)) for b in bases]


def used_columns(methods: list[Method]) -> list[str]:
    """Columns that at least one method fills."""
    return [c for c in COLUMNS if any(m.blocks(c) for m in methods)]


def summary_csv(dataset: str, methods: list[Method]) -> str:
    """The table across methods for programs: mean and standard deviation per column, percent, four decimals."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["dataset", "method", "seeds", *(f"{c}{end}" for c in COLUMNS for end in ("", "_std"))])
    for m in methods:
        figures = [f(c) for c in COLUMNS for f in (m.mean, m.spread)]
        table.writerow([dataset, m.name, len(m.runs), *("" if x is None else f"{x:.4f}" for x in figures)])
    return out.getvalue()


def methods_table(methods: list[Method]) -> str:
    """HTML: a row per method, a column per figure, one note per column.

    The best figure of each column is bold; full supervision is a yardstick and not in that race.
    """
    columns = used_columns(methods)
    head = ["method", "seeds", *(f"{escape(COLUMNS[c][0])}<sup>{i}</sup>" for i, c in enumerate(columns, 1))]
    best = {c: _best(methods, c) for c in columns}
    rows = [[_link(m.name), len(m.runs), *(_cell(m, c, best[c]) for c in columns)] for m in methods]
    notes = "".join(f"<li>{_note(c, methods)}</li>" for c in columns)
    return html_table(head, rows) + f'<ol class="notes">{notes}</ol>'


def stability_table(methods: list[Method]) -> str:
    """HTML: how much the choice of the threshold matters; "" when no method has a sweep."""
    found = [(m.name, (m.runs[0]["stages"].get("seed") or {}).get("sweep")) for m in methods]
    rows = [_stability_row(name, sweep) for name, sweep in found if sweep]
    head = ["method", "best threshold", "mIoU there", "&minus;0.10", "&minus;0.05", "+0.05", "+0.10"]
    head += ["width within 1 point", "pixels changing within &plusmn;0.05", "within &plusmn;0.10"]
    head += ["own best per image"]
    return html_table(head, rows) if rows else ""


def html_table(head: list, rows: list[list]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>\n" for row in rows)
    table = f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def figure(value: float | None, digits: int = 1) -> str:
    """A number as the pages print it; a dash where there is none."""
    return "&ndash;" if value is None else f"{value:.{digits}f}"


def _best(methods, column):
    racing = [m for m in methods if m.blocks(column) and not _is_yardstick(m.blocks(column)[0])]
    return max((round(m.mean(column), 1) for m in racing), default=None)


def _is_yardstick(block):
    return str(block.get("provenance", {}).get("supervision", "")).startswith("ground-truth")


def _link(name):
    return f'<a href="{escape(name)}.html">{escape(name)}</a>'


def _cell(method, column, best):
    mean, spread = method.mean(column), method.spread(column)
    text = figure(mean)
    is_best = mean is not None and round(mean, 1) == best and not _is_yardstick(method.blocks(column)[0])
    text = f"<b>{text}</b>" if is_best else text
    return text if spread is None else f'{text} <span class="soft">&plusmn; {spread:.1f}</span>'


def _note(column, methods):
    """Where a column's figures come from: what all share once, what differs per method."""
    sources = {m.name: m.blocks(column)[0].get("provenance", {}) for m in methods if m.blocks(column)}
    keys = sorted({k for s in sources.values() for k in s} - REDUNDANT)
    shared, own = [], []
    for key in keys:
        values = {name: _plain(s[key]) for name, s in sources.items() if key in s}
        word = escape(key.replace("_", " "))
        if len(set(values.values())) == 1 and len(values) == len(sources):
            shared.append(f"{word} {escape(next(iter(values.values())))}")
        elif key != "code_version":  # differs whenever the chains do; it stands on the method's page
            own.append(f"{word} " + ", ".join(f"{escape(v)} ({escape(n)})" for n, v in values.items()))
    return f"{escape(COLUMNS[column][0])}: " + "; ".join(shared + own) + "."


def _stability_row(name, sweep):
    at, within = sweep.get("at", {}), sweep.get("flips_within", {})
    beside = [figure(at.get(k, {}).get("miou")) for k in ("-0.10", "-0.05", "+0.05", "+0.10")]
    flips = [figure(within.get(k)) for k in ("0.05", "0.10")]
    best = [figure(sweep["best"], 2), figure(sweep["best_miou"])]
    return [escape(name), *best, *beside, figure(sweep["width_1pt"], 2), *flips, figure(sweep["oracle_miou"])]


def _dig(obj, keys):
    for key in keys:
        obj = (obj or {}).get(key)
    return obj


def _plain(value):
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
