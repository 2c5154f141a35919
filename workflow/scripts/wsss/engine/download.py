"""Fetch one file from a list of mirrors: resumed, checked, and only then moved to its final name."""

from __future__ import annotations

import logging
import os
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from wsss.engine.atomic import explain_os_errors
from wsss.engine.checksums import Checksums, locked_sha256, record_sha256
from wsss.engine.transfer import CHUNK, Options, Refused, discard, fetch, refuse_web_page
from wsss.errors import UserError

log = logging.getLogger(__name__)


def download(
    urls: Sequence[str],
    target: Path,
    sha256: str | None = None,
    md5: str | None = None,
    lock_file: Path | None = None,
    timeout: float = 30.0,
    retries: int = 3,
    progress: bool = True,
    sha256_prefix: str | None = None,
    pause: float = 1.0,
) -> str:
    """Fetch ``target`` from the first of ``urls`` that gives the right bytes; return its hex sha256.

    ``urls`` may be http(s), ``file://`` or plain paths. A broken transfer leaves ``target.part`` and goes on
    from there. A publisher's checksum (``sha256``, ``md5`` or the ``sha256_prefix`` in torchvision's file
    names) wins; without one the sha256 of the first download is recorded in ``lock_file`` under the file's
    name and enforced from then on (a local file is checked against it but never recorded). An existing
    ``target`` is checked and kept.

    Raises:
        UserError: no mirror gave the file (each with its reason), or the target there has another checksum.
    """
    target = Path(target)
    sums = Checksums(sha256, md5, sha256_prefix)
    if not sums.known and lock_file is not None:
        sums = Checksums(sha256=locked_sha256(lock_file, target.name))
    options = Options(timeout, retries, pause, progress, sums.known, lock_file is not None)
    if target.exists():
        digest, fault = sums.check(target)
        if fault:
            raise UserError(f"{target}: {fault}; delete it and run again")
        return digest
    with explain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        url, digest = _first_good(urls, target, sums, options)
        if not sums.known and lock_file is not None and _local(url) is None:
            record_sha256(lock_file, target.name, digest, url)
        os.replace(_part(target), target)
        discard(_part(target))
    return digest


def _first_good(urls: Sequence[str], target: Path, sums: Checksums, options: Options) -> tuple[str, str]:
    """Leave checked bytes in ``target.part``; return the address they came from and their sha256."""
    failures = []
    for url in urls:
        try:
            return url, _get(url, _part(target), sums, options)
        except Refused as reason:
            log.warning("%s: %s", url, reason)
            failures.append(f"  {url}: {reason}")
    raise UserError(
        f"{target}: no address gave this file; check the network, or put the file there by hand, "
        "or give a local path in the config:\n" + "\n".join(failures or ["  (no address given)"])
    )


def _get(url: str, part: Path, sums: Checksums, options: Options) -> str:
    local = _local(url)
    resumed = local is None and part.exists()
    fetch(url, part, options) if local is None else _copy(local, part)
    digest, fault = sums.check(part)
    if fault and resumed:
        log.warning("%s: %s after a resume; starting over", url, fault)
        discard(part)
        fetch(url, part, options)
        digest, fault = sums.check(part)
    if fault:
        discard(part)
        raise Refused(fault)
    return digest


def _local(url: str) -> Path | None:
    """The path behind ``file://`` or a plain path; None for a network address."""
    if url.lower().startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    return Path(url).expanduser() if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url) else None


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise Refused("there is no such file")
    try:
        with open(source, "rb") as handle:
            refuse_web_page("", handle.read(CHUNK), part)
    except OSError as error:
        raise Refused(f"cannot be read ({error.strerror})") from error
    discard(part)
    shutil.copyfile(source, part)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")
