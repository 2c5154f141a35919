"""FSAE's ablation on generated scenes: the base, with consistency, with consistency and ring, over generator seeds.

    python benchmarks/fsae_ablation.py --work FOLDER [key=value ...] [--datasets demo1 demo2 demo3] [--bases eps sipe]

Trains the three classifiers of each base and dataset, in as many steps each, and scores their seeds on the images of `train`. FOLDER
holds a copy of the project and all results, so the same command goes on where it stopped. Further arguments go to
`snakemake --config`. The table gives means over the datasets, and behind each the lowest and the highest.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from _recipes import recipe_name
from own_photos import copy_project
from seed_rows import seed_of
from wsss.found import MAP
from wsss.train.device import pick_device

CONSISTENCY = "extends: fsae_{base}\nwrap_options: {{ring: none}}\n"
FIGURES = {"seed, best": ("best_on_train_gt", "miou"), "found": ("found", "miou"), "recall, best": ("best_on_train_gt", "recall"), "precision, best": ("best_on_train_gt", "precision")}


def rows_of(base: str) -> list[str]:
    """Names of the recipes: the base, with consistency alone, with the ring."""
    return [base, f"consistency_{base}", f"fsae_{base}"]


def train(work: Path, names: list[str], datasets: list[str], cores: int, settings: list[str]) -> None:
    targets = [f"results/{dataset}/{name}/classifier/model.safetensors" for dataset in datasets for name in names]
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", str(cores), "--config", *settings, f"datasets=[{','.join(datasets)}]"]
    if subprocess.run(command, cwd=work).returncode:
        sys.exit("a training failed or was stopped; the same command goes on where it stopped")


def figures(seed: dict[str, Any]) -> dict[str, float]:
    """The cells of one recipe on one dataset, percent; a seed beside a background map has one block for all."""
    return {name: seed.get(policy, seed.get(MAP, {})).get(figure, float("nan")) for name, (policy, figure) in FIGURES.items()}


def cell(values: list[float]) -> str:
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", type=recipe_name, default=["demo1", "demo2", "demo3"])
    parser.add_argument("--bases", nargs="+", type=recipe_name, default=["eps", "sipe"])
    parser.add_argument("--cores", type=int, default=1)
    options, settings = parser.parse_known_args()
    options.work.mkdir(parents=True, exist_ok=True)
    copy_project(options.work)
    for base in options.bases:
        (options.work / f"config/methods/consistency_{base}.yaml").write_text(CONSISTENCY.format(base=base))
    names = [name for base in options.bases for name in rows_of(base)]
    train(options.work, names, options.datasets, options.cores, settings)
    device = pick_device("cpu", 1)
    print("| recipe | " + " | ".join(FIGURES) + " |")
    print("|---" * (len(FIGURES) + 1) + "|")
    for name in names:
        found = [figures(seed_of(options.work, dataset, name, device)) for dataset in options.datasets]
        print("| " + " | ".join([name, *(cell([one[figure] for one in found]) for figure in FIGURES)]) + " |", flush=True)


if __name__ == "__main__":
    main()
