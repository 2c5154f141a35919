"""What starting costs, in processor seconds: planning one method, and the imports of each stage.

    python benchmarks/start_up.py [--repeats 3] [--target results/voc12/cam/miou.txt]

Planning: `snakemake -n` of the target, in an empty folder, beside Snakemake's own part in the same run: its import, and a dry
run of a Snakefile with one rule. Ours is what comes on top of the latter. Imports: a process that imports the stage's
module and ends, less one that imports nothing; what a stage imports only where it needs it (PyTorch, numba) is not in.
The least of the repeats, sides in turn.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "workflow/scripts"
ONE_RULE = "rule one:\n    output: 'one.txt'\n    shell: 'touch {output}'\n"
DRY_RUN = ["-m", "snakemake", "-n", "-q", "--cores", "1"]


def seconds_of(folder: Path, *arguments: object) -> float:
    """Processor seconds of a Python that runs in `folder`; what it starts itself counts too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(folder: Path, ways: dict[str, list], repeats: int) -> dict[str, float]:
    """Name -> the least processor seconds of its command."""
    found = [{name: seconds_of(folder, *arguments) for name, arguments in ways.items()} for _ in range(repeats)]
    return {name: min(one[name] for one in found) for name in ways}


def planning(folder: Path, target: str) -> dict[str, list]:
    """The commands to compare."""
    (folder / "one").mkdir()
    (folder / "one/Snakefile").write_text(ONE_RULE)
    return {
        "import snakemake": ["-c", "import snakemake.cli"],
        "snakemake -n, one rule": [*DRY_RUN, "--directory", folder / "one", "-s", folder / "one/Snakefile", "one.txt"],
        f"snakemake -n {target}": [*DRY_RUN, "--directory", folder / "ours", "-s", ROOT / "Snakefile", target],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--target", default="results/voc12/cam/miou.txt")
    args = parser.parse_args()
    stages = sorted(path.stem for path in (LIBRARY / "wsss/stages").glob("*.py") if path.stem != "__init__")
    imports = {name: ["-c", f"import sys; sys.path.insert(0, {str(LIBRARY)!r}); import wsss.stages.{name}"] for name in stages}
    with tempfile.TemporaryDirectory() as folder:
        plans = least(Path(folder), planning(Path(folder), args.target), args.repeats)
        for name, seconds in plans.items():
            print(f"{name}: {seconds:.2f} s", flush=True)
        _, snakemakes, whole = plans.values()
        print(f"our part: {whole - snakemakes:.2f} s", flush=True)
        loaded = least(Path(folder), {"nothing": ["-c", "pass"], **imports}, args.repeats)
    nothing = loaded.pop("nothing")
    for name, seconds in sorted(loaded.items(), key=lambda item: -item[1]):
        print(f"stage {name}: {seconds - nothing:.2f} s")


if __name__ == "__main__":
    main()
