"""Second names of a finished training's outputs, for the case that Snakemake never hears of its end.

A Snakemake that was killed while its SLURM job went on finds the outputs of that job without having seen it end.
It takes them for incomplete and deletes them; second names for the same files, which it does not know, survive.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from wsss.digest import sha256_file
from wsss.engine.atomic import write_text

NOTE = "finished.json"


def keep(outputs: Iterable[str | Path], fingerprint: str) -> None:
    """Give the outputs (of one folder) second names, and note what they are; hard links take no space."""
    paths = [Path(path) for path in outputs]
    note = {"fingerprint": fingerprint, "sha256": {path.name: sha256_file(path) for path in paths}}
    with contextlib.suppress(OSError):  # a drive without hard links: then such a training is done again
        for path in paths:
            second_name(path).unlink(missing_ok=True)
            os.link(path, second_name(path))
        write_text(paths[0].with_name(NOTE), json.dumps(note, indent=1, sort_keys=True) + "\n")


def restore(outputs: Iterable[str | Path], fingerprint: str) -> bool:
    """Put back the outputs of a training of the same fingerprint, if it finished and its files are whole."""
    paths = [Path(path) for path in outputs]
    try:
        note = json.loads(paths[0].with_name(NOTE).read_text("utf-8"))
        whole = {path.name: sha256_file(second_name(path)) for path in paths}
    except (OSError, ValueError):
        return False
    if note != {"fingerprint": fingerprint, "sha256": whole}:
        return False
    for path in paths:
        path.unlink(missing_ok=True)
        try:
            os.link(second_name(path), path)
        except OSError:  # copied here from another drive, to one without hard links
            shutil.copyfile(second_name(path), path)
        os.utime(path)  # newer than its inputs, as if just made
    return True


def second_name(path: Path) -> Path:
    return path.with_name(f".finished.{path.name}")
