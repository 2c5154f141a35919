"""`run.json`: how a stage was run — config, code, packages, device, time, memory. For people, never an input."""

import platform
import resource
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from wsss.engine.atomic import write_json

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "numba", "pydensecrf2", "scipy", "scikit-image", "pandas")


class RunRecord:
    """Collects facts while a stage runs; `write` puts them into `run.json`."""

    def __init__(self, stage: str, params: dict[str, Any]) -> None:
        self._start = time.monotonic()
        self.facts: dict[str, Any] = {"stage": stage, "params": params, "device": "cpu"}

    def write(self, path: str | Path, *, images: int = 0, **facts: Any) -> None:
        """Write the record; `images` gives images per second."""
        seconds = time.monotonic() - self._start
        usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        self.facts.update(
            facts,
            wall_seconds=round(seconds, 2),
            images=images,
            images_per_second=round(images / seconds, 3) if images and seconds else None,
            peak_memory_mb=round(max(usage) / 1024, 1),
            packages=package_versions(),
            python=platform.python_version(),
        )
        write_json(path, self.facts)


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape results."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
