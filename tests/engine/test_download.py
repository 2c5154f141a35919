"""Downloads against a small server on loopback that can misbehave in every way that was asked about."""

import hashlib
import http.server
import json
import logging
import os
import re
import threading

import pytest
from wsss.engine.download import download
from wsss.errors import UserError

BODY = bytes(range(256)) * 1200  # 307,200 bytes: several pieces
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY at any path; the path's first word chooses what goes wrong."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.seen, self.cut_once = BODY, '"v1"', [], 0
        self.release = threading.Event()

    def url(self, path="good/file.tar"):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, mode = self.server, self.path.split("/")[1]
        server.seen.append((self.path, self.headers.get("Range")))
        answer = getattr(self, f"answer_{mode}", self.answer_good)
        answer(server.body)

    def answer_good(self, body, announce=None, etag=True, kind="application/x-tar"):
        start = self._start(body)
        if start is None:
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", kind)
        if etag:
            self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body) - start if announce is None else announce))
        self.end_headers()
        cut, self.server.cut_once = self.server.cut_once, 0
        self.wfile.write(body[start : cut or None])

    def _start(self, body):
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not span or self.headers.get("If-Range", self.server.etag) != self.server.etag:
            return 0
        if int(span[1]) >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return None
        return int(span[1])

    def answer_ignore(self, body):
        del self.headers["Range"]
        self.answer_good(body)

    def answer_novalidator(self, body):
        self.answer_good(body, etag=False)

    def answer_short(self, body):
        self.answer_good(body[:1000], announce=5000, etag=False)

    def answer_html(self, body):
        self.answer_good(b"<p>please log in</p>", kind="text/html; charset=utf-8")

    def answer_hidden(self, body):
        self.answer_good(b"\n<!DOCTYPE html><html>no</html>")

    def answer_missing(self, body):
        self.send_error(404)

    def answer_busy(self, body):
        if len(self.server.seen) < 3:
            return self.send_error(503)
        self.answer_good(body)

    def answer_stall(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:70_000])
        self.wfile.flush()
        self.server.release.wait(5)

    def answer_redirect(self, body):
        self.send_response(302)
        self.send_header("Location", "/html/login")
        self.end_headers()

    def answer_empty(self, body):
        self.answer_good(b"")

    def answer_lies(self, body):
        """Says 206 but begins somewhere else."""
        if not self.headers.get("Range"):
            return self.answer_good(body)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server():
    instance = Server()
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield instance
    instance.release.set()
    instance.shutdown()
    thread.join()
    instance.server_close()


def get(urls, target, **options):
    options = {"pause": 0.0, "retries": 2, "timeout": 5.0, "progress": False, **options}
    return download([urls] if isinstance(urls, str) else urls, target, **options)


def leftovers(folder):
    return sorted(os.listdir(folder))


def test_plain_download_leaves_only_the_file(server, tmp_path):
    assert get(server.url(), tmp_path / "sub/file.tar", sha256=SHA256, md5=MD5) == SHA256
    assert (tmp_path / "sub/file.tar").read_bytes() == BODY
    assert leftovers(tmp_path / "sub") == ["file.tar"]


def test_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cut_once = 100_000
    get(server.url(), tmp_path / "f", sha256=SHA256)
    ranges = [span for _, span in server.seen]
    assert ranges == [None, "bytes=100000-"]
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("mode", ["good", "ignore", "novalidator", "lies"])
def test_part_of_an_earlier_run_is_used_or_thrown_away(server, tmp_path, mode):
    server.cut_once = 90_000
    with pytest.raises(UserError, match="90000 of 307200"):
        get(server.url(mode), tmp_path / "f", sha256=SHA256, retries=0)
    assert leftovers(tmp_path) == ["f.part", "f.part.json"]
    get(server.url(mode), tmp_path / "f", sha256=SHA256)
    assert server.seen[1][1] == "bytes=90000-"
    assert (tmp_path / "f").read_bytes() == BODY
    assert leftovers(tmp_path) == ["f"]


def test_without_validator_and_checksum_it_starts_over(server, tmp_path):
    server.cut_once = 90_000
    get(server.url("novalidator"), tmp_path / "f", lock_file=tmp_path / "lock.json")
    assert [span for _, span in server.seen] == [None, None]


def test_file_changed_on_the_server_between_two_tries(server, tmp_path):
    server.cut_once = 90_000
    with pytest.raises(UserError):
        get(server.url(), tmp_path / "f", lock_file=tmp_path / "lock.json", retries=0)
    server.body, server.etag = BODY[::-1], '"v2"'
    get(server.url(), tmp_path / "f", lock_file=tmp_path / "lock.json")
    assert (tmp_path / "f").read_bytes() == BODY[::-1]


def test_whole_part_left_by_a_kill_is_kept(server, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    state = {"url": server.url(), "validator": '"v1"', "total": len(BODY)}
    (tmp_path / "f.part.json").write_text(json.dumps(state))
    get(server.url(), tmp_path / "f", sha256=SHA256)
    assert server.seen == [("/good/file.tar", f"bytes={len(BODY)}-")]
    assert (tmp_path / "f").read_bytes() == BODY


def test_part_with_wrong_bytes_is_found_out(server, tmp_path):
    (tmp_path / "f.part").write_bytes(b"x" * 500)
    state = {"url": server.url(), "validator": '"v1"', "total": len(BODY)}
    (tmp_path / "f.part.json").write_text(json.dumps(state))
    get(server.url(), tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY


def test_mirrors_are_tried_in_order(server, tmp_path):
    urls = [server.url(mode) for mode in ("missing", "html", "good", "short")]
    get(urls, tmp_path / "f", md5=MD5)
    assert [path for path, _ in server.seen] == ["/missing", "/html", "/good"]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("missing", "HTTP 404"),
        ("html", "web page"),
        ("hidden", "web page"),
        ("redirect", "web page"),
        ("short", "1000 of 5000 bytes"),
        ("empty", "empty"),
    ],
)
def test_bad_answers_name_address_and_mend(server, tmp_path, mode, words):
    with pytest.raises(UserError) as caught:
        get(server.url(mode), tmp_path / "f", sha256=SHA256)
    message = str(caught.value)
    assert words in message and server.url(mode) in message and "local path" in message
    assert not (tmp_path / "f").exists()


def test_busy_server_is_asked_again(server, tmp_path):
    get(server.url("busy"), tmp_path / "f", sha256=SHA256)
    assert len(server.seen) == 3


def test_silent_server_runs_into_the_timeout(server, tmp_path):
    with pytest.raises(UserError, match="timed out"):
        get(server.url("stall"), tmp_path / "f", sha256=SHA256, timeout=0.2, retries=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(server, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="permission"):
        get(server.url(), tmp_path / "locked/f", sha256=SHA256)


@pytest.mark.parametrize("sums", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"sha256_prefix": "00000000"}])
def test_wrong_checksum_leaves_nothing(server, tmp_path, sums):
    with pytest.raises(UserError, match="wrong checksum"):
        get(server.url(), tmp_path / "f", **sums)
    assert leftovers(tmp_path) == []


def test_first_download_is_recorded_and_enforced(server, tmp_path, caplog):
    lock = tmp_path / "config/checksums.lock.json"
    with caplog.at_level(logging.WARNING):
        get(server.url(), tmp_path / "f", lock_file=lock)
    assert "plain http" in caplog.text
    assert json.loads(lock.read_text()) == {"f": {"sha256": SHA256, "url": server.url()}}
    (tmp_path / "f").unlink()
    caplog.clear()
    get(server.url(), tmp_path / "f", lock_file=lock)
    assert "plain http" not in caplog.text
    (tmp_path / "f").unlink()
    server.body = BODY + b"!"
    with pytest.raises(UserError, match="wrong checksum"):
        get(server.url(), tmp_path / "f", lock_file=lock)


def test_publishers_checksum_is_not_copied_to_the_lock(server, tmp_path):
    get(server.url(), tmp_path / "f", md5=MD5, lock_file=tmp_path / "lock.json")
    assert leftovers(tmp_path) == ["f"]


def test_plain_http_without_any_checksum_is_refused(server, tmp_path):
    with pytest.raises(UserError, match="plain http"):
        get(server.url(), tmp_path / "f")


def test_damaged_lock_file(server, tmp_path):
    (tmp_path / "lock.json").write_text('{"f": 3}')
    with pytest.raises(UserError, match="not a checksum lock file"):
        get(server.url(), tmp_path / "f", lock_file=tmp_path / "lock.json")


def test_target_there_is_checked_and_kept(server, tmp_path):
    (tmp_path / "f").write_bytes(BODY)
    assert get(server.url(), tmp_path / "f", sha256=SHA256) == SHA256
    assert server.seen == []
    with pytest.raises(UserError, match="delete it"):
        get(server.url(), tmp_path / "f", sha256="1" * 64)


@pytest.mark.parametrize("as_url", [False, True])
def test_local_files(tmp_path, as_url):
    source = tmp_path / "my archive.tar"
    source.write_bytes(BODY)
    lock = tmp_path / "lock.json"
    get(source.as_uri() if as_url else str(source), tmp_path / "out/f", lock_file=lock)
    assert (tmp_path / "out/f").read_bytes() == BODY and source.exists()
    assert not lock.exists()  # the user's own file is no first download
    with pytest.raises(UserError, match="wrong checksum"):
        get(str(source), tmp_path / "out/g", md5="0" * 32)


def test_missing_local_file_and_no_server(tmp_path):
    with pytest.raises(UserError, match="no such file") as caught:
        get([str(tmp_path / "absent.tar"), "http://127.0.0.1:9/f"], tmp_path / "f", md5=MD5, retries=0)
    assert "no connection" in str(caught.value)


@pytest.mark.parametrize("url", ["gopher://x/y", "http://", "https://[bad"])
def test_odd_addresses_end_in_a_message(tmp_path, url):
    with pytest.raises(UserError):
        get(url, tmp_path / "f", md5=MD5, retries=0)


def test_progress_lines_in_a_job_log(server, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        get(server.url(), tmp_path / "f", sha256=SHA256, progress=True)
    assert 2 <= sum("MB" in record.message for record in caplog.records) <= 11
