"""Files that are whole or not there."""

import contextlib
import json
import os
import traceback

import numpy as np
import pytest
import torch
from wsss.engine import atomic, index, record
from wsss.errors import UserError
from wsss.io import cams, masks, models


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_failed_write_keeps_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.json"
    atomic.write_json(target, {"old": 1})
    with pytest.raises(RuntimeError, match="halfway"):
        with atomic.atomic_path(target) as temp:
            temp.write_text("half a fi")
            raise RuntimeError("halfway")
    assert names(tmp_path) == ["a.json"] and json.loads(target.read_text()) == {"old": 1}


def test_unserialisable_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        atomic.write_json(tmp_path / "a.json", {"x": object()})
    assert names(tmp_path) == []


def test_json_of_equal_content_is_equal_bytes(tmp_path):
    atomic.write_json(tmp_path / "a", {"b": 1, "a": "ä"})
    atomic.write_json(tmp_path / "b", {"a": "ä", "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_never_seen_half_written(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic.atomic_path(target) as temp:
        temp.write_text("x")
        assert not target.exists() and temp.parent == target.parent
    assert target.read_text() == "x"


def on_a_full_disk(target):
    """Make the next atomic write of `target` hit a full device: its temporary name leads to /dev/full."""
    (target.parent / f".{target.name}.{os.getpid()}.tmp").symlink_to("/dev/full")


def full_disk_writes():
    label, cam, net = np.zeros((64, 64), np.uint8), np.ones((1, 64, 64), np.float32), torch.nn.Linear(64, 64)
    return {
        "text": lambda p: atomic.write_text(p, "x" * 10_000),
        "json": lambda p: atomic.write_json(p, list(range(10_000))),
        "mask": lambda p: masks.write_mask(p, label),
        "cam": lambda p: cams.write_cam(p, [0], [cam]),
        "index": lambda p: index.write_index(p.parent, {f"{i}": "0" for i in range(2000)}, [".npy"]),
        "model": lambda p: models.save_model(p, net),
        "history": lambda p: models.write_history(p, [{"step": i, "total": 1.0} for i in range(2000)]),
        "run": lambda p: record.RunRecord("x", {"a": "b" * 10_000}).write(p),
    }


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="no /dev/full on this system to stand for a full disk"
)
@pytest.mark.parametrize("kind", full_disk_writes())
def test_full_disk_is_named_and_nothing_stays(tmp_path, kind):
    target = tmp_path / ("index.json" if kind == "index" else "file")
    on_a_full_disk(target)
    with pytest.raises(UserError, match=f"{target.name}.*disk is full"):
        full_disk_writes()[kind](target)
    assert names(tmp_path) == []


def in_a_child(function, uid=None):
    """Run `function` in a forked process, as another user if asked; returns what it returns as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            text = str(function())
        except BaseException:
            text = traceback.format_exc()
        with contextlib.suppress(OSError):
            os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as handle:
        text = handle.read()
    os.waitpid(pid, 0)
    return text


def test_read_only_folder_is_a_user_error(tmp_path):
    for parent in [tmp_path, *tmp_path.parents][:3]:  # another user has to reach the folder
        parent.chmod(parent.stat().st_mode | 0o055)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)

    def write():
        try:
            atomic.write_text(locked / "a.txt", "x")
        except UserError as error:
            return error
        return "was written"

    text = in_a_child(write, uid=65534 if os.getuid() == 0 else None)
    locked.chmod(0o755)
    assert "no permission to write" in text and "a.txt" in text and "Traceback" not in text
    assert names(locked) == []


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="results"):
        atomic.write_text(tmp_path / "results" / "a.txt", "x")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "disk").symlink_to(tmp_path / "unplugged")
    with pytest.raises(UserError, match="disk is a link to .*unplugged, which is not there"):
        atomic.write_text(tmp_path / "disk" / "a.txt", "x")
    with pytest.raises(UserError, match="/proc/x: cannot be made; choose another folder"):
        atomic.write_text("/proc/x/a.txt", "x")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="a.json.*not valid JSON"):
        atomic.read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match="a.json: missing"):
        atomic.read_json(tmp_path / "a.json")
