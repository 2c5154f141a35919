"""crf.backend: pydensecrf where that package is not installed: told before the first job."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from helpers import REPOSITORY, copy_project, edit, environment
from wsss.dag import rules as dag_rules
from wsss.dag import start

SEEDS = "results/demo_tiny/cam/seeds/index.json"
CHOICE = {"backend": "pydensecrf"}


def chosen_by(recipe, project):
    """The recipe chooses the package itself, on demo_tiny."""
    edit(project / "config/datasets/demo_tiny.yaml", lambda c: c.update(overrides={recipe: {"seeds": {"crf_params": CHOICE}}}))


@pytest.mark.parametrize("options, status", [([], 1), (["-n", "-q"], 0)], ids=["run", "dry run"])
def test_it_is_told_before_the_first_job(tmp_path, options, status):
    project = copy_project(tmp_path / "clone")
    chosen_by("cam", project)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pydensecrf'] = None\n")
    command = [sys.executable, "-m", "snakemake", SEEDS, "--cores", "1", *options]
    done = subprocess.run(command, cwd=project, env=environment() | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    assert "pip install pydensecrf2==1.1" in done.stdout + done.stderr
    assert not (project / "results").exists()


@pytest.mark.parametrize("deployment, backend, is_refused", [((), "pydensecrf", True), (("conda",), "pydensecrf", False), ((), "lattice", False)])
def test_environments_bring_their_own(monkeypatch, deployment, backend, is_refused):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    jobs = [SimpleNamespace(params={"settings": {"crf_params": {"backend": backend}}}), SimpleNamespace(params={})]
    run = SimpleNamespace(deployment_settings=SimpleNamespace(deployment_method=set(deployment)), dag=SimpleNamespace(needrun_jobs=lambda: jobs))
    if is_refused:
        with pytest.raises(start.Mistake, match="pydensecrf: missing"):
            start._check_crf(run)
    else:
        start._check_crf(run)


@pytest.mark.parametrize(
    "changes, deployment, own, is_told",
    [
        ({"crf": CHOICE}, (), None, True),
        ({"crf": CHOICE}, ("conda",), None, False),
        ({}, (), "sipe", True),
        ({}, (), "eps_crf", False),
    ],
    ids=["for all", "an environment brings it", "by the recipe", "by another recipe"],
)
def test_a_dry_run_tells_of_the_jobs_that_miss_it(monkeypatch, caplog, tmp_path, changes, deployment, own, is_told):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(dag_rules.logger, "propagate", True)
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    if own:
        chosen_by(own, tmp_path)
    rules = dag_rules.FromPlan(str(tmp_path), {**yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()), **changes})
    rules.warn_of_missing(SimpleNamespace(output_settings=SimpleNamespace(dryrun=True), deployment_settings=SimpleNamespace(deployment_method=set(deployment))))
    for _ in range(2):
        rules.params("seeds")["settings"](SimpleNamespace(dataset="demo_tiny", method="sipe"))
    assert caplog.text.count("pydensecrf: missing") == is_told
