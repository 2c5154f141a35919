"""The vocabulary of dataset tables: reading a CSV as it stands, `;` lists, legal ids and class names."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wsss.errors import UserError

MAX_ID_BYTES = 200  # file systems end at 255, and temporary names and suffixes need room
_EXTRA = "\0extra"


def read_rows(path: str | Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV as (line number, cells); cells are strings as they stand ("0012", "NA"). BOM, CRLF welcome.

    Raises:
        UserError: missing file, not UTF-8, a required column missing, a row with too many or too few cells.
    """
    reader = csv.DictReader(io.StringIO(_read_utf8(Path(path)), newline=""), restkey=_EXTRA)
    try:
        header = list(reader.fieldnames or [])
        rows = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise UserError(
            f"{path}: line {reader.line_num}: not a CSV ({error}); save it again as CSV"
        ) from error
    missing = [name for name in required if name not in header]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} missing (found: {', '.join(header) or 'none'})")
    ragged = [str(line) for line, cells in rows if _EXTRA in cells or None in cells.values()]
    if ragged:
        raise UserError(
            f"{path}: line {', '.join(ragged[:50])}: not as many cells as the header has ({len(header)}); "
            f"put cells that hold a comma in double quotes"
        )
    return rows


def _read_utf8(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8 CSV") from error


def split_list(cell: str) -> tuple[str, ...]:
    """The items of a `;` list, stripped, empty ones dropped."""
    return tuple(item.strip() for item in cell.split(";") if item.strip())


RESERVED = (".unsure", ".nocrf")  # suffixes of second masks: a.unsure.png belongs to id a


def bad_id(image_id: str) -> str | None:
    """Why an id cannot serve as a file name, or None. Spaces and unicode are fine."""
    if not image_id.strip():
        return "is empty"
    if "/" in image_id or "\\" in image_id:
        return "contains a slash"
    if image_id.startswith("."):
        return "begins with a dot"
    if image_id.endswith(RESERVED):
        return f"ends in {' or '.join(RESERVED)}, which name other files of an id"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in image_id):
        return "contains a NUL or another control character"
    if len(image_id.encode("utf-8")) > MAX_ID_BYTES:
        return f"is longer than {MAX_ID_BYTES} bytes"
    return None


def bad_classes(classes: Sequence[str]) -> list[str]:
    """What is wrong with a list of foreground class names (doubled, unusable in a `;` list, too many)."""
    problems = [f"class name {name!r} is there twice" for name, n in Counter(classes).items() if n > 1]
    problems += [
        f"class name {name!r} is empty, has a space at an end, or holds ';'"
        for name in classes
        if not name or name != name.strip() or ";" in name
    ]
    if not 1 <= len(classes) <= 254:
        problems.append(f"{len(classes)} classes; 1 to 254 fit into an 8-bit mask")
    return problems


def listing(head: str, problems: Sequence[str], limit: int = 50) -> str:
    """One message out of many problems: the head line, at most `limit` of them, how many are left out."""
    lines = [f"{head} ({len(problems)} problem{'s' if len(problems) != 1 else ''}):", *problems[:limit]]
    if len(problems) > limit:
        lines.append(f"... and {len(problems) - limit} more")
    return "\n  ".join(lines)
