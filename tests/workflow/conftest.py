import shutil

import pytest
from helpers import copy_project


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("fresh") / "clone")


@pytest.fixture
def clone(fresh, tmp_path):
    shutil.copytree(fresh, tmp_path / "clone", ignore=shutil.ignore_patterns(".snakemake"))
    return tmp_path / "clone"
