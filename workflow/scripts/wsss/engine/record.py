"""`run.json`: how a stage was run — config, code, packages, device, time, memory. For people, never an input."""

import platform
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from wsss.engine.atomic import write_json
from wsss.errors import UserError

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "numba", "pydensecrf2", "scipy", "scikit-image", "pandas", "pillow", "timm")


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
            **_gpu_facts(self.facts["device"]),
        )
        write_json(path, self.facts)


def refuse_other_classes(path: Path, facts: Any, classes: list[str], about: str | Path) -> None:
    """A number in what a stage made means another class once the dataset's list has changed.

    Args:
        path, facts: the stage's run.json and what it holds; those of former versions say nothing of classes.
        classes: those of the dataset now, from its dataset.json, `about`.

    Raises:
        UserError: the stage was run when they were others.
    """
    former = facts.get("classes", classes) if isinstance(facts, dict) else classes
    if former != classes:
        then, now = (", ".join(map(str, names)) for names in (former, classes))
        raise UserError(
            f"{path.parent}: was made when the classes were {then}, and {about} lists {now} now: "
            "a number would mean another class; run snakemake again for what is made there"
        )


def _gpu_facts(device: str) -> dict[str, Any]:
    """Name of the GPU that was worked on, and the most memory that PyTorch held of it; nothing without one."""
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None or not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated(device)
    return {"gpu": torch.cuda.get_device_name(device), "peak_gpu_memory_mb": round(peak / 2**20, 1)}


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape results."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
