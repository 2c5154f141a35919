"""What it costs to watch every file that the rows of a CSV name: planning with 82,081 rows, and with three.

    python benchmarks/data_checks.py [--rows 82081]

Each row names a photo and a mask beside the CSV; the files are empty, since planning looks at names, sizes and times. Both
plans are of the same jobs, so what the second takes longer is reading the CSV, finding the files as the builder does, and
looking at each.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import report_ratio

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from wsss.data.user_files import folder_stamp  # noqa: E402
from wsss.plan.watched import dataset_files, stamp  # noqa: E402

PARTS = ("Snakefile", "rules", "config", "workflow", "profiles", "envs")
TARGET = "results/own/cam/segmentation/model.safetensors"


def project(folder: Path, rows: int) -> Path:
    """A copy of the repository with a dataset `own` of so many photos."""
    folder.mkdir()
    for name in PARTS:
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    lines = ["image,labels,mask"]
    for name in ("images", "masks"):
        (folder / "own" / name).mkdir(parents=True)
    for number in range(rows):
        (folder / f"own/images/{number:06d}.jpg").touch()
        (folder / f"own/masks/{number:06d}.png").touch()
        lines.append(f"{number:06d}.jpg,{('cat', 'dog')[number % 2]},masks/{number:06d}.png")
    (folder / "own/labels.csv").write_text("\n".join(lines) + "\n")
    params = "{images: own/images, labels: own/labels.csv}"
    (folder / "config/datasets/own.yaml").write_text(f"kind: folder\npreset: tiny\nparams: {params}\n")
    return folder


def planned(folder: Path) -> float:
    """CPU seconds of a dry run, which a busy machine does not stretch."""
    start = cpu_seconds()
    command = [sys.executable, "-m", "snakemake", "-n", TARGET, "--quiet", "rules"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return cpu_seconds() - start


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=82_081)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        small, large = project(Path(temp, "small"), 3), project(Path(temp, "large"), args.rows)
        plain, ours = planned(small), planned(large)
        own = large / "own"
        start = time.process_time()
        files = dataset_files({"kind": "folder", "params": {"images": str(own / "images"), "labels": str(own / "labels.csv")}})
        found = time.process_time()
        stamp(files)
        looked = time.process_time()
        folder_stamp([own])
        listed = time.process_time()
    print(f"{len(files)} files of {args.rows} rows: found in {found - start:.2f} s, looked at in {looked - found:.2f} s")
    print(f"a listing of the folders alone, which sees no row: {listed - looked:.2f} s")
    report_ratio(plain, ours)


if __name__ == "__main__":
    main()
