"""COCO's archives from a small server on loopback: mirrors, checksums, resuming, unpacking."""

import functools
import http.server
import threading
import zipfile
from hashlib import sha256

import pytest
from coco_tree import coco_folder
from helpers import REPOSITORY
from wsss.data import coco_download
from wsss.engine.atomic import read_json
from wsss.engine.task import Task
from wsss.errors import UserError
from wsss.stages import download

CONTENTS = {
    "zips/train2017.zip": "train2017",
    "zips/val2017.zip": "val2017",
    "annotations/annotations_trainval2017.zip": "annotations",
}


@pytest.fixture
def host(tmp_path):
    """A folder with the three archives of a small COCO 2017."""
    root = coco_folder(tmp_path / "coco")
    (root / "annotations/captions_train2017.json").write_text("{}")
    for name, folder in CONTENTS.items():
        path = tmp_path / "host" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as handle:
            for file in sorted((root / folder).iterdir()):
                handle.write(file, file.relative_to(root))
    return tmp_path / "host"


@pytest.fixture
def server(host):
    """The address of a server that gives the host's files."""
    handler = functools.partial(Quiet, directory=str(host))
    instance = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{instance.server_port}"
    instance.shutdown()
    thread.join()
    instance.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves one folder and keeps the test's output clean."""

    def log_message(self, *_):
        pass


def sums_of(host):
    return {name: sha256((host / name).read_bytes()).hexdigest() for name in CONTENTS}


def test_fetch_takes_the_second_mirror_and_unpacks_what_is_wanted(host, server, tmp_path):
    target = tmp_path / "resources/coco17"
    folder = coco_download.fetch(2017, target, [f"{server}/down", server], sums_of(host))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    assert names[0] == "train2017/000000000009.jpg" and len(names) == 5
    files = sorted(path.name for path in (folder / "annotations").iterdir())
    assert files == ["instances_train2017.json", "instances_val2017.json"]  # captions stay packed
    assert sorted(path.name for path in target.glob("*.zip")) == sorted(
        name.split("/")[1] for name in CONTENTS
    )


def test_a_wrong_archive_is_refused_and_the_rest_is_kept(host, server, tmp_path):
    target, sums = tmp_path / "resources/coco17", sums_of(host)
    good = (host / "zips/train2017.zip").read_bytes()
    (host / "zips/train2017.zip").write_bytes(good[:-1] + b"x")
    with pytest.raises(UserError, match="(?s)train2017.zip: no address gave this file.*wrong checksum"):
        coco_download.fetch(2017, target, [server], sums)
    assert sorted(path.name for path in (target / "coco").iterdir()) == ["annotations", "val2017"]
    (host / "zips/train2017.zip").write_bytes(good)
    (host / "zips/val2017.zip").unlink()
    (target / "val2017.zip").unlink()  # what is unpacked is not asked for again
    assert (coco_download.fetch(2017, target, [server], sums) / "train2017").is_dir()


def test_a_transfer_that_broke_off_goes_on(host, server, tmp_path):
    target = tmp_path / "resources/coco17"
    target.mkdir(parents=True)
    whole = (host / "zips/train2017.zip").read_bytes()
    (target / "train2017.zip.part").write_bytes(whole[:100])
    assert (coco_download.fetch(2017, target, [server], sums_of(host)) / "train2017").is_dir()
    assert not list(target.glob("*.part*"))


def test_without_a_checksum_the_first_download_is_recorded(host, server, tmp_path):
    lock, name = tmp_path / "checksums.json", "zips/train2017.zip"
    some = {key: value for key, value in sums_of(host).items() if key != name}
    coco_download.fetch(2017, tmp_path / "a", [server], some, lock)
    assert read_json(lock)["train2017.zip"]["sha256"] == sums_of(host)[name]


def test_the_stage_names_the_folder(host, tmp_path, monkeypatch):
    done = tmp_path / "resources/coco17/coco17.json"
    fetch = functools.partial(coco_download.fetch, 2017, hosts=[f"file://{host}"], sha256=sums_of(host))
    assert download.FETCHERS["coco17"].args == (2017,) and download.FETCHERS["coco14"].args == (2014,)
    monkeypatch.setitem(download.FETCHERS, "coco17", fetch)
    monkeypatch.setattr(download, "LOCK_FILE", tmp_path / "checksums.json")
    download.run(Task("download", {}, {"done": str(done)}, {"archive": "coco17"}, {}))
    note = read_json(done)
    assert note == {"archive": "coco17", "folder": "coco"} and (done.parent / "coco/val2017").is_dir()


def test_every_archive_has_a_checksum_and_a_trusted_address():
    names = [f"zips/{split}{year}.zip" for year in (2014, 2017) for split in ("train", "val")]
    names += [f"annotations/annotations_trainval{year}.zip" for year in (2014, 2017)]
    assert set(coco_download.SHA256) == set(names)
    assert all(len(digest) == 64 for digest in coco_download.SHA256.values())
    assert coco_download.HOSTS[0].startswith("https://")
    assert "coco14|coco17" in (REPOSITORY / "rules/dataset.smk").read_text()
