"""The rules behind `runtime.shards`, in a copy of the repository."""

import json
import os
import re
import shutil
import time

import pytest
from helpers import artefacts, copy_project, edit, kill_when, rules_of, shorten, snakemake

SPLIT = ("--config", "runtime={shards: 2}")
TARGET = "results/demo_tiny/cam/ir_labels/index.json"
STAGES = ("cam", "seeds", "ir_labels")
SHORT = "results/demo_tiny/cam/seeds/index.json"


def set_shards(project, number):
    edit(project / "config/config.yaml", lambda content: content["runtime"].update(shards=number))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """demo_tiny's CAM up to IR labels, one job a stage."""
    project = shorten(copy_project(tmp_path_factory.mktemp("whole") / "clone"))
    done = snakemake(project, "--cores", "2", TARGET)
    assert done.returncode == 0, done.stdout[-5000:]
    return project


@pytest.fixture
def trained(whole, tmp_path):
    """The same with nothing but the classifier done."""
    shutil.copytree(whole, tmp_path / "clone", symlinks=True)
    for stage in STAGES:
        shutil.rmtree(tmp_path / "clone/results/demo_tiny/cam" / stage)
    return tmp_path / "clone"


def results(project):
    """All files of the stages but what belongs to a split."""
    found = artefacts(project / "results/demo_tiny/cam")
    return {name: data for name, data in found.items() if name.split("/")[0] in STAGES and "/shards/" not in name}


def plan(project, *arguments):
    done = snakemake(project, "-n", *arguments)
    assert done.returncode == 0, done.stdout
    return rules_of(done.stdout) if "Job stats:" in done.stdout else {}


def test_planned_jobs(whole, tmp_path):
    fresh = copy_project(tmp_path / "clone")
    target = "results/demo_tiny/irn/miou.txt"
    once = plan(fresh, target)
    assert "merge" not in once
    split = plan(fresh, target, "--config", "runtime={shards: 5}")
    per_image = {"cam", "seeds", "ir_labels", "pseudo_masks", "predictions"}
    assert split.pop("merge") == len(per_image)
    assert all(split.pop(rule) == 5 * once.pop(rule) for rule in per_image)
    assert {**split, "total": 0} == {**once, "total": 0}


def test_an_error_of_the_plan_is_the_same(whole, tmp_path):
    """No other rule is tried in place of the shards."""
    fresh = copy_project(tmp_path / "clone")
    target = "results/demo_tiny/irn/seeds/index.json"
    for arguments in ((), SPLIT):
        done = snakemake(fresh, "-n", target, *arguments)
        assert done.returncode != 0 and "irn takes its seeds from recipe cam" in done.stdout
        assert "ambiguous" not in done.stdout.lower() and "Missing input" not in done.stdout


def test_stages_of_a_dataset_are_split_too(tmp_path):
    fresh = copy_project(tmp_path / "clone")
    (fresh / "config/datasets/mine.yaml").write_text(
        "kind: folder\nparams: {images: a, labels: b.csv}\nsaliency: {make: robust_background}\n"
    )
    (fresh / "a").mkdir()
    (fresh / "b.csv").write_text("image,labels\n1.png,cat\n")
    jobs = plan(fresh, "results/mine/saliency/index.json", *SPLIT)
    assert (jobs["saliency"], jobs["merge_saliency"]) == (2, 1)
    jobs = plan(fresh, "resources/coco14_masks/index.json", *SPLIT)
    assert (jobs["coco_masks"], jobs["merge_coco_masks"]) == (2, 1)


def test_two_jobs_a_stage_write_what_one_writes(whole, trained):
    """The networks' two at the same time, as on a machine with two GPUs."""
    done = snakemake(trained, "--cores", "2", TARGET, *SPLIT, "--set-threads", "cam=1", "--resources", "gpu=2")
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.findall(r"^\w*rule cam|^Finished.*\(Rule: cam", done.stdout, re.M)[:2] == ["localrule cam"] * 2
    assert results(trained) == results(whole)
    for stage in STAGES:
        folder, logs = trained / "results/demo_tiny/cam" / stage, trained / "logs/demo_tiny/cam"
        shards = json.loads((folder / "run.json").read_text())["shards"]
        assert sum(facts["images"] for facts in shards.values()) == 6 and set(shards) == {"1of2", "2of2"}
        assert all((logs / stage / f"{name}.{end}").is_file() for name in shards for end in ("log", "tsv"))
        assert (logs / f"{stage}.tsv").is_file()
    assert plan(trained, TARGET, *SPLIT) == {}


def test_another_number_of_shards_computes_nothing_again(whole, trained):
    """Snakemake takes the stages for changed, and plans what follows; --touch tells it that they are not."""
    shutil.copytree(whole / "results", trained / "results", dirs_exist_ok=True)
    set_shards(trained, 2)
    assert plan(trained, TARGET)["merge"] == 3
    times = {p: p.stat().st_mtime_ns for p in trained.glob("results/demo_tiny/cam/*/*.[np]*")}
    done = snakemake(trained, "--cores", "2", SHORT)
    assert done.returncode == 0, done.stdout[-5000:]
    assert results(trained) == results(whole)
    images = {p: t for p, t in times.items() if p.suffix in (".npz", ".png")}
    assert images and {p: p.stat().st_mtime_ns for p in images} == images
    set_shards(trained, 3)
    assert plan(trained, SHORT)["merge"] == 2
    assert snakemake(trained, "--cores", "2", "--touch", SHORT).returncode == 0
    assert plan(trained, SHORT) == {}
    edit(trained / "config/methods/cam.yaml", lambda c: c.setdefault("seeds", {}).update(confident={"kind": "const", "value": 0.9}))
    assert plan(trained, SHORT) == {"seeds": 3, "merge": 1, "total": 4}


def written(folder, files):
    return lambda: len(list(folder.glob("*.npz"))) >= files


def go_on(project, target):
    """What a user does after a kill: the same command again."""
    done = snakemake(project, "--cores", "2", target)
    assert done.returncode == 0, done.stdout[-5000:]


def gone(project):
    """Wait until no process works in `project` any more."""
    for _ in range(100):
        inside = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd").startswith(str(project)):
                    inside.append(entry)
            except OSError:
                continue
        if not inside:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow  # tests/engine/test_shards.py stops single shards
def test_killed_while_shards_write_cams(whole, trained):
    set_shards(trained, 2)
    folder = trained / "results/demo_tiny/cam/cam"
    assert kill_when(trained, SHORT, written(folder, 2)), "all CAMs were written before the kill"
    assert gone(trained) and not (folder / "index.json").exists()
    go_on(trained, SHORT)
    logs = [path.read_text() for path in (trained / "logs/demo_tiny/cam/cam").glob("*.log")]
    assert any(re.search(r"images, [1-6] already done", log) for log in logs) or any(folder.glob("shards/*of2.json"))
    made = {name: data for name, data in results(whole).items() if not name.startswith("ir_labels/")}
    assert results(trained) == made


def test_lint_with_shards(whole, tmp_path):
    """The linter reads only what is included, and without the option this file is not."""
    done = snakemake(whole, "--lint", "--directory", str(tmp_path), *SPLIT)
    assert "Traceback" not in done.stdout and "rules/shards.smk" not in done.stdout, done.stdout
