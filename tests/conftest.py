"""Before anything imports torch: test processes run side by side, so each takes one core."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

LONGEST = ("test_slurm", "test_workflow")  # begun first, or one process would wait for them at the end


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.fixture
def photos_elsewhere(monkeypatch):
    """Datasets of real photos have a path, at which nothing lies: enough for their recipes."""
    monkeypatch.setenv("WSSS_TEST_DATA", "/data")
