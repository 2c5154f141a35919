"""Jobs that start at once with no machine code on disk: all end well and agree, and what a first and a later job pays.

    python benchmarks/crf_start.py [--jobs 16]

Each is a process of its own with a CRF of two labels on an image of 20x30 pixels; the folder for machine code is a new one.
Ends with 1 where a job fails or the jobs disagree. Plain: a job that compiles; ours: one that finds the code on disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
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


def started(folder: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(LIBRARY), "NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
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
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        at_once = [result(job) for job in [started(folder) for _ in range(args.jobs)]]
        later = [result(started(folder)) for _ in range(2)]
        megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    digests = {digest for digest, _ in at_once + later}
    print(f"{args.jobs} jobs at once: all ended well, {len(digests)} different result(s); {megabytes:.1f} MB of machine code")
    report_ratio(max(seconds for _, seconds in at_once), min(seconds for _, seconds in later))
    sys.exit(len(digests) != 1)


if __name__ == "__main__":
    main()
