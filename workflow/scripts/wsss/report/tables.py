"""Figures of all methods and seeds as tables: for programs (CSV) and for pages (HTML)."""

import csv
import io
from dataclasses import dataclass
from html import escape

from wsss.report.repeats import Spread, spread
from wsss.rownames import base_name, seed_number
from wsss.score.write import REDUNDANT

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
        found = [_dig(run["stages"], COLUMNS[column][1]) for run in self.runs]
        return [block for block in found if block and block.get("miou") is not None]

    def spread(self, column: str) -> Spread | None:
        """mIoU over the seeds, percent; None where no seed has one."""
        return spread(block["miou"] for block in self.blocks(column))


def group(scores: dict) -> list[Method]:
    """{run name: scores.json content} -> one Method per recipe, in order of first appearance."""
    bases = dict.fromkeys(base_name(name) for name in scores)
    names = sorted(scores, key=seed_number)
    return [Method(b, tuple(scores[name] for name in names if base_name(name) == b)) for b in bases]


def provenance_of(blocks: list[dict]) -> dict:
    """Of one figure over its seeds: what differs between them (the seed, a threshold) as a list, in their order."""
    sources = [block.get("provenance", {}) for block in blocks]
    found = {key: [source.get(key) for source in sources] for key in sources[0]}
    return {key: values[0] if all(v == values[0] for v in values) else values for key, values in found.items()}


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
    found = {m.name: [s for run in m.runs if (s := (run["stages"].get("seed") or {}).get("sweep"))] for m in methods}
    rows = [_stability_row(name, sweeps) for name, sweeps in found.items() if sweeps]
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


def over_seeds(values, digits: int = 1) -> str:
    """HTML: one figure of all seeds, `mean ± std`."""
    found = spread(values)
    if found is None or found.std is None:
        return figure(found and found.mean, digits)
    return f'{figure(found.mean, digits)} <span class="soft">&plusmn; {found.std:.{digits}f}</span>'


def _best(methods, column):
    racing = [m for m in methods if m.blocks(column) and not _is_yardstick(m.blocks(column)[0])]
    return max((round(m.spread(column).mean, 1) for m in racing), default=None)


def _is_yardstick(block):
    return str(block.get("provenance", {}).get("supervision", "")).startswith("ground-truth")


def _link(name):
    return f'<a href="{escape(name)}.html">{escape(name)}</a>'


def _cell(method, column, best):
    blocks = method.blocks(column)
    text = over_seeds(block["miou"] for block in blocks)
    is_best = blocks and round(method.spread(column).mean, 1) == best and not _is_yardstick(blocks[0])
    few = f' <span class="soft">(n = {len(blocks)})</span>' if 0 < len(blocks) < len(method.runs) else ""
    mean, space, rest = text.partition(" ")
    return (f"<b>{mean}</b>" if is_best else mean) + space + rest + few


def _note(column, methods):
    """Where a column's figures come from: what all share once, what differs per method."""
    sources = {m.name: provenance_of(m.blocks(column)) for m in methods if m.blocks(column)}
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


def _stability_row(name, sweeps):
    def cell(*keys, digits=1):
        return over_seeds((_dig(sweep, keys) for sweep in sweeps), digits)

    beside = [cell("at", offset, "miou") for offset in ("-0.10", "-0.05", "+0.05", "+0.10")]
    flips = [cell("flips_within", reach) for reach in ("0.05", "0.10")]
    best = [cell("best", digits=2), cell("best_miou")]
    return [escape(name), *best, *beside, cell("width_1pt", digits=2), *flips, cell("oracle_miou")]


def _dig(obj, keys):
    for key in keys:
        obj = (obj or {}).get(key)
    return obj


def _plain(value):
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
