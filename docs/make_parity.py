"""Write docs/parity.md from what the golden tests compare.

    python docs/make_parity.py                  run the golden tests and write the page
    python docs/make_parity.py --rows FILE      take the rows that a run of the tests left (WSSS_PARITY=FILE pytest)
    python docs/make_parity.py --check ...      status 1 where the page's rows are not those of the tests

Figures are rounded up to powers of ten; --check does not look at them, since they differ between machines.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from parity_differences import DIFFERENCES  # noqa: E402

TARGET = ROOT / "docs" / "parity.md"
PAGES = {  # network of the golden files -> page of the method
    "irn_cam": "cam",
    "irn": "irn",
    "amn": "amn",
    "eps": "eps",
    "seam": "seam",
    "affinitynet": "affinitynet",
    "cpn": "cpn",
    "pixmatch": "fsae",
    "sipe": "sipe",
    "ppc_seam": "ppc",
    "ppc_eps": "ppc",
    "mctformer_v1": "mctformer",
    "mctformer_v2": "mctformer",
}
MEASURES = {
    "largest": "of the largest value",
    "each": "of each value",
    "absolute": "absolute",
    "share": "part of the labels",
}
HEAD = """# Parity with released code

Made by `docs/make_parity.py` from what the tests `tests/released/test_golden_*.py` compare; do not edit by hand.

`tests/golden/` holds what each method's released code computes, on a CPU in float32, from weights and inputs that a formula
gives. The same weights go into our networks, through the door that imports checkpoints, and everything is computed again.
A row is *equal*: what was compared, how far apart the two may be (the second run of the released code with other kernels
sets that), and how far apart they are, rounded up to a power of ten. First, what is *different on purpose*.
"""
DIFFERENT = """## Different on purpose

Each has a test that it is there, and no larger than is known. Figures come from the golden inputs, whose weights are random:
they say that something changes, not how much a trained network changes.

| network | option | released code and ours | why | difference |
|---|---|---|---|---|
"""


def recorded() -> list[dict[str, Any]]:
    """Rows of a fresh run of the golden tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        tests = sorted(str(test) for test in (ROOT / "tests/released").glob("test_golden_*.py"))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts=", *tests]
        if subprocess.run(command, cwd=ROOT, env={**os.environ, "WSSS_PARITY": str(path)}).returncode:
            raise SystemExit("a golden test fails; mend it before the page is made")
        return read(path)


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, a JSON object a line."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def page(rows: list[dict[str, Any]]) -> str:
    """The page. SystemExit where rows and declared differences do not fit together."""
    parts = [HEAD, DIFFERENT + "\n".join([*difference_lines(rows), ""])]
    for network, method in PAGES.items():
        found = [row for row in rows if row["network"] == network and "stage" in row]
        if not found:
            raise SystemExit(f"{network}: no test compared anything")
        parts.append(section(network, method, found))
    return "\n".join(parts)


def section(network: str, method: str, rows: list[dict[str, Any]]) -> str:
    """One network's table, a line a stage."""
    facts = json.loads((ROOT / "tests" / "golden" / f"{network}.json").read_text("utf-8"))
    code, title = (facts["code"], facts["what"]) if "code" in facts else (facts["what"], facts["network"])
    branch = f", branch {code['branch']}" if "branch" in code else ""
    origin = f"{code['repository']}{branch}, commit {code['commit'][:10]}; method: [{method}](methods/{method}.md)."
    head = "| equal in | numbers | measured | tolerance | largest difference |\n|---|---|---|---|---|"
    stages = dict.fromkeys(row["stage"] for row in sorted(rows, key=lambda row: row["stage"]))
    lines = [stage_line(stage, [row for row in rows if row["stage"] == stage]) for stage in stages]
    return "\n".join([f"## {network}: {title}\n", origin + "\n", head, *lines, ""])


def stage_line(stage: str, rows: list[dict[str, Any]]) -> str:
    measures = ", ".join(MEASURES[name] for name in MEASURES if any(row["measure"] == name for row in rows))
    tolerances = ", ".join(f"{value:g}" for value in sorted({row["tolerance"] for row in rows}))
    numbers = sum(row["numbers"] for row in rows)
    return f"| {stage} | {numbers:,} | {measures} | {tolerances} | {rounded(max(row['value'] for row in rows))} |"


def rounded(value: float) -> str:
    """A bound that is the same on most machines."""
    if value == 0:
        return "0"
    return f"below {10.0 ** max(-7, math.ceil(math.log10(value))):g}"


def difference_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One line a difference. SystemExit for one that is measured and not declared, or the other way round."""
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if "difference" in row:
            measured.setdefault((row["difference"], row["network"]), []).append(row)
    wanted = {(name, network) for name, d in DIFFERENCES.items() if not d.figure for network in d.networks}
    if set(measured) != wanted:
        raise SystemExit(f"tests and DIFFERENCES do not fit together: {sorted(set(measured) ^ wanted)}")
    lines = []
    for name, d in DIFFERENCES.items():
        label = "{0} {1}" if len(d.networks) > 1 else "{1}"
        figures = [] if d.figure else [label.format(n, figure(measured[name, n])) for n in d.networks]
        said = d.figure or f"{', '.join(figures)}: {d.of}"
        lines.append(f"| {', '.join(d.networks)} | {d.option} | {name}. {d.what} | {d.why} | {said} |")
    return lines


def figure(rows: list[dict[str, Any]]) -> str:
    value = max(row["value"] for row in rows)
    return f"{100 * value:.1g} %" if rows[0]["measure"] == "share" and value < 0.1 else f"{value:.1g}"


def shape(text: str) -> list[str]:
    """The page without the figures, which stand in the last cell of a table's line."""
    return [line.rsplit("|", 2)[0] if line.startswith("|") else line for line in text.splitlines()]


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, help="rows of a run that is over")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    text = page(read(options.rows) if options.rows else recorded())
    if not options.check:
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.exists() and shape(TARGET.read_text("utf-8")) == shape(text):
        return 0
    print("docs/parity.md is out of date; run: python docs/make_parity.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
