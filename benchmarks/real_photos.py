"""The table of docs/real_photos.md: every method on real photos, row by row, going on where it stopped.

    python benchmarks/real_photos.py [--dataset voc_animals] [--rows cam irn amn] [--segment amn cam full] [--table-only]

Each row is one `snakemake` command of one thread, cheapest rows first; a row that is done costs nothing. The table is
written anew after each, so a killed run has lost no finished row. WSSS_TEST_DATA names the folder of the photos.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from _recipes import cut, recipe_name

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from wsss.engine.atomic import read_json, write_text  # noqa: E402
from wsss.plan.plan import Plan  # noqa: E402
from wsss.plan.row import Row  # noqa: E402
from wsss.recipes.schema import read_yaml  # noqa: E402

ROWS = ["cam", "eps_base", "eps", "irn", "amn", "amn_eps", "sipe", "seam", "ppc_eps", "ppc", "cpn", "fsae_sipe", "fsae_ppc_eps", "fsae_ppc"]
SEGMENT = ["full", "cam", "amn", "amn_eps"]
MARKS = ("<!-- table: made by benchmarks/real_photos.py -->", "<!-- end of the table -->")
PAGE = REPOSITORY / "docs" / "real_photos.md"
HEAD = ["method", "seed, best", "found", "published", "refined seed", "pseudo-mask", "segmentation, val", "CPU minutes"]


def make(target: str, options: list[str]) -> bool:
    """Run one command; False where it failed, so that the other rows still come."""
    command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--config", "compute={cpu_threads: 1}", *options]
    print("$", " ".join(command[2:]), flush=True)
    return subprocess.run(command, cwd=REPOSITORY).returncode == 0


def minutes(plan: Plan, dataset: str, method: str, stage: str) -> float | None:
    """CPU minutes of all jobs behind a stage, None where one has left no benchmark."""
    total = 0.0
    for owner, name in plan.behind(Row(dataset, method), stage):
        path = REPOSITORY / "logs" / dataset / owner.method / f"{name}.tsv"
        if not path.exists():
            return None
        with open(path) as handle:
            total += sum(float(row["cpu_time"]) for row in csv.DictReader(handle, delimiter="\t"))
    return total / 60


def row(plan: Plan, dataset: str, method: str) -> list[str] | None:
    """The cells of one method, None where nothing of it is scored yet."""
    folder = REPOSITORY / "results" / dataset / method
    whole, masks = folder / "scores.json", folder / "mask_scores" / "scores.json"
    there = [path for path in (whole, masks) if path.exists()]
    if not there:
        return None
    stages = read_json(there[0])["stages"]
    seed = stages.get("seed", {})
    last = "predictions" if whole.exists() else "pseudo_masks"
    cost = minutes(plan, dataset, method, last)
    return [
        method,
        *(cut(seed.get(policy, seed.get("map"))) for policy in ("best_on_train_gt", "found", "fixed")),
        *(figure(stages.get(name)) for name in ("refined_seed", "pseudo_mask")),
        figure(stages.get("segmentation_crf") or stages.get("segmentation")),
        "" if cost is None else f"{cost:.0f}",
    ]


def figure(block: dict | None) -> str:
    return "" if not block else f"{block['miou']:.1f}"


def table(plan: Plan, dataset: str, methods: list[str]) -> str:
    """The rows that are there, as Markdown."""
    rows = [cells for method in methods if (cells := row(plan, dataset, method))]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_page(text: str, marks: tuple[str, str] = MARKS) -> None:
    """Put tables between their marks in docs/real_photos.md."""
    page, (begin, end) = PAGE.read_text("utf-8"), marks
    before, after = page[: page.index(begin) + len(begin)], page[page.index(end) :]
    write_text(PAGE, f"{before}\n{text}\n{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="voc_animals")
    parser.add_argument("--rows", nargs="*", type=recipe_name, default=ROWS)
    last = "rows that are trained up to segmentation, last"
    parser.add_argument("--segment", nargs="*", type=recipe_name, default=SEGMENT, help=last)
    parser.add_argument("--table-only", action="store_true", help="make no row, write the table of those that are there")
    options, more = parser.parse_known_args()
    plan = Plan(REPOSITORY / "config", read_yaml(REPOSITORY / "config" / "config.yaml"))
    targets = [f"{method}/mask_scores/miou.txt" for method in options.rows]
    targets += [f"{method}/miou.txt" for method in options.segment]
    methods = list(dict.fromkeys([*options.rows, *options.segment]))
    failed = []
    for target in [] if options.table_only else targets:
        if not make(f"results/{options.dataset}/{target}", more):
            failed.append(target)
        write_page(table(plan, options.dataset, methods))
    write_page(table(plan, options.dataset, methods))
    if failed:
        sys.exit(f"not made: {', '.join(failed)}; the same command goes on with them")


if __name__ == "__main__":
    main()
