"""Faults of files: damaged artefacts of earlier stages, full and read-only disks, short reads. In-process, real stages.

What each fault looks like to a user, and what to do, is in docs/faults.md.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import LIBRARY, Chain, artefacts, environment, folder_dataset
from safetensors.torch import load_file, save_file
from wsss.data.archive import extract
from wsss.data.manifest import load_manifest
from wsss.engine import entry, recovery
from wsss.engine.explain import plain_words
from wsss.engine.index import merge_shards, read_index, write_shard
from wsss.errors import UserError
from wsss.io.probs import read_probs, write_probs
from wsss.refine.crf import CrfParams, softmax_crf
from wsss.report import pages

MODEL, INDEX = "model.safetensors", "index.json"
CAM, AFFINITY = {"cam": f"cam/{INDEX}"}, {"affinity": f"affinity/{MODEL}"}
SEEDS, LABELS = {"seeds": f"seeds/{INDEX}"}, {"ir_labels": f"ir_labels/{INDEX}"}
TRUNK, MASKS = {"classifier": f"classifier/{MODEL}"}, {"pseudo_masks": f"pseudo_masks/{INDEX}"}
SCORED = {**CAM, **SEEDS, **MASKS, **TRUNK, **AFFINITY}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder dataset by IRN, to the scores of its pseudo-masks; every network learns for two steps."""
    chain = Chain(folder_dataset(tmp_path_factory.mktemp("made") / "own", masks=True))
    inputs = {
        "classifier": {}, "cam": {"model": f"classifier/{MODEL}"}, "seeds": CAM, "ir_labels": SEEDS,
        "affinity": {**LABELS, **TRUNK}, "pseudo_masks": {**CAM, **AFFINITY}, "segmentation": MASKS, "evaluation": SCORED,
    }  # fmt: skip
    for stage, files in inputs.items():
        chain.run(stage, files)
    return chain


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    """Its files to break, in the working directory: they have the names that Snakemake gives them."""
    shutil.copytree(made.results.parent, tmp_path / "own", copy_function=os.link)  # replaced, never written into
    monkeypatch.chdir(tmp_path / "own")
    return Chain("results")


# --- a damaged artefact --------------------------------------------------------------------------------

FILE = "p 0 ü"
READERS = {  # file below the results folder -> the stage that reads it, its inputs, what has to be forced
    f"cam/{FILE}.npz": ("seeds", CAM, f"cam/{INDEX}"),
    f"seeds/{FILE}.png": ("ir_labels", SEEDS, f"seeds/{INDEX}"),
    f"seeds/{FILE}.unsure.png": ("ir_labels", SEEDS, f"seeds/{INDEX}"),
    f"ir_labels/{FILE}.png": ("affinity", {**LABELS, **TRUNK}, f"ir_labels/{INDEX}"),
    f"pseudo_masks/{FILE}.png": ("evaluation", SCORED, f"pseudo_masks/{INDEX}"),
    f"classifier/{MODEL}": ("cam", {"model": f"classifier/{MODEL}"}, f"classifier/{MODEL}"),
    f"affinity/{MODEL}": ("pseudo_masks", {**CAM, **AFFINITY}, f"affinity/{MODEL}"),
    f"segmentation/{MODEL}": ("predictions", {"model": f"segmentation/{MODEL}"}, f"segmentation/{MODEL}"),
    f"cam/{INDEX}": ("seeds", CAM, f"cam/{INDEX}"),
    f"seeds/{INDEX}": ("ir_labels", SEEDS, f"seeds/{INDEX}"),
    f"pseudo_masks/{INDEX}": ("segmentation", MASKS, f"pseudo_masks/{INDEX}"),
    "manifest.csv": ("seeds", CAM, "manifest.csv"),
    "dataset.json": ("seeds", CAM, "manifest.csv"),
}
DAMAGES = {
    "half of it": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),  # what some file systems leave after a power failure
}


def damage(path, how):
    data = DAMAGES[how](path.read_bytes())
    path.unlink()
    path.write_bytes(data)


def plain(error):
    words = plain_words(error)
    assert words is not None, f"a traceback: {error!r}"
    return words


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_artefact_is_named_with_the_command(copied, name, how):
    stage, inputs, forced = READERS[name]
    damage(copied.results / name, how)
    with pytest.raises(UserError) as caught:
        copied.run(stage, inputs, into="again")
    assert f"results/{name}" in plain(caught.value)
    assert f"run: snakemake --force results/{forced}" in plain(caught.value)
    assert not (copied.results / "again" / INDEX).exists() and not (copied.results / "again/miou.txt").exists()


LEARNING = {"classifier": {}, "affinity": {**LABELS, **TRUNK}, "segmentation": MASKS}


@pytest.mark.parametrize("stage", LEARNING)
def test_a_network_that_diverged_is_not_written(copied, stage):
    """One step at a rate of 1e30: the loss is still that of the first weights."""
    settings = {**copied.recipe[stage], "lr": 1e30, "steps": 1}
    with pytest.raises(UserError, match=f"^{stage}: the network diverged.*; lower {stage}.lr .it is 1e.30.*precision: fp32$"):
        copied.run(stage, LEARNING[stage], into="again", settings=settings)
    assert {path.name for path in (copied.results / "again").glob("*")} <= {"train_state.pt"}


OVERFLOWING = {  # network -> the stage that looks through it, its inputs, its words
    "classifier": ("cam", {"model": f"classifier/{MODEL}"}, "not written, its maps have values"),
    "affinity": ("pseudo_masks", {**CAM, **AFFINITY}, f"affinity/{MODEL}: its network makes no numbers"),
    "segmentation": ("predictions", {"model": f"segmentation/{MODEL}"}, f"segmentation/{MODEL}: its network makes no numbers"),
}


@pytest.mark.parametrize("network", OVERFLOWING)
def test_a_network_that_makes_no_numbers_makes_no_files(copied, network):
    stage, inputs, words = OVERFLOWING[network]
    path = copied.results / network / MODEL
    state = {key: value * 1e20 if value.is_floating_point() else value for key, value in load_file(path).items()}
    path.unlink()
    save_file(state, path, {"facts": "{}"})
    with pytest.raises(UserError, match=words):
        copied.run(stage, inputs, into="again")
    assert not list((copied.results / "again").glob("*.png")) and not list((copied.results / "again").glob("*.npz"))


def test_a_found_cut_that_turns_the_seeds_around(copied):
    """Only the stage knows the cut: the unsure seed's number may lie above it."""
    (copied.results / "threshold.json").write_text('{"cut": 0.2, "by": "scores"}')
    settings = copied.recipe["seeds"] | {"confident": {"kind": "const", "value": "found"}, "unsure": {"kind": "const", "value": 0.3}}
    with pytest.raises(UserError, match="seeds: unsure .const 0.3. leaves less foreground than confident .const 0.2."):
        copied.run("seeds", {**CAM, "threshold": "threshold.json"}, into="again", settings=settings)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1.5, -0.5])
def test_probabilities_that_are_none_are_not_written(tmp_path, number):
    good, bad = np.full((2, 3, 4), 0.5, np.float32), np.full((2, 3, 4), 0.5, np.float32)
    bad[1, 2, 3] = number
    for passes in ((good, bad), (bad, good)):
        with pytest.raises(UserError, match="a.npz: not written, the CRF gives no probabilities.*seeds.crf_params"):
            write_probs(tmp_path / "a.npz", *passes)
    assert not list(tmp_path.iterdir())


def test_a_crf_says_what_it_cannot_start_from():
    scores = np.full((1, 8, 8), np.nan, np.float32)
    with pytest.raises(UserError, match="CRF: what it starts from is not finite"):
        softmax_crf(np.zeros((8, 8, 3), np.uint8), np.concatenate([scores, scores]), CrfParams(5, 3, 3, 60, 10, 5))


def test_a_manifest_cut_at_the_end_of_a_line_is_found_out(copied):
    path = copied.results / "manifest.csv"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.unlink()
    path.write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(UserError, match="manifest.csv: damaged; run: snakemake --force.*\n.*5 rows.*counts 6"):
        load_manifest(path)


def test_the_forced_stage_makes_what_is_damaged_and_keeps_the_rest(copied):
    folder = copied.results / "seeds"
    before, times = artefacts(folder), {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    damage(folder / f"{FILE}.png", "zeros")
    (folder / INDEX).unlink()  # as Snakemake does before it runs a stage
    copied.run("seeds", CAM)
    assert artefacts(folder) == before
    again = {path.name for path in times if path.stat().st_mtime_ns != times[path]}
    assert again == {f"{FILE}.png", f"{FILE}.unsure.png"}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["evaluation/scores.json", "evaluation/sweep.csv", "evaluation/per_image.csv", "classifier/history.csv"])
def test_the_report_names_what_is_damaged(copied, name, how):
    entry = {
        "name": "irn", "scores": "results/evaluation/scores.json", "sweep": "results/evaluation/sweep.csv",
        "history": {"classifier": "results/classifier/history.csv"}, "per_image": "results/evaluation/per_image.csv",
    }  # fmt: skip
    damage(copied.results / name, how)
    with pytest.raises(UserError, match=f"results/{name}: .*run: snakemake --force results/{name}"):
        pages.build({"dataset": "own", "classes": ["red", "green"], "methods": [entry]}, "report")


def test_damaged_probabilities_name_the_command(copied):
    path = copied.results / "seeds" / "more.npz"
    write_probs(path, *np.ones((2, 1, 4, 4)))
    damage(path, "half of it")
    with pytest.raises(UserError, match=f"npz: .*run: snakemake --force results/seeds/{INDEX}"):
        read_probs(path)


def test_of_a_split_stage_the_jobs_are_forced_that_made_the_files(tmp_path, monkeypatch):
    """Forcing the index would only merge again what the jobs declare."""
    monkeypatch.chdir(tmp_path)
    paths = [recovery.Path("cam/shards/1of2.json"), recovery.Path("cam/shards/2of2.json")]
    for path, ids in zip(paths, ("ac", "b"), strict=True):
        write_shard(path, {item_id: ["0"] for item_id in ids}, [".npy"], norm="max")
    merge_shards(paths, "cam")
    (tmp_path / "cam/c.npy").touch()
    with pytest.raises(UserError, match="2 of 3 .*; run: snakemake --force cam/shards/1of2.json cam/shards/2of2.json$"):
        read_index("cam/index.json", ["a", "b", "c"])
    assert recovery.remake_command("cam/b.npy") == "snakemake --force cam/shards/2of2.json"
    assert recovery.remake_command("cam/shards/1of2.json") == "snakemake --force cam/shards/1of2.json"
    (tmp_path / "cam/index.json").write_text("{")
    assert recovery.remake_command("cam/index.json") == "snakemake --force cam/index.json"


@pytest.mark.parametrize("name", ["cam/classifier/check.json", "cam/threshold/threshold.json", "amn/diagnosis.json"])
def test_a_file_that_is_declared_by_itself_is_forced_by_itself(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for there in ("dataset.json", "manifest.csv"):
        (tmp_path / there).write_text("{}")
    assert recovery.remake_command(name) == f"snakemake --force {name}"


def test_what_nobody_here_made_has_no_command(tmp_path):
    assert recovery.remake_command(tmp_path / "photos/a.png") is None
    assert recovery.remedy(tmp_path / "photos/a.png", "restore it") == "restore it"
    assert recovery.remedy(tmp_path / "imports/own/mine/cam/index.json").startswith("import it again"), "its index, which knows the command, is damaged"


# --- disks ---------------------------------------------------------------------------------------------


def mount(*arguments):
    """Whether it could be mounted; only root may, and not in every container."""
    return shutil.which("mount") and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A small disk of its own, with the project in it as working directory."""
    if os.geteuid() or not mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(tmp_path)):
        pytest.skip("a small disk can only be mounted by root, and not in every container")
    try:
        with monkeypatch.context() as inside:
            inside.chdir(tmp_path)
            yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@contextlib.contextmanager
def full(disk, left):
    """All but `left` bytes of the disk are taken."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(free - left))
    yield
    (disk / "filler").unlink()


@pytest.fixture
def small(made, disk):
    """The project on the small disk, without the models of the later networks."""
    unneeded = shutil.ignore_patterns("segmentation", "affinity", "evaluation", ".finished*", "finished.json")
    shutil.copytree(made.results.parent, disk / "own", ignore=unneeded)
    return Chain(disk / "own/results")


@pytest.mark.parametrize("pages_left", [0, 3, 7])
def test_a_full_disk_is_named_and_the_same_command_goes_on(small, disk, pages_left):
    """Whether the journal, the first image or a later one finds no room."""
    before = artefacts(small.results / "seeds")
    shutil.rmtree(small.results / "seeds")
    with full(disk, pages_left * 4096), pytest.raises(UserError, match="seeds.*the disk is full; free some space"):
        small.run("seeds", CAM)
    assert not (small.results / "seeds" / INDEX).exists() and not list(disk.rglob("*.tmp"))
    small.run("seeds", CAM)
    assert artefacts(small.results / "seeds") == before


def test_a_disk_that_fills_while_a_network_learns(small, disk):
    """A checkpoint does not fit; the one before it stays, and the training goes on from there."""
    before = artefacts(small.results / "classifier")
    shutil.rmtree(small.results / "classifier")
    with full(disk, 4096), pytest.raises(UserError, match="classifier/.*the disk is full"):
        small.run("classifier", runtime={"checkpoint_seconds": 0})
    assert not list(disk.rglob("*.tmp")) and not (small.results / "classifier" / MODEL).exists()
    small.run("classifier")
    again = artefacts(small.results / "classifier")
    assert {name: again[name] for name in before} == before


def test_an_archive_that_does_not_fit_leaves_nothing(disk, tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    (source / "big").write_bytes(os.urandom(70_000_000))
    archive = shutil.make_archive(str(source / "big"), "tar", source, "big")
    with pytest.raises(UserError, match="unpacked: cannot write: the disk is full"):
        extract(archive, disk / "unpacked")
    assert list(disk.iterdir()) == []


def test_a_read_only_disk_is_named(small, disk):
    before = artefacts(small.results / "seeds")
    assert mount("-o", "remount,ro", str(disk))
    with pytest.raises(UserError, match="seeds/.*the file system is read-only; choose another folder"):
        small.run("seeds", CAM)
    assert artefacts(small.results / "seeds") == before


def test_a_log_that_cannot_be_written_is_no_error(tmp_path, capfd):
    (tmp_path / "logs").write_text("a file where the folder of the logs should be")
    entry._log_to(str(tmp_path / "logs/own/seeds.log"))
    if os.path.exists("/dev/full"):
        entry._log_to("/dev/full")
    logging.getLogger("wsss").error("what went wrong")
    said = capfd.readouterr().err
    assert said.count("what went wrong") == 1 and "Traceback" not in said and "Logging error" not in said


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_drive_that_fails_is_no_traceback(number):
    error = OSError(number, os.strerror(number), "results/own/cam/a.npy")
    assert re.match("results/own/cam/a.npy: .*; the drive does not answer.*same command again", plain(error))


# --- a network drive that returns short reads ----------------------------------------------------------

SHORT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static long shortened;
static size_t few(int fd, size_t count) {  /* at most 1000 bytes at a time of files below $SHORT */
  char link[64], path[4096];
  const char *where = getenv("SHORT");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (!where || n < 0 || count <= 1000) return count;
  path[n] = 0;
  if (strncmp(path, where, strlen(where))) return count;
  shortened++;
  return 1000;
}
ssize_t read(int fd, void *to, size_t count) {
  static ssize_t (*real)(int, void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "read");
  return real(fd, to, few(fd, count));
}
ssize_t pread64(int fd, void *to, size_t count, off64_t at) {
  static ssize_t (*real)(int, void *, size_t, off64_t);
  if (!real) real = dlsym(RTLD_NEXT, "pread64");
  return real(fd, to, few(fd, count), at);
}
__attribute__((destructor)) static void tell(void) { fprintf(stderr, "shortened %ld\n", shortened); }
"""
STAGES_AGAIN = """
import sys
sys.path[:0] = {paths!r}
import test_faults as t
chain = t.Chain({results!r})
chain.run("seeds", t.CAM, into="again/seeds")
chain.run("classifier", into="again/classifier")
chain.run("cam", {{"model": "again/classifier/model.safetensors"}}, into="again/cam")
chain.run("evaluation", t.SCORED, into="again/evaluation")
"""


def test_short_reads_change_nothing(made, tmp_path):
    compiler = shutil.which("cc") or shutil.which("g++")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler for a library that shortens reads")
    (tmp_path / "short.c").write_text(SHORT)
    library = tmp_path / "short.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", tmp_path / "short.c", "-o", library, "-ldl"], check=True)
    shutil.copytree(made.results.parent, tmp_path / "own")
    results = tmp_path / "own/results"
    code = STAGES_AGAIN.format(paths=[str(LIBRARY), str(Path(__file__).parents[1]), str(Path(__file__).parent)], results=str(results))
    shim = {"LD_PRELOAD": str(library), "SHORT": str(tmp_path / "own")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**environment(), **shim}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"shortened (\d+)", done.stderr)[1]) > 50, "reads were not shortened"
    for stage in ("seeds", "classifier", "cam", "evaluation"):
        again, before = artefacts(results / "again" / stage), artefacts(made.results / stage)
        same = {name for name in before if not name.startswith(".") and name not in ("finished.json", INDEX)}
        assert {n for n in same if again[n] != before[n]} == set(), stage
