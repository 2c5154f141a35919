"""container/: both recipes install the lock and nothing else, and name what exists. No image is built here."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from helpers import REPOSITORY, copy_project

DOCKERFILE = (REPOSITORY / "container/Dockerfile").read_text("utf-8")
APPTAINER = (REPOSITORY / "container/wsss.def").read_text("utf-8")
NOBODY = 54321  # a user without a name or a home


def instructions(name):
    """Arguments of a Dockerfile's instructions of one kind, with continued lines joined."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{name} ")]


def section(name):
    """Lines of a section of the Apptainer recipe."""
    body = re.search(rf"^%{name}\n((?:[ ]+.*\n)+)", APPTAINER, re.MULTILINE)
    return [line.strip() for line in body[1].splitlines()]


def test_both_recipes_do_the_same():
    (base,), (run,) = instructions("FROM"), instructions("RUN")
    assert f"From: {base}" in APPTAINER.splitlines()
    assert [step.strip() for step in run.split("&&")] == section("post")
    *sources, folder = instructions("COPY")[0].split()
    assert [f"{source} {folder}" for source in sources] == section("files")


def test_what_is_installed_is_the_locked_versions():
    *sources, folder = instructions("COPY")[0].split()
    assert sources == ["requirements.txt", "requirements.lock"] and folder == "/opt/wsss/"
    installs = [step for step in section("post") if "pip install" in step]
    assert installs == [f"pip install --no-cache-dir -r {folder}{sources[0]} pydensecrf2==1.1 -c {folder}{sources[1]}"]
    assert all((REPOSITORY / source).is_file() for source in sources)
    ignored = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[1:] == ["*", *(f"!{source}" for source in sources)]


def test_python_is_that_of_the_conda_environments():
    (base,) = instructions("FROM")
    envs = [yaml.safe_load(path.read_text("utf-8")) for path in (REPOSITORY / "envs").glob("*.yaml")]
    assert {env["dependencies"][0] for env in envs} == {f"python={re.match(r'python:([0-9.]+)-', base)[1]}"}


@pytest.fixture
def open_folder():
    """A folder that others may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


# A user who may read all (Python may be in a folder of root's) and write but their own.
CAPS = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
BECOME = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *CAPS]


def cannot():
    """Whether such a user cannot be had here: no root, no setpriv, or a container that keeps the capability back."""
    return os.geteuid() != 0 or not shutil.which("setpriv") or subprocess.run([*BECOME, "true"]).returncode != 0


def as_nobody(words, folder, env):
    return subprocess.run([*BECOME, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=900)


@pytest.mark.skipif(cannot(), reason="needs root, setpriv and the capability dac_read_search")
def test_a_user_without_name_and_home_can_run_it(open_folder):
    """As `docker run --user` starts it, with the variables of the Dockerfile; the packages are those at hand."""
    project = copy_project(open_folder / "clone")
    for path in (project, *project.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    settings = dict(word.split("=", 1) for line in instructions("ENV") for word in shlex.split(line))
    inside = {name: value.replace("/tmp", str(open_folder)) for name, value in settings.items()}
    words = [sys.executable, "-m", "snakemake", "results/demo_tiny/manifest.csv", "--cores", "1"]
    done = as_nobody(words, project, {"PATH": os.environ["PATH"], **inside})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "results/demo_tiny/manifest.csv").stat().st_uid == NOBODY
