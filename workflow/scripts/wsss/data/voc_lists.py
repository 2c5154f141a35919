"""Lists and annotations of PASCAL VOC as the field passes them around."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from wsss.errors import UserError

XML_FAULTS = (ElementTree.ParseError, ValueError, LookupError)  # the last two: of an encoding that Python's parser lacks

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_IMAGE_PATH = re.compile(r"(?:\S*/)?JPEGImages/(?:\S*/)?([^/\s]+)\.(?:jpe?g|png)", re.IGNORECASE)
_MASK_PATH = re.compile(r"(?:\S*/)?([^/\s]+)\.png", re.IGNORECASE)


def read_id_list(path: Path) -> tuple[str, ...]:
    """Image ids of a list file, in file order.

    Three line formats are in use and may be mixed: ``2007_000032`` (VOC, IRN), ``/JPEGImages/ID.jpg``
    (test lists) and ``/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`` (PSA, SEAM). BOM, CRLF and blank
    lines are fine.

    Raises:
        UserError: missing or empty file, other encoding, and every line that fits no format or repeats an id.
    """
    path = Path(path)
    lines = [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), 1)]
    entries = [(number, line, parse_line(line)) for number, line in lines if line]
    count = Counter(image_id for _, _, image_id in entries if image_id)
    problems = [
        f"line {number}: {line!r} is not an id"
        if image_id is None
        else f"line {number}: {image_id} stands there twice"
        for number, line, image_id in entries
        if image_id is None or count[image_id] > 1
    ]
    if not entries:
        raise UserError(f"{path}: no id in it; an id list has one id a line")
    if problems:
        listed = "\n  ".join(problems[:50])
        raise UserError(f"{path}: not a clean id list (one id a line); mend these {len(problems)} lines:\n  {listed}")
    return tuple(image_id for _, _, image_id in entries if image_id is not None)


def parse_line(line: str) -> str | None:
    """The id in one list line, or None where the line has none of the three formats."""
    columns = line.split()
    if len(columns) == 1 and not re.search(r"[/\\]", line) and line not in (".", ".."):
        return line
    image = _IMAGE_PATH.fullmatch(columns[0]) if len(columns) in (1, 2) else None
    mask = _MASK_PATH.fullmatch(columns[-1]) if image and len(columns) == 2 else image
    return image[1] if image and mask and mask[1] == image[1] else None


def read_annotation(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """Class names of the objects in one annotation (no parts, difficult ones included), in class order.

    UserError: missing, not XML, no object, or an unknown class.
    """
    try:
        objects = ElementTree.fromstring(path.read_bytes()).findall("object")
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing annotation; unpack the archive again, or take the id off the list") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its mode or owner, or unpack the archive again") from error
    except XML_FAULTS as error:
        raise UserError(f"{path}: not valid XML ({error}); unpack the archive again, or save it as UTF-8") from error
    names = {(item.findtext("name") or "").strip() for item in objects}
    unknown = sorted(names - set(classes))
    if unknown or not names:
        what = f"unknown class {', '.join(map(repr, unknown))}" if unknown else "no object in it"
        raise UserError(f"{path}: {what}; mend the annotation, the id list or the dataset's class list")
    return tuple(name for name in classes if name in names)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save the list as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read the list ({error.strerror}); check the path") from error
