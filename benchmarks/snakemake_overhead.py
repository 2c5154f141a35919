"""What Snakemake costs: seconds a job, here and on SLURM, and planning voc12 + coco14, all methods, 64 shards.

    python benchmarks/snakemake_overhead.py [--jobs 20] [--slurm] [--plan-only]

A job is a `script:` of one line, in a chain (each waits for the one before), so nothing hides behind anything; the
first job's start-up is taken off by a chain of one. `--slurm` sends the chain to the SLURM of this machine, one node,
nobody else in the queue: what is left is Snakemake's share and the plugin's looks at the queue.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SNAKEFILE = """
rule step:
    input: lambda w: f"{int(w.n) - 1}.txt" if int(w.n) else []
    output: "{n,[0-9]+}.txt"
    resources: mem_mb=100, runtime=5
    script: "step.py"
"""
SLURM = ["--executor", "slurm", "--jobs", "10", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "2"]
DATASETS = ("voc12", "coco14")
LOCAL = ["--cores", "1"]


def snakemake(folder: Path, *arguments: str) -> tuple[float, str]:
    """(seconds, words) of a run in `folder`."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return seconds, done.stdout


def chain(jobs: int, options: list[str]) -> float:
    """Seconds of a chain of so many jobs."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(SNAKEFILE)
        (Path(folder) / "step.py").write_text("open(snakemake.output[0], 'w').close()\n")
        return snakemake(Path(folder), f"{jobs - 1}.txt", *options)[0]


def per_job(jobs: int, options: list[str]) -> float:
    return (chain(jobs, options) - chain(1, options)) / (jobs - 1)


def plan(shards: int) -> None:
    """Print jobs and seconds of a dry run of both datasets with every recipe, nothing made yet."""
    names = sorted(path.stem for path in (REPOSITORY / "config/methods").glob("*.yaml"))
    targets = [f"results/{dataset}/{name}/miou.txt" for dataset in DATASETS for name in names]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "stand-in.params"  # the one file that no rule downloads
        weights.touch()
        settings = ["--config", f"runtime={{shards: {shards}}}", f"weights={{resnet38d: {weights}}}"]
        before = cpu_seconds()
        seconds, words = snakemake(REPOSITORY, "-n", *targets, "--directory", folder, "--quiet", "rules", *settings)
        cpu = cpu_seconds() - before
    jobs = next(int(line.split()[1]) for line in words.splitlines() if line.startswith("total"))
    print(f"{len(names)} methods on {', '.join(DATASETS)}, {shards} shards: {jobs} jobs in {seconds:.1f} s (CPU {cpu:.1f} s)")


def cpu_seconds() -> float:
    """CPU time of all processes that have ended: what a busy machine does not stretch."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--plan-only", action="store_true")
    args = parser.parse_args()
    plan(args.shards)
    if not args.plan_only:
        print(f"local: {per_job(args.jobs, LOCAL):.2f} s a job")
    if args.slurm:
        print(f"SLURM: {per_job(min(args.jobs, 6), SLURM):.1f} s a job")


if __name__ == "__main__":
    main()
