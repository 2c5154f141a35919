"""How a manifest names files, so that a project which is copied or moved has its own."""

import os
from pathlib import Path

HERE = "./"  # begins paths from the table's own folder


def below(path: str | Path, base: Path) -> str | None:
    """`path` relative to `base`, None where it does not lie below it."""
    absolute, inside = os.path.abspath(path), os.path.join(base, "")
    if absolute == str(base):
        return "."
    return absolute.removeprefix(inside).replace(os.sep, "/") if absolute.startswith(inside) else None


def in_project(path: str | Path, folder: Path) -> str | None:
    """`path` relative to `folder`, None where not both lie below the working directory."""
    here = Path.cwd()
    if below(path, here) is None or below(folder, here) is None:
        return None
    return os.path.relpath(os.path.abspath(path), folder).replace(os.sep, "/")


def cell(path: Path, root: Path, folder: Path) -> str:
    """How the table names a file: below root, as ./PATH from the table's own folder, or from the root of the disk."""
    absolute = os.path.join(root, path)
    name, inside = below(absolute, root), in_project(absolute, folder)
    if name is not None:
        return name
    return os.path.abspath(absolute) if inside is None else HERE + inside


def located(name: str, folder: str) -> str:
    """What `cell` wrote into the table in `folder`: absolute, or below root as it stands."""
    return os.path.abspath(os.path.join(folder, name)) if name.startswith(HERE) else name
