"""Shared by the engine tests: small datasets on disk, tasks without Snakemake, and the workflow in a copy."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from wsss import methods
from wsss.data import folder
from wsss.engine.task import Task
from wsss.plan.plan import Plan
from wsss.plan.row import Row
from wsss.plan.stages import STAGES
from wsss.recipes import net_options
from wsss.recipes.config import Config
from wsss.train import loop

REPOSITORY = Path(__file__).resolve().parents[1]
GPU_RULES = {"classifier", "cam", "affinity", "pseudo_masks", "segmentation", "predictions", "predict", "voc_test"}
LIBRARY = REPOSITORY / "workflow" / "scripts"
RUNTIME = {"device": "cpu", "workers": 0, "checkpoint_seconds": 1e9, "log_every": 2}


def photo(rng, size_hw, label=0):
    """A noisy image with one coloured box, and its mask."""
    image = rng.integers(60, 120, (*size_hw, 3), dtype=np.uint8)
    mask = np.zeros(size_hw, np.uint8)
    height, width = size_hw
    box = np.s_[height // 4 : height // 4 * 3, width // 4 : width // 4 * 3]
    image[box] = np.array([[220, 30, 30], [30, 220, 30]][label], np.uint8)
    mask[box] = label + 1
    return image, mask


def folder_dataset(root, sizes=((64, 64),) * 6, unlabelled=(), masks=False):
    """A folder dataset of small PNGs below `root`, built into `root/results`; returns the latter."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    lines = ["image,labels"]
    for number, size_hw in enumerate(sizes):
        label = number % 2
        image, mask = photo(rng, size_hw, label)
        name = f"p {number} ü"  # an id with spaces and unicode goes all the way
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        if masks:
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
        lines.append(f"{name}.png,{'' if number in unlabelled else ['red', 'green'][label]}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    params = {"images": str(root / "images"), "labels": str(root / "labels.csv"), "classes": ["red", "green"]}
    if masks:
        params["masks"] = str(root / "masks")
    folder.build({**params, "name": "own", "allow_unlabelled": bool(unlabelled)}, root / "results")
    return root / "results"


PHOTOS = ("a", "b", "c", "d")


def table_builder(root):
    """(text or bytes of a table, params) -> the dataset of four photos below `root` that it makes; None: the table is there."""
    (root / "images").mkdir()
    for number, name in enumerate(PHOTOS):
        Image.fromarray(np.full((6, 8, 3), 40 * number, np.uint8)).save(root / "images" / f"{name}.png")

    def built(table, **params):
        if table is not None:
            (root / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        given = {"images": str(root / "images"), "labels": str(root / "labels.csv"), **params}
        return folder.build(given, root / "out")

    return built


MODELS = ("classifier", "affinity", "segmentation")


def recipe_of(name, steps, folder=REPOSITORY / "config"):
    """A recipe on demo_tiny, with the stages it takes from others filled in and few steps a network."""
    config = Config(folder, yaml.safe_load((folder / "config.yaml").read_text()))
    recipe = dict(config.recipe(name, "demo_tiny"))
    for stage, section in recipe.items():
        if isinstance(section, dict) and "from" in section:
            recipe[stage] = config.recipe(section["from"], "demo_tiny")[stage]
    for stage in (s for s in MODELS if s in recipe):
        recipe[stage] = {**recipe[stage], "steps": steps}
    return recipe


class PlanOfOne(Plan):
    """The plan of one recipe, which tests may change as they go: nothing is taken from others."""

    def __init__(self, recipe, folder):
        super().__init__(folder, yaml.safe_load((folder / "config.yaml").read_text()))
        self.main["compute"].update(precision="fp32", cpu_threads=1)
        self._recipe = recipe

    def recipe(self, row):
        return self._recipe

    def owner(self, row, stage):
        return row

    def params(self, stage, about):
        return {name: answer(self, about) for name, answer in STAGES[stage].params.items()}


class Chain:
    """Makes tasks for the stages of one recipe, as the rules would, on a dataset built below `results`."""

    def __init__(self, results, recipe="irn", steps=2, config=REPOSITORY / "config"):
        self.results, self.recipe = Path(results), recipe_of(recipe, steps, config)
        self.plan, self.row = PlanOfOne(self.recipe, config), Row("demo_tiny", recipe)

    def run(self, stage, inputs=None, **changes):
        """Run one stage; returns its folder. See `task`."""
        task = self.task(stage, inputs, **changes)
        import_module(f"wsss.stages.{stage}").run(task)
        return task.folder

    def task(self, stage, inputs=None, *, into=None, threads=1, runtime=None, **params):
        """The task of one stage.

        Args:
            inputs: name -> file below the results folder; the manifest comes by itself.
            into: folder below the results folder, by default the stage's name.
            params: over what the plan gives.
        """
        out = self.results / (into or stage)
        files = {"manifest": "manifest.csv", "dataset": "dataset.json", **(inputs or {})}
        return Task(
            stage,
            {name: str(self.results / path) for name, path in files.items()},
            {name: str(out / file) for name, file in STAGES[stage].makes.items()},
            {**self.plan.params(stage, self.row), **params},
            {**RUNTIME, **(runtime or {})},
            threads,
        )


def sigterm_at_step(monkeypatch, step):
    """Let a training get SIGTERM in this step."""
    told = loop._step

    def cut(job, batch, number, *rest):
        if number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return told(job, batch, number, *rest)

    monkeypatch.setattr(loop, "_step", cut)


def add_method(monkeypatch, folder, source):
    """Let wsss.methods have a module `mine` with this text, in `folder`, and its class Mine a line in METHODS."""
    (folder / "mine.py").write_text(source, "utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.setitem(methods.METHODS, "mine", "wsss.methods.mine:Mine")
    monkeypatch.delitem(sys.modules, "wsss.methods.mine", raising=False)
    for cached in vars(net_options).values():
        getattr(cached, "cache_clear", lambda: None)()


def copy_project(target):
    """Everything a run needs, in `target`: the files a fresh clone would hold."""
    target.mkdir(parents=True)
    for name in ("Snakefile", "rules", "config", "workflow", "profiles", "envs"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return target


def edit(path, change):
    """Change a YAML file in place."""
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def shorten(project):
    """Four steps a network, six images, one thread: the path and nothing else."""

    def fewer_steps(preset):
        for stage in ("classifier", "affinity", "segmentation"):
            preset["common"][stage]["steps"] = 4
        preset["common"]["segmentation"]["options"]["msc"] = False
        preset["common"]["predictions"]["scales"] = [0.5]

    edit(project / "config/presets/tiny.yaml", fewer_steps)
    edit(project / "config/datasets/demo_tiny.yaml", lambda c: c["params"].update(train=6, val=2))
    edit(
        project / "config/config.yaml",
        lambda c: (c["compute"].update(cpu_threads=1), c["runtime"].update(workers=0)),
    )
    return project


def rules_of(text):
    """rule -> number of jobs, from the table that ends a dry run."""
    table = text[text.rindex("Job stats:") :]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def own_photos(project):
    """A folder dataset of three photos in the project; returns the path of one."""
    folder = project / "own" / "images"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["image,labels"]
    for number in range(3):
        Image.fromarray(photo(rng, (64, 64), number % 2)[0]).save(folder / f"p{number}.png")
        lines.append(f"p{number}.png,{['red', 'green'][number % 2]}")
    (project / "own/labels.csv").write_text("\n".join(lines) + "\n")
    (project / "config/datasets/own.yaml").write_text(
        "kind: folder\npreset: tiny\nparams: {images: own/images, labels: own/labels.csv}\n"
    )
    return folder / "p0.png"


def environment():
    """Of a Snakemake that the tests start: one thread, and Snakemake's own lines, which they read."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", "WSSS_CONSOLE": "snakemake"}


def snakemake(project, *arguments, timeout=900):
    """Run Snakemake in `project`; returns the finished process with stdout and stderr joined in `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


def planned(project, *targets):
    """`recipe/stage` of every job that a dry run would start."""
    done = snakemake(project, "-n", *targets)
    assert done.returncode == 0, done.stdout
    jobs, rule = set(), None
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] in ("rule", "localrule"):
            rule = words[1].rstrip(":")
        elif rule and line.strip().startswith("wildcards:"):
            values = dict(part.split("=") for part in line.split(":", 1)[1].replace(" ", "").split(","))
            jobs.add(f"{values['method']}/{rule}" if "method" in values else rule)
            rule = None
    return jobs


def kill_when(project, target, ready, timeout=600):
    """Start Snakemake in a process group of its own and SIGKILL all of it as soon as `ready()` is true.

    Returns whether it was killed before it ended by itself.
    """
    command = [sys.executable, "-m", "snakemake", "--cores", "2", target]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + timeout
    try:
        while process.poll() is None and not ready():
            assert time.monotonic() < deadline, "nothing to kill came up in time"
            time.sleep(0.01)
        return process.poll() is None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def artefacts(folder_path):
    """Relative path -> bytes of everything below a results folder but what records how it was run.

    A journal lists ids as its processes finished them, so its order is the run's, not the result's.
    """
    files = sorted(p for p in Path(folder_path).rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder_path)): p.read_bytes()
        for p in files
        if p.name not in ("run.json", "journal.jsonl")
    }
