"""A digest over the pages' templates: the code's own digest reads Python only. Planning asks it, so no jinja2 here."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


def template_version(folder: Path = FOLDER) -> str:
    """Digest (16 hex digits) over names and contents of the files in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
