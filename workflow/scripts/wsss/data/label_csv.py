"""Image labels from a CSV `id,labels`, in place of annotation files; `import_labels.py` writes such files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from wsss.data.class_names import unknown_class
from wsss.data.columns import check_columns
from wsss.data.table import listing, read_rows, split_list
from wsss.engine.atomic import write_text
from wsss.errors import UserError

COLUMNS = ("id", "labels")


def read_labels(
    path: Path, spellings: Mapping[str, str], key: Callable[[str], Hashable | None] = str
) -> dict[Hashable, tuple[str, ...]]:
    """Class names of each image, by what `key` makes of its id.

    Args:
        spellings: spelling -> class name.
        key: None for what is no id.

    Raises:
        UserError: not such a CSV; else every bad line at once (no id, an id twice, an unknown class).
    """
    found: dict[Hashable, tuple[str, ...]] = {}
    problems = []
    rows = read_rows(path, COLUMNS)
    check_columns(path, rows, COLUMNS)
    for line, cells in rows:
        image, labels = key(cells["id"].strip()), split_list(cells["labels"])
        unknown = sorted({label for label in labels if label not in spellings})
        if image is None:
            problems.append(f"line {line}: {cells['id']!r} is not an id")
        elif image in found:
            problems.append(f"line {line}: {cells['id']} stands there twice")
        problems += [f"line {line} ({cells['id']}): {unknown_class(label, tuple(spellings))}" for label in unknown]
        found.setdefault(image, tuple(dict.fromkeys(spellings.get(label, label) for label in labels)))
    if problems:
        raise UserError(listing(f"{path}: bad labels; mend these lines", problems))
    return found


def write_labels(path: Path, labels: Mapping[str, Sequence[str]]) -> None:
    """Write id -> class names as CSV, in the order given."""
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([image_id, ";".join(names)] for image_id, names in labels.items())
    write_text(path, out.getvalue())
