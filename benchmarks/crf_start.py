"""Jobs that start at once with no machine code on disk: all end well and agree, and what a first and a later job pays.

    python benchmarks/crf_start.py [--jobs 16] [--read-only]

Each is a process of its own with a CRF of two labels on an image of 20x30 pixels; the folder for machine code is a new one.
--read-only: the jobs run from a copy of the code that nobody can write (as root: mounted so).
Ends with 1 where a job fails or the jobs disagree. Plain: a job that compiles; ours: one that finds the code on disk.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]
from _timing import report_ratio  # noqa: E402

LIBRARY = Path(__file__).parents[1] / "workflow" / "scripts"
JOB = """
import hashlib, time
import numpy as np
from wsss.refine.crf import IRN_LABEL, label_marginals, prepare
image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
labels = (np.arange(600).reshape(20, 30) % 7 > 3).astype(int)
start = time.process_time()
prepare(IRN_LABEL)
seconds = time.process_time() - start
found = label_marginals(image, labels, 1 - labels, 2)
print(hashlib.sha256(found[0].tobytes()).hexdigest(), seconds)
"""


@contextmanager
def read_only() -> Iterator[Path]:
    """The library in a copy that cannot be written."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(LIBRARY, Path(folder) / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        is_root = os.geteuid() == 0  # whom permissions do not bind
        close = ["mount", "--bind", "-o", "ro", str(copy), str(copy)] if is_root else ["chmod", "-R", "a-w", str(copy)]
        subprocess.run(close, check=True)
        try:
            if os.access(copy / "wsss", os.W_OK):
                sys.exit(f"{copy}: can still be written")
            yield copy
        finally:
            subprocess.run(["umount", str(copy)] if is_root else ["chmod", "-R", "u+w", str(copy)], check=True)


def started(library: Path, folder: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(library), "NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", JOB], env=environment, stdout=subprocess.PIPE, text=True)


def result(job: subprocess.Popen) -> tuple[str, float]:
    """(digest, CPU seconds until the CRF was ready)"""
    printed, _ = job.communicate()
    if job.returncode:
        sys.exit(f"a job failed with {job.returncode}")
    digest, seconds = printed.split()
    return digest, float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--read-only", action="store_true")
    args = parser.parse_args()
    with read_only() if args.read_only else nullcontext(LIBRARY) as library, tempfile.TemporaryDirectory() as folder:
        at_once = [result(job) for job in [started(library, folder) for _ in range(args.jobs)]]
        later = [result(started(library, folder)) for _ in range(2)]
        megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    digests = {digest for digest, _ in at_once + later}
    print(f"{args.jobs} jobs at once: all ended well, {len(digests)} different result(s); {megabytes:.1f} MB of machine code")
    report_ratio(max(seconds for _, seconds in at_once), min(seconds for _, seconds in later))
    sys.exit(len(digests) != 1)


if __name__ == "__main__":
    main()
