"""What a hostile file, archive, address or name could do, and does not."""

import ast
import functools
import gzip
import http.server
import io
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import threading
import tracemalloc
import zipfile

import pytest
import yaml
from helpers import LIBRARY, REPOSITORY, copy_project, own_photos, shorten, snakemake
from PIL import EpsImagePlugin, Image
from wsss.data import archive, coco_download, sbd_download, voc_download
from wsss.engine import transfer
from wsss.engine.cluster import refuse_shell_words
from wsss.engine.download import download
from wsss.errors import UserError
from wsss.io.images import image_size, read_image
from wsss.io.masks import read_mask
from wsss.io.saliency import read_saliency
from wsss.nets.catalog import WEIGHTS
from wsss.recipes import schema

SOURCES = sorted([*LIBRARY.rglob("*.py"), *(REPOSITORY / "benchmarks").glob("*.py"), *(REPOSITORY / "docs").glob("*.py")])
RULES = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]


# --- what may run code: pickles, eval, shells ----------------------------------------------------------

UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas.read_pickle"}
EVALUATORS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execvp", "subprocess.getoutput"}
IMPORT_COMMANDS = {"wsss/imports/cams.py", "wsss/data/import_labels.py", "wsss/data/cls_labels.py"}


@functools.cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def calls(path):
    """(dotted name, keyword -> source of its value) of every call in a file."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


def imported(path):
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def users(found):
    return {path.relative_to(LIBRARY).as_posix() for path in SOURCES if path.is_relative_to(LIBRARY) and found(path)}


def test_nothing_unpickles_and_only_import_commands_read_pickles():
    assert not users(lambda path: UNPICKLERS & {name.split(".")[0] for name in imported(path)})
    assert users(lambda path: "pickletools" in imported(path)) == {"wsss/io/pickle_machine.py"}
    assert users(lambda path: "wsss.io.pickles" in imported(path)) <= IMPORT_COMMANDS
    for name in ("wsss/imports/cams.py", "wsss/data/import_labels.py"):
        assert "wsss.io.pickles.NOTE" in imported(LIBRARY / name), f"{name} does not say what it reads"
    reading = users(lambda path: {"wsss.data.cls_labels", "wsss.imports.cams"} & set(imported(path)))
    assert reading == {"wsss/data/import_labels.py", "import_cams.py"}, "no stage comes near them"


def test_loaders_of_numpy_and_torch_are_told_not_to_unpickle():
    seen = 0
    for path in SOURCES:
        for name, words in calls(path):
            where = f"{path}: {name}"
            assert name != "torch.load" or words.get("weights_only") == "True", where
            if name in ("np.load", "numpy.load"):
                assert words.get("allow_pickle") == "False", where
            if words.get("allow_pickle") == "True":
                assert name == "np.save" and path.name == "export.py", where
            assert not name.endswith("read_pickle") and words.get("shell") in (None, "False"), where
            assert name not in EVALUATORS, where
            assert name != "yaml.load" or words.get("Loader") == "_Loader", where
            seen += name in ("torch.load", "np.load")
    assert seen >= 4, "the search found nothing to judge"
    assert issubclass(schema._Loader, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def test_torch_is_one_whose_weights_only_holds():
    """Before 2.6 a file could run code in spite of it (CVE-2025-32434)."""
    assert '"torch>=2.6"' in (REPOSITORY / "pyproject.toml").read_text()


def test_no_rule_has_words_for_a_shell():
    for path in RULES:
        text = path.read_text()
        assert not re.search(r"^\s+(shell|run|notebook|wrapper|cwl):|\bshell\(|os\.system|subprocess", text, re.M), path


# --- names that a shell would take for commands --------------------------------------------------------


def test_words_in_paths_are_never_run(tmp_path):
    """Through Snakemake for real: the project's own folder, so all logs and benchmarks, and the folder of photos."""
    folder = tmp_path / "a b'c\"d $(touch pwned) `touch pwned` ;touch pwned & é"
    project = shorten(copy_project(folder))
    own_photos(project)
    odd = "photos $(touch pwned) 'a' \"b\" ;touch pwned {n} {{m}} %s \\"
    os.rename(project / "own/images", project / odd)
    spec = {"kind": "folder", "preset": "tiny", "params": {"images": odd, "labels": "own/labels.csv"}}
    (project / "config/datasets/own.yaml").write_text(yaml.safe_dump(spec))
    done = snakemake(project, "--cores", "1", "results/own/manifest.csv")
    assert done.returncode == 0, done.stdout
    assert (project / "logs/own/dataset.log").exists() and (project / "logs/own/dataset.tsv").exists()
    assert len((project / "results/own/manifest.csv").read_text().splitlines()) == 4
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("word", ['a={b: "$(touch x)"}', "a=`x`", "a=$HOME", "a=\\", "a={b: 'c', d: \"e\"}", "a=b\nc"])
def test_on_a_cluster_such_words_end_the_run(word):
    """Snakemake and its SLURM plugin put `--config` and paths into a shell line, in quotes that do not hold these."""
    with pytest.raises(UserError, match="--config .*config/config.yaml"):
        refuse_shell_words([word], "--config")
    refuse_shell_words(["predict={trip: photos/my images}", "methods=[cam, 'irn']", 'datasets=["demo"]'], "--config")


def test_a_cluster_gets_no_job_with_such_words(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the SLURM plugin is not installed")
    project = copy_project(tmp_path / "clone")
    words = f'predict={{trip: "$(touch {tmp_path}/pwned)"}}'
    target = ("results/demo_tiny/manifest.csv", "--workflow-profile", "profiles/slurm")
    done = snakemake(project, *target, "--config", words)
    assert done.returncode != 0 and "on a cluster a shell reads it again" in done.stdout
    assert not (tmp_path / "pwned").exists() and not (project / "logs/slurm").exists()


# --- archives and images -------------------------------------------------------------------------------


def test_a_tar_header_that_wants_the_memory(tmp_path):
    """tarfile reads long names and extended headers whole: 256 MB of them in a file of 250 kB."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 256_000_000
    with gzip.open(tmp_path / "x.tgz", "wb", 6) as handle:
        handle.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(256):
            handle.write(bytes(1_000_000))
    assert os.path.getsize(tmp_path / "x.tgz") < 300_000
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="damaged or cut short"):
            archive.extract(tmp_path / "x.tgz", tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "out").exists()


def test_long_names_of_honest_archives_are_read(tmp_path):
    name = "/".join(["top", *["folder of a long name" * 5] * 4, "a.txt"])
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / f"{form}.tgz", "w:gz", format=form) as handle:
            info = tarfile.TarInfo(name)
            info.size = 3
            handle.addfile(info, io.BytesIO(b"abc"))
        assert (archive.extract(tmp_path / f"{form}.tgz", tmp_path / f"out{form}") / name).read_bytes() == b"abc"


@pytest.mark.parametrize("mode", ["w:xz", "w:bz2"])
def test_other_compressions_are_refused(tmp_path, mode):
    """None of the archives that are fetched has them, and an .xz may ask for gigabytes to begin with."""
    tarfile.open(tmp_path / "x.tar", mode).close()
    with pytest.raises(UserError, match="damaged or cut short"):
        archive.extract(tmp_path / "x.tar", tmp_path / "out")


def test_a_name_that_no_disk_takes(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as handle:
        handle.writestr("a" * 300, "b")
    with pytest.raises(UserError, match="so long a name"):
        archive.extract(tmp_path / "x.zip", tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["x.zip"]


@pytest.mark.parametrize("read", [read_image, image_size, read_mask, read_saliency])
def test_postscript_under_an_images_name_is_not_run(tmp_path, monkeypatch, read):
    """Pillow goes by content and starts Ghostscript for it."""
    Image.new("L", (9, 9)).save(tmp_path / "a.png", format="EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was asked for"))
    with pytest.raises(UserError, match="a.png: not a readable"):
        read(tmp_path / "a.png")


# --- addresses -----------------------------------------------------------------------------------------


def test_every_address_has_tls_or_a_checksum_of_the_publisher():
    assert voc_download.MD5 and sbd_download.MD5 and all(url.startswith("http") for url in voc_download.URLS + sbd_download.URLS)
    for year in (2014, 2017):
        names = [f"annotations/annotations_trainval{year}.zip", f"zips/val{year}.zip", f"zips/train{year}.zip"]
        assert all(re.fullmatch("[0-9a-f]{64}", coco_download.SHA256[name]) for name in names)
    fetched = [entry for entry in WEIGHTS.values() if entry.get("url")]
    assert fetched and all(entry["url"].startswith("https://") and entry["sha256_prefix"] for entry in fetched)
    assert voc_download.URLS[0].startswith("https://") and sbd_download.URLS[0].startswith("https://")
    assert coco_download.HOSTS[0].startswith("https://")


@pytest.mark.parametrize("url", ["http://x/f", "ftp://x/f", "HTTP://x/f"])
def test_where_a_redirect_leads_away_from_tls_only_a_checksum_helps(url):
    options = {"timeout": 1, "retries": 0, "pause": 0, "progress": False}
    with pytest.raises(transfer.Refused, match="plain (http|ftp), and no checksum is known"):
        transfer._refuse_plain(url, transfer.Options(**options, checked=False, locked=False))
    transfer._refuse_plain(url, transfer.Options(**options, checked=True, locked=False))
    transfer._refuse_plain("https://x/f", transfer.Options(**options, checked=False, locked=False))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_nobody_signed_is_refused(tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert", "-subj", "/CN=localhost"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *a: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with pytest.raises(UserError, match="its TLS certificate cannot be trusted"):
            download([f"https://localhost:{server.server_port}/f"], tmp_path / "f", retries=0, progress=False)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not (tmp_path / "f").exists()
