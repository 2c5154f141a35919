"""Own photos at several sizes: the figures of docs/how_many_photos.md, scored with masks it never sees.

    python benchmarks/own_photos.py --work FOLDER [--sizes 40 200 960] [--recipes cam irn amn eps_crf amn_eps]
        [--photos voc_animals] [--cores 2] [key=value ...]

Photos of `voc_animals` (WSSS_TEST_DATA) become a folder with a CSV of labels, as a user has it; the masks beside it serve
the scores only. Up to 100 photos are of four classes (cat, dog, horse, person), larger sets of all classes. `--photos voc_mini`
takes those of that folder: 360 of nineteen classes. FOLDER holds a copy of the project and all results, so the same
command goes on where it stopped. Further arguments go to `snakemake --config`.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _recipes import cut, recipe_name
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from wsss.data.voc_lists import VOC_CLASSES, read_annotation, read_id_list  # noqa: E402
from wsss.engine.atomic import read_json  # noqa: E402

PREFIXES = {"voc_animals": "own", "voc_mini": "own_mini"}  # how the datasets of a folder's photos are called
FEW = {"cat", "dog", "horse", "person"}
PARTS = ("Snakefile", "rules", "config", "workflow", "envs", "profiles")


def copy_project(target: Path) -> None:
    """The project as it is now, over an older copy; results there stay."""
    for name in PARTS:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target / name, **({"dirs_exist_ok": True} if source.is_dir() else {}))


def choose(tree: Path, size: int) -> dict[str, list[str]]:
    """id -> labels of a seeded choice of training photos; up to 100 photos only those of the four classes."""
    ids = read_id_list(tree / "ImageSets/Segmentation/train_aug.txt")
    labels = {i: sorted(read_annotation(tree / f"Annotations/{i}.xml", VOC_CLASSES)) for i in ids}
    fitting = [i for i in ids if labels[i] and (size > 100 or set(labels[i]) <= FEW)]
    order = np.random.default_rng(0).permutation(len(fitting))
    return {fitting[i]: labels[fitting[i]] for i in order[:size]}


def lay_out(tree: Path, chosen: dict[str, list[str]], folder: Path) -> None:
    """The folder as a user has it: images, labels.csv; and masks, numbered by the sorted names of the classes."""
    names = sorted({label for labels in chosen.values() for label in labels})
    numbers = np.zeros(256, np.uint8)
    numbers[255] = 255
    for number, name in enumerate(names, start=1):
        numbers[VOC_CLASSES.index(name) + 1] = number
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for item in chosen:
        shutil.copy(tree / f"JPEGImages/{item}.jpg", folder / "images")
        mask = np.asarray(Image.open(tree / f"SegmentationClassAug/{item}.png"))
        Image.fromarray(numbers[mask]).save(folder / f"masks/{item}.png")
    lines = ["image,labels", *(f"{item}.jpg,{';'.join(labels)}" for item, labels in chosen.items())]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def run(work: Path, dataset: str, recipe: str, cores: int, settings: list[str]) -> float:
    """Minutes of one recipe up to its scored pseudo-masks; what is there already costs nothing."""
    target = f"results/{dataset}/{recipe}/mask_scores/miou.txt"
    command = [sys.executable, "-m", "snakemake", target, "--cores", str(cores), "--config", *settings]
    start = time.perf_counter()
    if subprocess.run(command, cwd=work).returncode:
        sys.exit(f"{target} was not made; the same command goes on where it stopped")
    return (time.perf_counter() - start) / 60


def cpu_minutes(work: Path, dataset: str) -> float:
    """CPU minutes of all jobs of a dataset so far."""
    total = 0.0
    for path in (work / "logs" / dataset).rglob("*.tsv"):
        with open(path) as handle:
            total += sum(float(row["cpu_time"]) for row in csv.DictReader(handle, delimiter="\t"))
    return total / 60


def report(work: Path, dataset: str, recipe: str, wall: float) -> str:
    """One line of the table."""
    stages = read_json(work / f"results/{dataset}/{recipe}/mask_scores/scores.json")["stages"]
    seed = stages["seed"]
    cuts = [cut(seed.get(policy, seed.get("map"))) for policy in ("best_on_train_gt", "found")]
    masks = [f"{stages[name]['miou']:.1f}" if name in stages else "" for name in ("refined_seed", "pseudo_mask")]
    cells = [dataset.removeprefix("own_"), recipe, *cuts, *masks, f"{wall:.0f}", f"{cpu_minutes(work, dataset):.0f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 200, 960])
    parser.add_argument("--recipes", nargs="+", type=recipe_name, default=["cam", "irn", "amn", "eps_crf", "amn_eps"])
    parser.add_argument("--photos", choices=PREFIXES, default="voc_animals")
    parser.add_argument("--cores", type=int, default=2)
    options, settings = parser.parse_known_args()
    tree = Path(os.environ["WSSS_TEST_DATA"]) / f"{options.photos}/VOCdevkit/VOC2012"
    options.work.mkdir(parents=True, exist_ok=True)
    copy_project(options.work)
    lines = []
    for size in options.sizes:
        dataset = f"{PREFIXES[options.photos]}_{size}"
        lay_out(tree, choose(tree, size), options.work / dataset)
        params = f"params: {{images: {dataset}/images, labels: {dataset}/labels.csv, masks: {dataset}/masks}}"
        (options.work / f"config/datasets/{dataset}.yaml").write_text(f"kind: folder\npreset: cpu_small\nsaliency: {{make: feature_cut}}\n{params}\n")
        for recipe in options.recipes:
            lines.append(report(options.work, dataset, recipe, run(options.work, dataset, recipe, options.cores, settings)))
    print("| photos | recipe | seed, best | found | refined seed | pseudo-mask | minutes, this run | CPU minutes, so far |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
