"""Files among photos that are no photos: told by how they begin, whatever their names end with."""

from pathlib import Path

from wsss.io.images import AVIF_BRANDS, HEIF_BRANDS

HEAD = 512  # bytes that are looked at
CONTAINER, RAW_BRAND = b"ftyp", b"crx "  # ISO base media: phones' videos, HEIC, AVIF, Canon's raw photos
STILL = (*AVIF_BRANDS, *HEIF_BRANDS)
VIDEO = "is a video; save the frames that are meant as photos"
RAW = "is a raw photo of a camera; save it as JPEG"
POINTER = "is a Git LFS pointer, not the photo itself; type git lfs pull in its repository"
DOCUMENT = "is a document; save its pictures as photos"
BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x1aE\xdf\xa3", VIDEO),  # Matroska, WebM
    (b"\x00\x00\x01\xba", VIDEO),  # MPEG
    (b"\x00\x00\x01\xb3", VIDEO),
    (b"FLV\x01", VIDEO),
    (b"0&\xb2u\x8ef\xcf\x11", VIDEO),  # WMV
    (b"FUJIFILMCCD-RAW", RAW),
    (b"version https://git-lfs", POINTER),
    (b"%PDF", DOCUMENT),
    (b"PK\x03\x04", "is an archive or a document; unpack it"),
    (b"8BPS", "is a Photoshop file; save it as PNG or JPEG"),
)  # fmt: skip
PAGES = (b"<!doctype html", b"<html")  # what a failed download leaves under a photo's name


def strange(path: str | Path) -> str | None:
    """What an unreadable photo is instead, and the mend; None where its first bytes tell nothing."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(HEAD)
    except OSError:
        return None
    words = _container(head) or next((words for start, words in BEGINNINGS if head.startswith(start)), None) or _text(head)
    return f"{path}: {words}, or take it out of the list" if words else None


def _container(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return VIDEO
    brand = head[8:12]
    if head[4:8] not in (CONTAINER, b"moov", b"mdat", b"wide") or brand in STILL:
        return None
    return RAW if brand == RAW_BRAND else VIDEO


def _text(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(PAGES):
        return "is a web page under a photo's name (a login or an error, mostly); download the photo again"
    return "is a vector drawing (SVG); save it as PNG" if b"<svg" in text else None
