"""crf.backend: pydensecrf where that package is not installed: told before the first job."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from helpers import REPOSITORY, copy_project, environment
from wsss import workflow

SEEDS = "results/demo_tiny/cam/seeds/index.json"


@pytest.mark.parametrize("options, status", [([], 1), (["-n"], 0)], ids=["run", "dry run"])
def test_it_is_told_before_the_first_job(tmp_path, options, status):
    project = copy_project(tmp_path / "clone")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pydensecrf'] = None\n")
    command = [sys.executable, "-m", "snakemake", SEEDS, "--cores", "1", *options, "--config", "crf={backend: pydensecrf}"]
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
        with pytest.raises(workflow.Mistake, match="pydensecrf: missing"):
            workflow._check_crf(run)
    else:
        workflow._check_crf(run)


@pytest.mark.parametrize("deployment, is_told", [((), True), (("conda",), False)])
def test_a_dry_run_asks_for_no_package_that_an_environment_brings(monkeypatch, caplog, deployment, is_told):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr(workflow.logger, "propagate", True)
    rules = workflow.Rules(str(REPOSITORY), {**yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()), "crf": {"backend": "pydensecrf"}})
    rules.warn_of_missing(SimpleNamespace(output_settings=SimpleNamespace(dryrun=True), deployment_settings=SimpleNamespace(deployment_method=set(deployment))))
    assert ("pydensecrf: missing" in caplog.text) == is_told
