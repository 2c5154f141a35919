"""What the report reads, each file named where it is missing or damaged."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from wsss.engine.atomic import read_json
from wsss.engine.recovery import remedy
from wsss.errors import UserError
from wsss.report import plots
from wsss.report.repeats import mean_curve


def read_curve(path, kind: str = "const", fixed: float | None = None) -> dict:
    """sweep.csv -> {"threshold": (T,), "miou": (T,), "kind", "fixed"}, NaN where a cell is empty."""
    columns = _read_csv(path, ("threshold", "miou"))
    return {**columns, "kind": kind, "fixed": fixed}


def curve_of(entries: list[dict], provenance: dict | None) -> dict | None:
    """The mean curve of a method's seeds; None where there is no sweep. `provenance`: of its seed at the fixed threshold."""
    paths = [entry["sweep"] for entry in entries if entry.get("sweep")]
    if not paths or not provenance:
        return None
    kind, fixed = provenance.get("threshold_kind", "const"), provenance.get("threshold")
    return mean_curve([read_curve(path, kind, fixed) for path in paths])


def histories(entries: list[dict]) -> dict[str, list[dict]]:
    """stage -> the history of each seed that has one."""
    found: dict[str, list[dict]] = {}
    for stage, path in [pair for entry in entries for pair in entry.get("history", {}).items()]:
        found.setdefault(stage, []).append(_read_csv(path, ("step", "total"), plots.SHARES))
    return found


def diagnoses(entries: list[dict]) -> list[dict]:
    """diagnosis.json of each seed that has one, under the seed's name."""
    return [{**read_json(e["diagnosis"]), "method": e["name"]} for e in entries if e.get("diagnosis")]


def read_bytes(path) -> bytes:
    """The content of a file that a stage made; UserError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy(path)}") from error


def _read_csv(path, names, also=()):
    """The columns `names`, and of `also` those that are there."""
    table = read_table(path)
    if not set(names) <= set(table):
        raise UserError(f"{path}: needs the columns {', '.join(names)}; {remedy(path)}")
    with damage_said(path):
        return {name: table[name].to_numpy(dtype=float) for name in [*names, *(n for n in also if n in table)]}


def read_table(path, **options) -> pd.DataFrame:
    """A CSV that a stage made, by `pandas.read_csv` with `options`; UserError where it is missing, cut short or no such table."""
    content = read_bytes(path)
    with damage_said(path):
        if not content.endswith(b"\n"):  # what is cut short is mostly a CSV still
            raise ValueError("its last line has no end")
        return pd.read_csv(io.BytesIO(content), **options)


@contextlib.contextmanager
def damage_said(path) -> Iterator[None]:
    """A ValueError, of which kind pandas' own errors are too, becomes a UserError that says how to bring the file back."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); {remedy(path)}") from error
