"""The vocabulary of dataset tables: reading a CSV as it stands, `;` lists, legal ids and class names."""

import csv
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsss.data.text import hidden, of_windows
from wsss.engine.explain import for_people
from wsss.errors import UserError

QUOTE = for_people("close the double quote that was opened there, or take it away")
BOM = "\ufeff"  # one that was put before another
WIDE = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # how UTF-16 and UTF-32 begin
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars"}  # of cells, where commas are meant
MAX_ID_BYTES = 200  # file systems end at 255, and temporary names and suffixes need room


def read_rows(path: str | Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """All rows of a CSV at once; see `iter_rows`."""
    return list(iter_rows(path, required))


def iter_rows(path: str | Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a CSV as (line number, cells); cells are strings as they stand ("0012", "NA"). BOM, CRLF welcome.

    Raises:
        UserError: missing file, not UTF-8, a required column missing or one given twice, a row over several lines (a
            quote that is not closed takes in those below it); at the end, if any row had too many or too few cells.
    """
    reader = csv.reader(_utf8_text(Path(path)), strict=True)
    ragged: list[tuple[int, int]] = []  # line, cells
    line = 0  # the last one of the row before
    try:
        header = [name.strip().lstrip(BOM) for name in next(reader, [])]
        _refuse_other_separator(path, header)
        if twice := sorted({name for name in header if name and header.count(name) > 1}):
            raise UserError(f"{path}: column {', '.join(map(repr, twice))} given twice; keep one")
        missing = [name for name in required if name not in header]
        if missing:
            raise UserError(f"{path}: column {', '.join(missing)} missing (found: {', '.join(header) or 'none'})")
        line = reader.line_num
        for cells in reader:
            if reader.line_num > line + 1:
                raise UserError(f"{path}: line {line + 1}: a cell goes on in the next line; {QUOTE}")
            line = reader.line_num
            if len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            elif len(cells) > 1 or "".join(cells).strip():  # a line of spaces is an empty one
                ragged.append((line, len(cells)))
    except csv.Error as error:
        mend = for_people("no list of labels is that long; shorten the cell") if "field limit" in str(error) else QUOTE
        raise UserError(f"{path}: line {line + 1}: not a CSV ({error}); {mend}") from error
    if ragged:
        raise UserError(f"{path}: {_ragged(ragged, header)}")


def _ragged(lines: Sequence[tuple[int, int]], header: Sequence[str]) -> str:
    """What to say of lines, each with its count of cells, that have too few or too many."""
    numbers, counts = ", ".join(str(line) for line, _ in lines[:50]), [count for _, count in lines]
    mends = [for_people("write every cell, with a comma for an empty one too")] if min(counts) < len(header) else []
    mends += [for_people("put cells that hold a comma in double quotes")] if max(counts) > len(header) else []
    first = for_people(", but {} in the first" if len(lines) > 1 else ", but {}").format(counts[0])
    return for_people(f"line {numbers}: not as many cells as the header in line 1 has ({len(header)}: {', '.join(header):.80}){first}; {'; '.join(mends)}")


def _refuse_other_separator(path: str | Path, header: Sequence[str]) -> None:
    """UserError where the first line is no header, but cells parted by something else, or Excel's `sep=`."""
    if header and header[0].lower().startswith("sep="):
        raise UserError(f"{path}: line 1 tells a spreadsheet how cells are parted; take it out, and part cells by commas")
    if len(header) == 1 and "," in header[0]:
        raise UserError(f"{path}: line 1: the whole line stands in one pair of quotes, so it is one cell; take these quotes out of every line, or save it again with commas between cells")
    found = [name for sign, name in SEPARATORS.items() if len(header) == 1 and sign in header[0]]
    if found:
        raise UserError(f"{path}: line 1: cells are parted by {found[0]}; save it with commas between cells (';' only parts the labels in one)")


def refuse_special(path: str | Path) -> None:
    """UserError for what is neither a file nor missing: a pipe would be waited for without end."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # said where it is opened
        return
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is a {'folder' if stat.S_ISDIR(mode) else 'pipe or device'}, not a file; give the CSV")


def refuse_pickle(path: str | Path, head: bytes) -> None:
    """UserError naming the import command where a CSV is expected and a NumPy array or pickle lies there."""
    if head.startswith((b"\x93NUMPY", b"\x80")):
        raise UserError(
            f"{path}: is a NumPy or pickle file, not a CSV; a cls_labels.npy becomes one with: "
            f"python workflow/scripts/import_labels.py {path} labels.csv --classes voc (or coco)"
        )


def _refuse_no_table(path: Path, head: bytes) -> None:
    """UserError naming what a spreadsheet or a program left in place of a CSV."""
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path}: is a workbook of a spreadsheet, or an archive; save the sheet as CSV (UTF-8)")
    if head.lstrip().startswith((b"{", b"[")):
        raise UserError(f"{path}: is JSON, not a CSV; write one row an image, with commas between its cells")


def _utf8_text(path: Path) -> io.TextIOWrapper:
    """The file, read and found to be UTF-8, as text that is decoded line by line."""
    try:
        refuse_special(path)
        content = path.read_bytes()
        refuse_pickle(path, content[:8])
        _refuse_no_table(path, content[:8])
        if content.startswith(WIDE) or content.count(0) > len(content) / 4:
            raise UserError(f"{path}: is UTF-16 or UTF-32, or no text at all; save it as UTF-8 CSV")
        content.decode("utf-8-sig")
        return io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path{of_windows(path)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8 CSV") from error


def split_list(cell: str) -> tuple[str, ...]:
    """The items of a `;` list, stripped, empty ones dropped."""
    return tuple(filter(None, map(str.strip, cell.split(";"))))


RESERVED = (".unsure", ".nocrf")  # suffixes of second masks: a.unsure.png belongs to id a


def bad_id(image_id: str) -> str | None:
    """Why an id cannot serve as a file name, or None. Spaces and unicode are fine."""
    if not image_id.strip():
        return for_people("is empty")
    if "/" in image_id or "\\" in image_id:
        return for_people("contains a slash")
    if image_id.startswith("."):
        return for_people("begins with a dot")
    if image_id.endswith(RESERVED):
        return for_people(f"ends in {' or '.join(RESERVED)}, which name other files of an id")
    if found := hidden(image_id):
        return for_people(f"contains a control character ({found})")
    if len(image_id.encode("utf-8")) > MAX_ID_BYTES:
        return for_people(f"is longer than {MAX_ID_BYTES} bytes")
    return None


def listing(head: str, problems: Sequence[str], limit: int = 50) -> str:
    """One message out of many problems: the head line, at most `limit` of them, how many are left out."""
    lines = [f"{head} ({len(problems)} problem{'s' if len(problems) != 1 else ''}):", *problems[:limit]]
    if len(problems) > limit:
        lines.append(f"... and {len(problems) - limit} more")
    return "\n  ".join(lines)
