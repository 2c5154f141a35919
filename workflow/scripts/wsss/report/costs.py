"""What the stages of a method cost: seconds and peak memory of Snakemake's benchmarks, and bytes on disk."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wsss.report.cells import Cell, Table, figure
from wsss.report.reading import read_bytes

MEGABYTE = 1e6


@dataclass(frozen=True)
class Cost:
    """Of one stage; None where no benchmark tells. seconds, cpu: of all its jobs; peak: of the largest, in MB as Snakemake has it."""

    stage: str
    method: str
    seconds: float | None
    cpu: float | None
    peak: float | None
    disk: float


def stage_costs(chain: list[dict[str, str]]) -> list[Cost]:
    """chain: {"stage", "method" that makes it, "folder" of its files, "log": its benchmark}, in order; a stage that is not there is left out."""
    return [_cost(link) for link in chain if Path(link["folder"]).is_dir()]


def cost_table(costs: dict[str, list[Cost]]) -> Table | None:
    """A row a method: seconds a stage, then its totals, with all that it takes from other methods."""
    stages = _in_order([[cost.stage for cost in own] for own in costs.values()])
    if not stages:
        return None
    head = ["method", *(f"{stage.replace('_', ' ')}, s" for stage in stages), "all, s", "peak memory, MB", "disk, MB"]
    return Table("what the methods cost", head, [_row(method, own, stages) for method, own in costs.items() if own])


def stages_table(method: str, costs: list[Cost]) -> Table | None:
    """A row a stage of one method."""
    head = ["stage", "made by", "seconds", "CPU seconds", "peak memory, MB", "disk, MB"]
    rows = [
        [c.stage.replace("_", " "), c.method, *map(figure, (c.seconds, c.cpu)), figure(c.peak, 0), figure(c.disk / MEGABYTE, 2)] for c in costs
    ]
    return Table(f"what the stages of {method} cost", head, rows) if rows else None


def _in_order(chains):
    """The stages of several chains, each after what comes before it in its own."""
    order: list[str] = []
    for chain in chains:
        place = 0
        for stage in chain:
            if stage not in order:
                order.insert(place, stage)
            place = order.index(stage) + 1
    return order


def _row(method, own, stages):
    by_stage: dict[str, list[Cost]] = {}
    for cost in own:
        by_stage.setdefault(cost.stage, []).append(cost)
    peaks = [cost.peak for cost in own if cost.peak is not None]
    totals = [figure(_sum(own)), figure(max(peaks, default=None), 0), figure(sum(cost.disk for cost in own) / MEGABYTE, 1)]
    return [method, *(_cell(method, by_stage.get(stage, [])) for stage in stages), *totals]


def _cell(method, costs):
    others = sorted({cost.method for cost in costs} - {method})
    return Cell(figure(_sum(costs)), soft=f"of {', '.join(others)}" if others else "")


def _sum(costs):
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    return sum(known) if known else None


def _cost(link: dict[str, str]) -> Cost:
    folder, log = Path(link["folder"]), Path(link["log"])
    split = [log.with_suffix("") / f"{path.stem}.tsv" for path in sorted(folder.glob("shards/*of*.json")) if path.stem.replace("of", "").isdigit()]
    found = [benchmark for path in (log, *split) if path.is_file() for benchmark in [_benchmark(path)]]
    disk = float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    return Cost(link["stage"], link["method"], _total(found, "s"), _total(found, "cpu_time"), _largest(found, "max_rss"), disk)


def _benchmark(path: Path) -> dict[str, Any]:
    """Columns of a benchmark that are numbers; where Snakemake could not measure one, it is left out."""
    try:
        table = pd.read_csv(io.BytesIO(read_bytes(path)), sep="\t")
    except ValueError:  # cut short or empty: what it would say is not known
        return {}
    numbers = {name: pd.to_numeric(table[name], errors="coerce").sum(min_count=1) for name in ("s", "cpu_time", "max_rss") if name in table}
    return {name: float(value) for name, value in numbers.items() if pd.notna(value)}


def _total(found, key):
    known = [benchmark[key] for benchmark in found if key in benchmark]
    return sum(known) if known else None


def _largest(found, key):
    return max((benchmark[key] for benchmark in found if key in benchmark), default=None)
