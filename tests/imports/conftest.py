import shutil

import pytest
from foreign_cams import SIZES
from helpers import folder_dataset


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A working directory that holds results/own: three images, the last without a label."""
    built = folder_dataset(tmp_path / "data", SIZES, unlabelled=(2,))
    shutil.copytree(built, tmp_path / "site/results/own")
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"
