"""What a kill leaves behind, and that nothing of it stays: half-written files, checkpoints, the order of a journal, orphans."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import LIBRARY, Chain, environment, folder_dataset
from wsss.data.manifest import load_manifest
from wsss.engine import backup
from wsss.engine.atomic import drop_temporaries, write_text
from wsss.engine.journal import Journal
from wsss.engine.per_image import run_images
from wsss.engine.signals import MASTER


def test_a_journal_that_is_closed_does_not_tell_in_which_order_it_was_filled(tmp_path):
    for name, ids in (("one", "abc"), ("two", "cab")):
        (tmp_path / name).mkdir()
        for item_id in ids:
            (tmp_path / name / f"{item_id}.txt").write_text(item_id)
    one, two = (Journal(tmp_path / name, "f", [".txt"]) for name in ("one", "two"))
    for journal, ids in ((one, "abc"), (two, "cab")):
        for item_id in ids:
            journal.add(item_id)
    assert one.path.read_bytes() != two.path.read_bytes()
    one.close(), two.close()
    assert one.path.read_bytes() == two.path.read_bytes()
    assert Journal(tmp_path / "two", "f", [".txt"]).done == two.done


def leftovers(folder):
    """What writers leave that were killed before they could rename: a file, and a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".model.safetensors.123.tmp").write_text("half")
    (folder / ".VOC2012.123.tmp").mkdir()
    (folder / ".VOC2012.123.tmp/a.png").write_text("half")


def test_only_temporaries_are_dropped(tmp_path):
    leftovers(tmp_path)
    for name in ("tmp", "a.tmp", ".finished.model", "journal.jsonl"):
        (tmp_path / name).write_text("kept")
    drop_temporaries(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"tmp", "a.tmp", ".finished.model", "journal.jsonl"}


def test_of_a_shared_folder_only_ones_own_temporaries_are_dropped(tmp_path):
    """`evaluation` and `diagnosis` write into one folder, maybe at the same moment."""
    for name in ("scores.json", "diagnosis.json", "diagnosis.run.json"):
        (tmp_path / f".{name}.123.tmp").write_text("half")
    drop_temporaries(tmp_path, ["miou.txt", "scores.json"])
    assert {p.name for p in tmp_path.iterdir()} == {".diagnosis.json.123.tmp", ".diagnosis.run.json.123.tmp"}
    drop_temporaries(tmp_path, ["diagnosis."])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return folder_dataset(tmp_path_factory.mktemp("recovery"))


def test_a_stage_of_images_cleans_up_when_it_ends(results):
    task = Chain(results).task("seeds", into="images")
    ids = [record.id for record in load_manifest(results / "manifest.csv").records]
    leftovers(task.folder)

    def work(todo):
        for item_id in todo:
            write_text(task.folder / f"{item_id}.txt", item_id)
            yield item_id

    run_images(task, ids, [".txt"], work)
    names = {f"{item_id}.txt" for item_id in ids} | {"index.json", "journal.jsonl", "run.json"}
    assert {p.name for p in task.folder.iterdir()} == names


@pytest.mark.parametrize("shard", [None, "1of1"])
def test_files_of_rows_that_are_gone_go_too(results, tmp_path, shard):
    """Those that the stage made, and no others: neither the user's nor, where it is split, another job's."""
    copied = tmp_path / "results"
    shutil.copytree(results, copied)
    ids = every = [record.id for record in load_manifest(copied / "manifest.csv").records]

    def run(ids):
        task = Chain(copied).task("seeds", into="images", **({"shard": shard} if shard else {}))
        if shard:
            task.outputs["index"] = str(copied / "images/shards/1of1.json")

        def work(todo):
            for item_id in todo:
                write_text(task.folder / f"{item_id}.txt", item_id)
                yield item_id

        run_images(task, ids, [".txt"], work, every=every)
        return {path.name for path in task.folder.glob("*.txt")}

    assert run([*ids, "gone"]) == {f"{item_id}.txt" for item_id in [*ids, "gone"]}
    (copied / "images/mine.txt").touch()
    (copied / "kept.txt").touch()
    journal = next((copied / "images").rglob("*journal.jsonl"))
    journal.write_text(journal.read_text() + json.dumps({"id": "../kept", "sha256": []}) + "\n")
    expected = ids if shard else ids[:-1]
    assert run(ids[:-1]) == {f"{item_id}.txt" for item_id in [*expected, "mine"]}
    assert (copied / "kept.txt").exists()


def test_a_training_cleans_up_when_it_ends_and_when_it_is_put_back(results):
    """Killed between its end and the removal of its checkpoint, it must not keep that for ever."""
    chain = Chain(results, steps=1)
    folder = chain.task("classifier").folder
    leftovers(folder)
    chain.run("classifier")
    files = {p.name for p in folder.iterdir()}
    assert files == {
        "model.safetensors",
        "history.csv",
        "check.json",
        "run.json",
        backup.NOTE,
        ".finished.model.safetensors",
        ".finished.history.csv",
        ".finished.check.json",
    }
    (folder / "model.safetensors").unlink()  # as Snakemake does, which did not see its end
    (folder / "train_state.pt").write_bytes(b"not removed yet")
    leftovers(folder)
    chain.run("classifier")
    assert {p.name for p in folder.iterdir()} == files


STAGE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from wsss.engine.entry import start

def run(task):
    Path(sys.argv[1]).touch()

sys.modules["wsss.stages.mine"] = SimpleNamespace(run=run)
start("mine", SimpleNamespace(log=[sys.argv[2]], input={}, output={}, params={}, config={"runtime": {}}, threads=1))
"""


def begin(folder, master):
    """Start a stage in a process of its own whose Snakemake is `master`; whether it did anything."""
    done, log = folder / "done", folder / "stage.log"
    log.write_text("of another run\n")
    changes = {"PYTHONPATH": str(LIBRARY), MASTER: str(master)}
    subprocess.run([sys.executable, "-c", STAGE, str(done), str(log)], env={**environment(), **changes}, timeout=60)
    return done.exists(), log.read_text() != "of another run\n"


def test_a_stage_whose_snakemake_died_before_it_began_does_nothing(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert begin(tmp_path, dead.pid) == (False, False)
    assert begin(tmp_path, os.getpid()) == (True, True)
    assert begin(tmp_path, os.getppid()) == (True, True), "it lives, though a shell stands between"
