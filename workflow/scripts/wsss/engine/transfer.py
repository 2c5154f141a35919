"""One file from one http(s) address into ``NAME.part``: retried, resumed by Range, wrong bodies refused."""

from __future__ import annotations

import http.client
import logging
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from wsss.engine.atomic import explain_os_errors, read_json, write_json
from wsss.errors import UserError

log = logging.getLogger(__name__)

CHUNK = 1 << 16
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that a later try may cure
LONGEST_PAUSE_S = 30.0


class Broken(Exception):
    """The transfer failed in a way that another try may cure."""


class Refused(Exception):
    """This address will not give the file; go on to the next mirror."""


@dataclass(frozen=True)
class Options:
    """How to fetch. ``checked``: a checksum is known; ``locked``: the first download will be recorded."""

    timeout: float
    retries: int
    pause: float
    progress: bool
    checked: bool
    locked: bool


def fetch(url: str, part: Path, options: Options) -> None:
    """Bring ``part`` to its whole length, going on from an earlier try; Refused where that fails."""
    last: Exception | None = None
    for attempt in range(options.retries + 1):
        if attempt:
            log.warning("%s: %s; trying again (%d of %d)", url, last, attempt, options.retries)
            time.sleep(min(options.pause * 2 ** (attempt - 1), LONGEST_PAUSE_S))
        try:
            return _attempt(url, part, options)
        except Broken as error:
            last = error
    raise Refused(f"{last} (after {options.retries + 1} tries; what came is kept and resumed)")


def _attempt(url: str, part: Path, options: Options) -> None:
    state = _resume_state(url, part, options.checked)
    response = _open(url, part, state, options.timeout)
    if response is None:
        return
    with response:
        _refuse_plain(response.geturl(), options)
        offset = _offset(response, part, state)
        total = _total(response, offset)
        first = _read(response)
        if offset == 0:
            refuse_web_page(response.headers.get("Content-Type", ""), first, part)
        write_json(_state_file(part), {"url": url, "validator": _validator(response), "total": total})
        _write_body(response, first, part, offset, _Progress(part, offset, total, options.progress))
    _check_length(part, total)


def _resume_state(url: str, part: Path, checked: bool) -> dict | None:
    """Where to go on, or None for a fresh start. Without a validator only a checksum makes that safe."""
    if not part.exists() or not _state_file(part).exists():
        return None
    try:
        state = read_json(_state_file(part))
    except UserError:
        return None
    usable = isinstance(state, dict) and state.get("url") == url and (state.get("validator") or checked)
    return {**state, "offset": part.stat().st_size} if usable and part.stat().st_size else None


def _open(url: str, part: Path, state: dict | None, timeout: float) -> http.client.HTTPResponse | None:
    """The response, or None where the part turned out to be whole."""
    headers = {"User-Agent": "wsss-workflow/1.0", "Accept-Encoding": "identity"}
    if state:
        headers["Range"] = f"bytes={state['offset']}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            _refuse_unless_whole(error, part, state)
            return None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise Refused(f"its TLS certificate cannot be trusted ({error.reason.verify_message})") from error
        raise Broken(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"no connection ({error})") from error
    except ValueError as error:
        raise Refused(f"not an address that can be fetched ({error})") from error


def _refuse_unless_whole(error: urllib.error.HTTPError, part: Path, state: dict | None) -> None:
    if error.code == 416 and state:
        size = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if size and int(size[1]) == state["offset"] == state.get("total"):
            return
        discard(part)
        raise Broken("the server would not resume")
    kind = Broken if error.code in AGAIN else Refused
    raise kind(f"HTTP {error.code} {error.reason}")


def _offset(response: http.client.HTTPResponse, part: Path, state: dict | None) -> int:
    """Byte at which the body begins; 0 where the server ignores Range or the file has changed there."""
    if response.status == 200:
        return 0
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status != 206 or not state:
        raise Refused(f"unexpected answer HTTP {response.status}")
    agrees = span and int(span[1]) == state["offset"] and span[2] in (str(state.get("total")), "*")
    if not agrees:
        discard(part)
        raise Broken("the server resumed at another place or with another file; starting over")
    return state["offset"]


def _total(response: http.client.HTTPResponse, offset: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdigit() else None


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What If-Range may carry: a strong ETag or the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _refuse_plain(url: str, options: Options) -> None:
    """Without TLS only a checksum says what came; `url` is the address behind all redirects (which may be ftp too)."""
    kind = url.partition(":")[0].lower()
    if options.checked or kind == "https":
        return
    if not options.locked:
        raise Refused(f"plain {kind}, and no checksum is known; give a checksum or an https address")
    log.warning("%s: plain %s and no checksum known yet; what comes now is trusted and recorded", url, kind)


def refuse_web_page(content_type: str, first: bytes, part: Path) -> None:
    """Refused where the first bytes are a login or error page, or nothing at all."""
    head = first[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    wanted = part.name.removesuffix(".part").endswith((".html", ".htm"))
    is_page = content_type.lower().startswith("text/html") or head.startswith((b"<!doctype html", b"<html"))
    if is_page and not wanted:
        raise Refused(
            "a web page came instead of the file (login, consent or error page?); open it in a browser"
        )
    if not first:
        raise Refused("the file there is empty")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"the transfer broke off ({error or type(error).__name__})") from error


def _write_body(
    response: http.client.HTTPResponse, chunk: bytes, part: Path, offset: int, progress: _Progress
) -> None:
    with explain_os_errors(part), progress, open(part, "ab" if offset else "wb") as handle:
        while chunk:
            handle.write(chunk)
            progress.add(len(chunk))
            chunk = _read(response)
        handle.flush()
        os.fsync(handle.fileno())


def _check_length(part: Path, total: int | None) -> None:
    size = part.stat().st_size
    if total is None or size == total:
        return
    if size > total:
        discard(part)
    raise Broken(
        f"only {size} of {total} bytes came" if size < total else f"{size} bytes came, {total} announced"
    )


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Forget a partial download."""
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


class _Progress:
    """A bar on a terminal; elsewhere (job logs) a line for every tenth, or every 100 MB of unknown size."""

    def __init__(self, part: Path, offset: int, total: int | None, wanted: bool) -> None:
        self.name, self.done, self.total = part.name.removesuffix(".part"), offset, total
        self.lines = wanted and not sys.stderr.isatty()
        self.step = max(1, total // 10) if total else 100_000_000
        bar = wanted and sys.stderr.isatty()
        self.bar = tqdm(
            desc=self.name,
            initial=offset,
            total=total,
            unit="B",
            unit_scale=True,
            disable=not bar,
            leave=False,
        )

    def __enter__(self) -> _Progress:
        if self.lines:
            log.info("%s: from byte %d of %s", self.name, self.done, self.total or "unknown")
        return self

    def add(self, count: int) -> None:
        before, self.done = self.done, self.done + count
        self.bar.update(count)
        if self.lines and before // self.step != self.done // self.step:
            log.info("%s: %.1f of %.1f MB", self.name, self.done / 1e6, (self.total or self.done) / 1e6)

    def __exit__(self, *_: object) -> None:
        self.bar.close()
