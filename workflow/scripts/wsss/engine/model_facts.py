"""The facts in a model's header, read without the libraries that made it."""

import json
from pathlib import Path
from typing import Any

from wsss.engine.recovery import remedy
from wsss.errors import UserError


def read_facts(path: str | Path) -> dict[str, Any]:
    """What `wsss.io.models.save_model` stored beside the tensors.

    Raises:
        UserError: missing or damaged file.
    """
    try:
        with open(path, "rb") as handle:  # safetensors: length of the header, then the header as JSON
            header = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
        return dict(json.loads(header.get("__metadata__", {}).get("facts", "{}")))
    except (OSError, ValueError, TypeError, OverflowError, MemoryError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable model ({error}); {remedy(path, 'train it again')}") from error
