"""What the further scores say of methods: the last section's tables of docs/real_photos.md.

    python benchmarks/further_scores.py [--dataset voc_animals] [--rows cam eps irn amn seam]

Reads what the evaluation wrote of rows that are scored (results/DATASET/METHOD/scores.json, else mask_scores/) and
writes the tables anew; it scores and trains nothing.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from _recipes import recipe_name

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from real_photos import write_page  # noqa: E402
from wsss.engine.atomic import read_json  # noqa: E402
from wsss.report.per_image import image_counts, read_per_image  # noqa: E402
from wsss.score import bootstrap  # noqa: E402
from wsss.score.per_image import NAME  # noqa: E402
from wsss.score.shapes import SIZES  # noqa: E402

ROWS = ["cam", "eps", "irn", "amn", "seam"]
MARKS = ("<!-- tables: made by benchmarks/further_scores.py -->", "<!-- end of the tables -->")
HEAD = ["method", "PxAP", "seed, best", "pseudo-mask", "mFPR", "mFNR", "boundary IoU", *SIZES, "top confusions"]
FIGURES = {"seed_best": "seed, best", "pseudo_mask": "pseudo-mask"}
SHOWN = 3


def scored(dataset: str, method: str) -> Path | None:
    """The folder of a method's scores, None where it has none."""
    folder = REPOSITORY / "results" / dataset / method
    return next((place for place in (folder, folder / "mask_scores") if (place / NAME).exists()), None)


def figures(folder: Path, method: str) -> list[str]:
    """The cells of one method in the first table."""
    stages = read_json(folder / "scores.json")["stages"]
    seed, mask = stages["seed"], stages["pseudo_mask"]
    values = [seed.get("pxap"), seed.get("best_on_train_gt", seed)["miou"], mask["miou"], mask["mfpr"], mask["mfnr"], mask["boundary_iou"]]
    values += [mask["size_iou"][size] for size in SIZES]
    return [method, *("" if value is None else f"{value:.1f}" for value in values), ", ".join(map(confusion, mask["top_confusions"][:SHOWN]))]


def confusion(pair: dict) -> str:
    """Which label is taken for which, and percent of the union of the class that loses them."""
    return f"{pair['truth']} as {pair['taken_for']} {pair['percent']:.0f}"


def differences(folders: dict[str, Path], labels: int) -> list[list[str]]:
    """A row for each pair of methods: points and 95 % interval of each figure."""
    tables = {method: read_per_image(folder / NAME) for method, folder in folders.items()}
    counts = {method: {figure: image_counts(table, figure, labels)[1] for figure in FIGURES} for method, table in tables.items()}
    pairs = combinations(folders, 2)
    return [[f"{b} less {a}", *(difference(counts[b][figure], counts[a][figure]) for figure in FIGURES)] for a, b in pairs]


def difference(a: np.ndarray, b: np.ndarray) -> str:
    """`+3.0 (1.0 to 5.0)`, in bold where the interval is on one side of 0; empty where a method lacks the figure or both share it."""
    if not len(a) or not len(b) or np.array_equal(a, b):
        return ""
    found = bootstrap.difference(bootstrap.scored(a), bootstrap.scored(b))
    points = f"**{found.points:+.1f}**" if found.is_sure else f"{found.points:+.1f}"
    return f"{points} ({found.low:+.1f} to {found.high:+.1f})"


def markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="voc_animals")
    parser.add_argument("--rows", nargs="*", type=recipe_name, default=ROWS)
    options = parser.parse_args()
    folders = {method: folder for method in options.rows if (folder := scored(options.dataset, method))}
    if missing := [method for method in options.rows if method not in folders]:
        print(f"not scored, left out: {', '.join(missing)}; snakemake results/{options.dataset}/{missing[0]}/mask_scores/miou.txt")
    labels = 1 + len(read_json(REPOSITORY / "results" / options.dataset / "dataset.json")["classes"])
    first = [HEAD, *(figures(folder, method) for method, folder in folders.items())]
    second = [["difference", *FIGURES.values()], *differences(folders, labels)]
    text = f"{markdown(first)}\n\n{markdown(second)}"
    write_page(text, MARKS)
    print(text)


if __name__ == "__main__":
    main()
