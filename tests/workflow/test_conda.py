"""`snakemake --sdm conda`, with a stand-in for the `conda` command (conda_standin.py says what it leaves out)."""

import os
import subprocess
import sys

import conda_standin
import pytest
import yaml
from helpers import REPOSITORY, copy_project, environment, shorten

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the env files want Python 3.11, the stand-in has this one")
MODEL = "results/demo_tiny/cam/classifier/model.safetensors"
KEEP = ("--rerun-triggers", "mtime", "params", "input")
CPU = ("--config", "runtime={conda: cpu}")


class Site:
    """A copy of the project, and a stand-in on the PATH."""

    def __init__(self, folder):
        self.conda = folder / "conda"
        self.project = shorten(copy_project(folder / "clone"))
        self.tools = conda_standin.write(self.conda, mode="share")

    def snakemake(self, *arguments, conda=True):
        """The run's status and all it printed."""
        path = f"{self.tools}:{os.environ['PATH']}" if conda else os.environ["PATH"]
        command = [sys.executable, "-m", "snakemake", *arguments]
        done = subprocess.run(
            command, cwd=self.project, env={**environment(), "PATH": path}, capture_output=True, text=True, timeout=900
        )
        return done.returncode, done.stdout + done.stderr

    def environments(self):
        """Env file's content -> folder, of all that were made."""
        made = self.project / ".snakemake/conda"
        return {path.read_text("utf-8"): path.with_suffix("") for path in made.glob("*.yaml")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """demo_tiny's manifest and a classifier, each from its own environment."""
    site = Site(tmp_path_factory.mktemp("site"))
    status, printed = site.snakemake(MODEL, "--cores", "1", "--sdm", "conda", *CPU)
    assert status == 0 and (site.project / MODEL).exists(), printed[-5000:]
    return site


def env_file(name):
    return (REPOSITORY / f"envs/{name}.yaml").read_text("utf-8")


def test_each_stage_runs_in_the_environment_of_its_own_file(site):
    made = site.environments()
    assert set(made) == {env_file("dataset"), env_file("classifier.cpu")}
    assert all((folder / "used").exists() for folder in made.values())
    created = [words for words in conda_standin.calls(site.conda) if words[:2] == ["env", "create"]]
    assert len(created) == 2


def test_another_build_of_pytorch_reruns_what_computes_with_it(site):
    status, plan = site.snakemake(MODEL, "-n", "--sdm", "conda", *CPU)
    assert status == 0 and "Nothing to be done" in plan
    status, plan = site.snakemake(MODEL, "-n", "--sdm", "conda")
    assert status == 0 and "Software environment definition has changed" in plan
    assert "rule classifier:" in plan and "rule dataset:" not in plan


def test_results_made_with_the_option_can_be_kept_without_it(site):
    """Snakemake takes leaving it for a change of the software; docs/environments.md says how to tell it otherwise."""
    status, plan = site.snakemake("-n", MODEL, *KEEP, conda=False)
    assert status == 0 and "Nothing to be done" in plan


def test_an_environment_that_cannot_be_made_ends_the_run_with_its_name(tmp_path):
    site = Site(tmp_path)
    listed = site.project / "envs/dataset.yaml"
    content = yaml.safe_load(listed.read_text("utf-8"))
    content["dependencies"][0] = "python=2.7"
    listed.write_text(yaml.safe_dump(content), "utf-8")
    status, printed = site.snakemake("results/demo_tiny/manifest.csv", "--cores", "1", "--sdm", "conda")
    assert status == 1 and "Could not create conda environment" in printed and "envs/dataset.yaml" in printed
    assert not (site.project / "results").exists()
