"""A stage in several jobs: the same files and the same index, whatever the split; nothing stale, nothing lost."""

import json
import pickle
import shutil
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Chain, artefacts, folder_dataset
from PIL import Image
from wsss.data.inference import shard_batches
from wsss.data.manifest import Record, load_manifest
from wsss.digest import stable_hash
from wsss.engine import signals
from wsss.engine.index import merge_shards, write_shard
from wsss.engine.journal import Journal
from wsss.engine.shards import Shard, drop_claims, index_paths
from wsss.engine.task import Task
from wsss.engine.threads import WAITING, threaded
from wsss.errors import UserError
from wsss.refine.crf import DEEPLAB_TEST, softmax_crf
from wsss.stages import merge, predictions

MODEL, INDEX = "model.safetensors", "index.json"
PINNED = (
    11040768814954441895,
    16101935739885428497,
    [1, 3, 6, 6, 3, 4, 5, 5, 3, 8, 1, 5, 1, 5, 1, 4, 3, 8, 7, 4],
)
SIZES = ((64, 64),) * 5 + ((64, 80), (33, 90), (64, 80), (70, 64), (64, 64), (64, 64))
INPUTS = {
    "cam": {"model": f"classifier/{MODEL}"},
    "seeds": {"cam": f"cam/{INDEX}"},
    "ir_labels": {"seeds": f"seeds/{INDEX}"},
    "pseudo_masks": {"cam": f"cam/{INDEX}", "affinity": f"affinity/{MODEL}"},
    "predictions": {"model": f"segmentation/{MODEL}"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole chain of IRN in one job a stage; two images have no label."""
    chain = Chain(folder_dataset(tmp_path_factory.mktemp("made") / "own", SIZES, unlabelled=(1, 3)))
    chain.run("classifier")
    for stage in ("cam", "seeds", "ir_labels"):
        chain.run(stage, INPUTS[stage])
    chain.run("affinity", {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"})
    chain.run("pseudo_masks", INPUTS["pseudo_masks"])
    chain.run("segmentation", {"pseudo_masks": f"pseudo_masks/{INDEX}"})
    chain.run("predictions", INPUTS["predictions"])
    return chain


def one_shard(chain, stage, name, into="split", **changes):
    """Run one job of a split stage; returns the stage's folder."""
    task = chain.task(stage, INPUTS[stage], into=into, shard=name, **changes)
    task.outputs = {"index": str(chain.results / into / f"shards/{name}.json")}
    import_module(f"wsss.stages.{stage}").run(task)
    assert task.folder == chain.results / into
    return task.folder


def merged(folder, total):
    """Run the merge of a folder's shards; returns the folder."""
    merge.run(Task("merge", {}, {"index": str(folder / INDEX)}, {"shards": total, "code": ""}, {}))
    return folder


def in_shards(chain, stage, total, **options):
    for number in range(1, total + 1):
        folder = one_shard(chain, stage, f"{number}of{total}", **options)
    return merged(folder, total)


def files_of(folder):
    """Everything but what belongs to a split."""
    return {name: data for name, data in artefacts(folder).items() if not name.startswith("shards/")}


@pytest.fixture
def free(made):
    """The chain, with no folder of an earlier test."""
    shutil.rmtree(made.results / "split", ignore_errors=True)
    return made


# --- which job makes which image -----------------------------------------------------------------------


def test_the_hash_is_the_same_everywhere_and_for_ever():
    assert stable_hash("COCO_train2014_000000000009") == PINNED[0]
    assert stable_hash("p 1 ü") == PINNED[1]
    ids = [f"COCO_train2014_{n:012d}" for n in range(20)]
    assert [next(k for k in range(1, 9) if Shard(k, 8).holds(i)) for i in ids] == PINNED[2]


def test_each_image_has_one_job_and_the_jobs_are_alike():
    ids = [f"{n:012d}" for n in range(8000)]
    held = [[i for i in ids if Shard(k, 8).holds(i)] for k in range(1, 9)]
    assert sorted(sum(held, [])) == ids
    assert all(900 < len(part) < 1100 for part in held)
    assert Shard.parse("3of8") == Shard(3, 8) and Shard(1, 1).holds("anything")


def test_batches_do_not_depend_on_the_split(made):
    records = load_manifest(made.results / "manifest.csv").split("all")
    whole = shard_batches(made.task("cam"), records, 4)
    assert sorted(map(len, whole)) == [1, 1, 2, 3, 4]
    parts = [shard_batches(made.task("cam", shard=f"{k}of3"), records, 4) for k in (1, 2, 3)]
    assert sorted(sum(parts, [])) == sorted(whole) and max(map(len, parts)) < len(whole)


# --- the union of the shards is the unsplit stage --------------------------------------------------------


@pytest.mark.parametrize("total", [2, 5])
@pytest.mark.parametrize("stage", INPUTS)
def test_shards_make_what_one_job_makes(free, stage, total):
    split = in_shards(free, stage, total)
    assert files_of(split) == files_of(free.results / stage)
    assert sorted(p.name for p in (split / "shards").glob("*of*.json") if p.stem.count(".") == 0) == sorted(
        p.name for p in index_paths(split, total)
    )
    facts = json.loads((split / "run.json").read_text())
    assert facts["images"] == len(SIZES) and sum(s["images"] for s in facts["shards"].values()) == len(SIZES)


def test_a_shard_reads_only_what_is_its_own(free):
    """A lost CAM stops the job that needs it, and no other."""
    lost = next(r.id for r in load_manifest(free.results / "manifest.csv").split("all") if Shard(1, 2).holds(r.id))
    path = free.results / f"cam/{lost}.npz"
    content = path.read_bytes()
    path.unlink()
    try:
        one_shard(free, "seeds", "2of2")
        with pytest.raises(UserError, match="have no file here.*run: snakemake --force .*cam/index.json"):
            one_shard(free, "seeds", "1of2")
    finally:
        path.write_bytes(content)


# --- nothing stale, nothing mixed ------------------------------------------------------------------------


def times(folder):
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}


def other(chain):
    return {**chain.recipe["seeds"], "confident": {"kind": "const", "value": 0.9}}


def test_another_number_of_shards_takes_over_all_files(free):
    """1 -> 3 -> 2 -> 1: no image is made twice, the index never changes, the old split is gone."""
    folder = free.run("seeds", INPUTS["seeds"], into="split")
    index, before = (folder / INDEX).read_bytes(), times(folder)
    for total in (3, 2):
        in_shards(free, "seeds", total)
        assert times(folder) == before and (folder / INDEX).read_bytes() == index
        assert {p.name.split(".")[0] for p in (folder / "shards").iterdir()} == {
            f"{k}of{total}" for k in range(1, total + 1)
        }
        assert not (folder / "journal.jsonl").exists()
    free.run("seeds", INPUTS["seeds"], into="split")
    assert times(folder) == before and (folder / INDEX).read_bytes() == index
    assert not list((folder / "shards").iterdir())


@pytest.mark.parametrize("total", [1, 2, 3])
def test_before_a_file_changes_the_indexes_that_vouch_for_it_go(free, monkeypatch, total):
    """Else the old settings, with the old number of shards, would find their indexes beside another run's files."""
    folder = in_shards(free, "seeds", 3)
    monkeypatch.setattr(signals, "_stop", True)
    with pytest.raises(SystemExit):
        if total == 1:
            free.run("seeds", INPUTS["seeds"], into="split", settings=other(free))
        else:
            one_shard(free, "seeds", f"1of{total}", settings=other(free))
    left = {p.name for p in index_paths(folder, 3) if p.exists()}
    assert total == 1 or not (folder / INDEX).exists()  # Snakemake itself removes what a job declares
    changed = {r.id for r in load_manifest(free.results / "manifest.csv").split("all") if Shard(1, total).holds(r.id)}
    kept = {f"{k}of3.json" for k in (1, 2, 3) if not any(Shard(k, 3).holds(i) for i in changed)}
    assert left - {"1of3.json"} == kept - {"1of3.json"}


def test_a_split_by_other_batches_is_not_mixed_in(free):
    """Batches of one image put it into another job than batches of four did."""
    folder = in_shards(free, "cam", 2)
    assert {p.name for p in index_paths(folder, 2) if p.exists()} == {"1of2.json", "2of2.json"}
    one_shard(free, "cam", "1of2", settings={**free.recipe["cam"], "batch_size": 1})
    assert not (folder / "shards/2of2.json").exists()


def test_other_settings_redo_all(free):
    folder = in_shards(free, "seeds", 2)
    before = times(folder)
    in_shards(free, "seeds", 2, settings=other(free))
    assert all(after != before[name] for name, after in times(folder).items())


def test_indexes_that_vouch_for_other_files_stay(tmp_path):
    for number, ids in ((1, "ab"), (2, "cd")):
        write_shard(index_paths(tmp_path, 2)[number - 1], {i: ["0"] for i in ids}, [".png"])
    (tmp_path / "shards/1of9.json").write_text("cut o")
    drop_claims(tmp_path, index_paths(tmp_path, 3)[0], {"c"})
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == ["1of2.json", "1of9.json"]


# --- kill and resume -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["1of2", "1of3", None])
@pytest.mark.parametrize("stage", ["cam", "seeds", "predictions"])
def test_a_stopped_shard_goes_on_from_its_journal(free, monkeypatch, stage, after):
    """Stopped by SIGTERM after one image; then the same shard, one of another split, or no split at all."""
    monkeypatch.setattr(signals, "_stop", True)
    with pytest.raises(SystemExit):
        one_shard(free, stage, "1of2")
    folder = free.results / "split"
    journal = (folder / "shards/1of2.journal.jsonl").read_text().splitlines()
    first = json.loads(journal[1])["id"]
    kept = {p: p.stat().st_mtime_ns for p in folder.glob(f"{first}.*")}
    assert kept and not (folder / "shards/1of2.json").exists()
    monkeypatch.setattr(signals, "_stop", False)
    if after:
        in_shards(free, stage, int(after[-1]))
    else:
        free.run(stage, INPUTS[stage], into="split")
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "what was finished is not done again"
    assert files_of(folder) == files_of(free.results / stage)


def test_a_journal_of_another_split_vouches_only_for_what_stands(tmp_path):
    (tmp_path / "shards").mkdir()
    first = Journal(tmp_path, "f", [".txt"], {"a", "b", "c"}, tmp_path / "shards/1of2.journal.jsonl")
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
        first.add(name)
    (tmp_path / "b.txt").write_text("changed")
    (tmp_path / "c.txt").unlink()
    again = Journal(tmp_path, "f", [".txt"], {"a", "b", "c", "d"})
    assert list(again.done) == ["a"]
    assert Journal(tmp_path, "f", [".txt"], {"d"}, tmp_path / "shards/2of2.journal.jsonl").done == {}
    assert Journal(tmp_path, "g", [".txt"], {"a"}, tmp_path / "shards/2of2.journal.jsonl").done == {}


# --- merge -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("differing", [{"fingerprint": "g"}, {"norm": "none"}])
def test_shards_that_do_not_belong_together_are_refused(tmp_path, differing):
    facts = {"fingerprint": "f", "norm": "max"}
    for path, more in zip(index_paths(tmp_path, 2), ({}, differing), strict=True):
        write_shard(path, {path.stem: ["0"]}, [".npy"], **{**facts, **more})
    with pytest.raises(UserError, match=f"2of2.json: differs from 1of2.json in {next(iter(differing))}: .*delete"):
        merge_shards(index_paths(tmp_path, 2), tmp_path)
    assert not (tmp_path / INDEX).exists()


def test_an_empty_shard_is_one_too(free):
    """More jobs than images."""
    folder = in_shards(free, "ir_labels", 23)
    assert files_of(folder) == files_of(free.results / "ir_labels")
    assert any(json.loads(p.read_text())["digests"] == {} for p in index_paths(folder, 23))


# --- what is bounded -------------------------------------------------------------------------------------


def test_threads_keep_order_and_take_few_items_ahead():
    taken = []

    def items():
        for n in range(3 * WAITING):
            taken.append(n)
            yield n

    results = threaded(lambda n: -n, items())
    assert next(results) == 0 and len(taken) <= WAITING
    assert list(results) == [-n for n in range(1, 3 * WAITING)]
    with pytest.raises(ZeroDivisionError):
        list(threaded(lambda n: 1 / n, [1, 0]))


def test_records_are_small(tmp_path):
    """Each worker of a training comes to hold all of them: 82,081 and 40,137 for COCO 2014."""
    lines = ["id,split,image,labels,mask,mask_train,saliency"]
    lines += [f"COCO_train2014_{n:012d},train;trainaug,train2014/COCO_train2014_{n:012d}.jpg,a;c,masks/{n:012d}.png,," for n in range(5000)]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    info = {"name": "x", "root": ".", "classes": ["a", "b", "c"], "allow_unlabelled": False, "digest": "0"}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    tracemalloc.start()
    dataset = load_manifest(tmp_path / "manifest.csv")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 5000 < 650
    record = dataset.records[9]
    assert record.image == tmp_path / "train2014/COCO_train2014_000000000009.jpg" and record.labels == (0, 2)
    assert (record.mask, record.mask_train, record.saliency) == (tmp_path / "masks/000000000009.png", None, None)
    assert record.splits == ("train", "trainaug") and pickle.loads(pickle.dumps(record)) == record


def scores(labels, seed=0, size=(40, 50)):
    """Probabilities of which a few labels are more than noise."""
    logits = np.random.default_rng(seed).normal(0, 0.3, (labels, *size))
    for k, row in enumerate(np.arange(size[0]) // 10):
        logits[row % labels, k] += 9
    return torch.from_numpy(logits).float().softmax(0)


@pytest.mark.parametrize("labels", [3, 81, 250])
def test_pruned_probabilities_give_the_masks_of_all_of_them(tmp_path, labels):
    probs = scores(labels)
    image = np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8)
    kept, left = predictions.pruned(probs)
    assert left.dtype == np.float32 and (len(kept) < 10 or labels == 250)
    whole = probs.numpy()
    assert np.array_equal(kept[left.argmax(0)], whole.argmax(0))
    Image.fromarray(image).save(tmp_path / "image.png")
    record = load_record(tmp_path / "image.png")
    predictions.refine_one(tmp_path, record, kept, left, DEEPLAB_TEST)
    assert np.array_equal(np.array(Image.open(tmp_path / "x.nocrf.png")), whole.argmax(0))
    assert np.array_equal(np.array(Image.open(tmp_path / "x.png")), softmax_crf(image, whole, DEEPLAB_TEST))


def load_record(path: Path):
    return Record("x", ("val",), (), str(path.parent), (path.name, "", "", ""))


def test_waiting_images_are_bounded_by_bytes(free, monkeypatch):
    """With no room at all each image is finished before the next batch is predicted."""
    waiting = []

    class Pool:
        def submit(self, function, *job):
            waiting.append(job[1].id)
            return Done(lambda: (waiting.remove(job[1].id), function(*job))[1])

    class Done:
        def __init__(self, work):
            self.result = work

        def done(self):
            return False

    monkeypatch.setattr(predictions, "crf_pool", lambda task, settings: None)
    monkeypatch.setattr(predictions, "WAITING_BYTES", 0)
    most = []
    original = predictions.Predictor.probabilities

    def probabilities(self, batch):
        self.pool = Pool()
        most.append(len(waiting))
        return original(self, batch)

    monkeypatch.setattr(predictions.Predictor, "probabilities", probabilities)
    folder = free.run("predictions", INPUTS["predictions"], into="split", threads=4)
    assert most == [0] * len(most) and len(most) > 3
    assert files_of(folder) == files_of(free.results / "predictions")
