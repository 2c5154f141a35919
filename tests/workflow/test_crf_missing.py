"""crf.backend: pydensecrf where that package is not installed: told before the first job."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import copy_project, environment
from wsss import workflow

SEEDS = "results/demo_tiny/cam/seeds/index.json"


def test_it_is_told_before_the_first_job(tmp_path):
    project = copy_project(tmp_path / "clone")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pydensecrf'] = None\n")
    command = [sys.executable, "-m", "snakemake", SEEDS, "--cores", "1", "--config", "crf={backend: pydensecrf}"]
    done = subprocess.run(command, cwd=project, env=environment() | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
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
