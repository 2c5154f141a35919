"""Every env of envs/ for real, outside the tests since each with PyTorch holds 5 GB: python tests/env_venvs.py FOLDER

Snakemake, in an environment that holds it alone, runs demo_tiny stage by stage by `--sdm conda`. A stand-in for conda
(conda_standin.py) makes each environment from exactly the packages that the stage's file lists below `pip:`. In each
the stage runs; then all modules behind it are imported, with nothing else on the path. An environment is
deleted after its last stage. Stages that are not named are run by the Python at hand. At the end a table of what was made.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "workflow/scripts"), str(Path(__file__).resolve().parent / "workflow")]

import coco_tree  # noqa: E402
import conda_standin  # noqa: E402
import numpy as np  # noqa: E402
import test_envs  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from helpers import REPOSITORY, copy_project, edit, environment, photo, shorten  # noqa: E402
from PIL import Image  # noqa: E402

IRN, CAM = "results/demo_tiny/irn", "results/demo_tiny/cam"
# Stage -> what its rules make, in an order in which each target leaves just that stage to run.
TARGETS = {
    "coco_masks": ["resources/coco_tiny_masks/index.json"],
    "dataset": ["results/demo_tiny/manifest.csv", "results/coco_tiny/manifest.csv"],
    "weights": ["resources/weights/resnet18.safetensors"],
    "saliency": ["results/demo_tiny/saliency/index.json"],  # in two shards, so that the env of merge is made too
    "classifier": [f"{CAM}/classifier/model.safetensors", "results/demo_tiny/cpn/classifier/model.safetensors"],
    "cam": [f"{CAM}/cam/index.json", "results/demo_tiny/cpn/cam/index.json"],
    "threshold": [f"{CAM}/threshold/threshold.json"],
    "seeds": [f"{CAM}/seeds/index.json"],
    "ir_labels": [f"{CAM}/ir_labels/index.json"],
    "affinity": [f"{IRN}/affinity/model.safetensors"],
    "pseudo_masks": [f"{IRN}/pseudo_masks/index.json"],
    "segmentation": [f"{IRN}/segmentation/model.safetensors"],
    "predictions": [f"{IRN}/predictions/index.json"],
    "predict": [f"{IRN}/predict/trip/areas.csv"],
    "evaluation": [f"{IRN}/miou.txt"],
    "diagnosis": [f"{IRN}/diagnosis.txt"],
    "report": ["results/demo_tiny/report/index.html"],
}
SHARDED = "saliency"
TRIGGERS = ["--rerun-triggers", "mtime", "params", "input"]
IMPORTS = "import importlib, sys\nsys.path.insert(0, sys.argv[1])\nfor name in sys.argv[2:]: importlib.import_module(name)"


def make_project(folder):
    """A copy with small nets, and inputs for the stages that want some."""
    project = shorten(copy_project(folder / "project"))
    images = folder / "photos"
    images.mkdir()
    Image.fromarray(photo(np.random.default_rng(0), (64, 80))[0]).save(images / "one.png")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    coco = {"year": 2017, "list": "all", "path": str(coco_tree.coco_folder(folder / "coco"))}
    (project / "config/datasets/coco_tiny.yaml").write_text(f"kind: coco\npreset: tiny\nparams: {coco}\n", "utf-8")

    def change(content):
        content.update(methods=["irn"], datasets=["demo_tiny"], predict={"trip": str(images)})
        content["weights"]["resnet18"] = str(folder / "resnet18.pth")

    edit(project / "config/config.yaml", change)
    edit(project / "config/datasets/demo_tiny.yaml", lambda c: c.update(saliency={"make": "robust_background"}))
    return project


def plain_environment(*tools):
    """Variables of a process; bytecode may be written, or PyTorch's files would be compiled at each start."""
    path = ":".join([*map(str, tools), os.environ["PATH"]])
    return {k: v for k, v in environment().items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PATH": path}


class Site:
    """Snakemake alone in one environment, the stand-in for conda, the project."""

    def __init__(self, folder, uv, leave_out, build):
        self.project, self.build = make_project(folder), build
        self.modules = {env_file: modules_behind(env_file) for env_file in test_envs.ENVS}  # of the copy's state
        lock = str(REPOSITORY / "requirements.lock")
        facts = {"prefix": str(folder), "mode": "install", "constraints": lock, "uv": uv, "leave_out": leave_out}
        self.tools = conda_standin.write(folder / "conda", **{k: v for k, v in facts.items() if k != "prefix"})
        self.python = folder / "snakemake/bin/python"
        subprocess.run([sys.executable, "-m", "venv", self.python.parents[1]], check=True)
        wanted = [f"{name}=={version}" for name, version in test_envs.requirements().items() if "snakemake" in name]
        conda_standin.install(facts, str(self.python.parents[1]), wanted)

    def snakemake(self, stage):
        """Run a stage from its environments, which are made first."""
        shards = 2 if stage == SHARDED else 1
        config = f"runtime={{conda: {self.build}, shards: {shards}}}"
        words = [*TARGETS[stage], "--cores", "1", *TRIGGERS, "--sdm", "conda", "--config", config]
        command, env = [self.python, "-m", "snakemake", *words], plain_environment(self.tools)
        subprocess.run(command, cwd=self.project, env=env, check=True)

    def prepare(self, stages):
        """Run stages by the Python at hand."""
        words = [*(target for stage in stages for target in TARGETS[stage]), "--cores", "1", *TRIGGERS]
        command = [sys.executable, "-m", "snakemake", *words]
        subprocess.run(command, cwd=self.project, env=plain_environment(), check=True)

    def files(self, stage):
        """Env files of a stage's rules, as this build of PyTorch chooses them."""
        stages = [stage, "merge"] if stage == SHARDED else [stage]
        found = [(REPOSITORY / f"envs/{name}.yaml", REPOSITORY / f"envs/{name}.cpu.yaml") for name in stages]
        return [cpu if self.build == "cpu" and cpu.exists() else plain for plain, cpu in found]

    def made(self, env_file):
        """The folder of an env file's environment."""
        wanted = env_file.read_text("utf-8")
        copies = (self.project / ".snakemake/conda").glob("*.yaml")
        return next(path.with_suffix("") for path in copies if path.read_text("utf-8") == wanted)


def modules_behind(env_file):
    """Modules of `wsss` behind all rules of an env file."""
    scripts = [script for _, envs, script, _ in test_envs.rules() if env_file in envs]
    return sorted(set().union(*map(test_envs.modules_of, scripts)))


def import_all(prefix, modules, library):
    """Import every module behind an env's rules, with nothing on the path but the library and the environment."""
    words = ["-I", "-c", IMPORTS, str(library), *modules]
    subprocess.run([prefix / "bin/python", *words], check=True, env=plain_environment())


def megabytes(prefix):
    return int(subprocess.check_output(["du", "-sm", prefix], text=True).split()[0])


def take_seconds(prefix):
    """Seconds that an environment took, told once: stages may share it."""
    path = prefix / "seconds"
    seconds = int(path.read_text("utf-8"))
    path.write_text("0", "utf-8")
    return seconds


def measure(site, stage):
    """Make a stage's environments, run the stage, import all behind it; a row of the table."""
    start = time.monotonic()
    site.snakemake(stage)
    end = time.monotonic()
    prefixes = {env_file: site.made(env_file) for env_file in site.files(stage)}
    for env_file, prefix in prefixes.items():
        assert (prefix / "used").exists(), f"{stage} did not run in the environment of {env_file.name}"
        (prefix / "used").unlink()
        import_all(prefix, site.modules[env_file], site.project / "workflow/scripts")
    made = sum(take_seconds(prefix) for prefix in prefixes.values())
    listed = sum(len(test_envs.pip_pins(env_file)) for env_file in prefixes)
    packages = sum(len(list(prefix.glob("lib/python3*/site-packages/*.dist-info"))) for prefix in prefixes.values())
    size = sum(map(megabytes, prefixes.values()))
    names = ", ".join(env_file.stem for env_file in prefixes)
    return f"| {names} | {listed} | {packages} | {size} | {made or 'made above'} | {end - start - made:.0f} |"


def contents(site, stage):
    return {env_file.read_text("utf-8") for env_file in site.files(stage)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="new folder; 16 GB while it runs")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"only these: {' '.join(TARGETS)}")
    parser.add_argument("--uv", help="path of `uv`, which installs faster than pip")
    parser.add_argument("--build", choices=["cuda", "cpu"], default="cuda", help="PyTorch of the GPU's stages")
    parser.add_argument("--no-cpu-index", action="store_true", help="where download.pytorch.org cannot be reached")
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    site = Site(args.folder.resolve(), args.uv, ["--extra-index-url"] if args.no_cpu_index else [], args.build)
    rows, stages = [], [stage for stage in TARGETS if not args.stages or stage in args.stages]
    ready = set()
    for number, stage in enumerate(stages):
        before = list(TARGETS)[: list(TARGETS).index(stage)]
        others = [name for name in before if name not in stages and name not in ready]
        if others:
            site.prepare(others)
            ready.update(others)
        rows.append(measure(site, stage))
        print(rows[-1], flush=True)
        later = set().union(*(contents(site, name) for name in stages[number + 1 :]))
        for env_file in site.files(stage):
            if env_file.read_text("utf-8") not in later:
                shutil.rmtree(site.made(env_file))
    print("| env | packages listed | installed | MB | made in s | stages ran in s |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
