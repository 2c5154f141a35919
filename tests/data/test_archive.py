"""Unpacking: what is wanted comes out, what is hostile or broken ends in one line and leaves nothing."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from wsss.data.archive import extract
from wsss.errors import UserError

FILES = {"top/a.txt": b"a", "top/in/b.txt": b"bb" * 5000, "other/c.txt": b"c"}


def make_tar(path, files, mode="w", special=()):
    with tarfile.open(path, mode) as handle:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            handle.addfile(info, io.BytesIO(data))
        for name, kind, link in special:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            handle.addfile(info)
    return path


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as handle:
        for name, data in files.items():
            handle.writestr(name, data)
    return path


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_all_wanted_and_stripped(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, "w:gz" if kind == "tgz" else "w")
    assert tree(extract(path, tmp_path / "all")) == FILES
    assert tree(extract(path, tmp_path / "some", prefixes=("top",), strip="top")) == {
        "a.txt": FILES["top/a.txt"],
        "in/b.txt": FILES["top/in/b.txt"],
    }
    assert sorted(os.listdir(tmp_path)) == ["all", "some", path.name]


def test_prefix_is_a_folder_not_a_string(tmp_path):
    make_tar(tmp_path / "x.tar", {"cls/a": b"1", "cls_extra/b": b"2"})
    assert tree(extract(tmp_path / "x.tar", tmp_path / "out", prefixes=("cls",))) == {"cls/a": b"1"}


def test_existing_target_is_whole_and_left_alone(tmp_path):
    make_tar(tmp_path / "x.tar", FILES)
    extract(tmp_path / "x.tar", tmp_path / "out")
    (tmp_path / "out/mine.txt").write_text("kept")
    extract(tmp_path / "x.tar", tmp_path / "out")
    assert (tmp_path / "out/mine.txt").exists()


def test_leftover_of_a_killed_run_is_replaced(tmp_path):
    make_tar(tmp_path / "x.tar", FILES)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".out.{pid}.partial").mkdir()
        (tmp_path / f".out.{pid}.partial/stale").write_text("x")
    assert tree(extract(tmp_path / "x.tar", tmp_path / "out")) == FILES
    assert sorted(os.listdir(tmp_path)) == ["out", "x.tar"]


def test_another_process_at_work_is_left_alone(tmp_path):
    """Two runs may unpack the same archive at once; neither removes what the other writes."""
    make_tar(tmp_path / "x.tar", FILES)
    other = tmp_path / f".out.{os.getppid()}.partial"
    other.mkdir()
    assert tree(extract(tmp_path / "x.tar", tmp_path / "out")) == FILES
    assert other.is_dir()


def refused(tmp_path, archive, words, **options):
    with pytest.raises(UserError, match=words) as caught:
        extract(archive, tmp_path / "out", **options)
    assert str(archive) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == [archive.name] if archive.exists() else []


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/etc/evil", "..\\evil", "C:/evil"])
@pytest.mark.parametrize("maker", [make_tar, make_zip])
def test_members_that_leave_the_folder(tmp_path, name, maker):
    refused(
        tmp_path, maker(tmp_path / "x", {"top/a": b"1", name: b"2"}), "leave the folder", prefixes=("top",)
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(tmp_path, kind):
    archive = make_tar(tmp_path / "x.tar", FILES, special=[("top/l", kind, "/etc/passwd")])
    refused(tmp_path, archive, "link or device", prefixes=("top",))


def test_link_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("top/l")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as handle:
        handle.writestr(info, "/etc/passwd")
    refused(tmp_path, tmp_path / "x.zip", "link or device")


@pytest.mark.parametrize("maker", [make_tar, make_zip])
def test_bombs(tmp_path, maker):
    refused(tmp_path, maker(tmp_path / "x", {"big": b"0" * 2_000_000}), "GB unpacked", max_bytes=1_000_000)
    refused(tmp_path, maker(tmp_path / "x", {str(n): b"" for n in range(50)}), "members", max_members=49)


def test_zip_that_announces_less_than_it_holds(tmp_path):
    archive = make_zip(tmp_path / "x.zip", {"big": b"0" * 100_000})
    raw = archive.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(raw)
    refused(tmp_path, archive, "announced|damaged|cut short")


def test_name_twice(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as handle:
        for _ in range(2):
            handle.addfile(tarfile.TarInfo("a"), io.BytesIO())
    refused(tmp_path, tmp_path / "x.tar", "twice")


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_cut_short(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    files = {"a": os.urandom(200_000)}
    make_zip(path, files) if kind == "zip" else make_tar(path, files, "w:gz" if kind == "tgz" else "w")
    path.write_bytes(path.read_bytes()[:100_000])
    refused(tmp_path, path, "damaged or cut short")


def test_not_an_archive_missing_and_wrong(tmp_path):
    (tmp_path / "x.tar").write_text("hello" * 300)
    refused(tmp_path, tmp_path / "x.tar", "damaged")
    make_tar(tmp_path / "x.tar", FILES)
    refused(tmp_path, tmp_path / "x.tar", "nothing below VOC", prefixes=("VOC",))
    with pytest.raises(UserError, match="no such archive"):
        extract(tmp_path / "none.tar", tmp_path / "out")
