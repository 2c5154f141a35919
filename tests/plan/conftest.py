import shutil

import pytest
from config_files import CONFIG


@pytest.fixture
def project(tmp_path):
    """A copy of config/ to break."""
    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"
