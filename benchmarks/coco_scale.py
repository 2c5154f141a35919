"""COCO 2014 at its real size on one CPU core: what planning, tables and each per-image stage take.

    python benchmarks/coco_scale.py                           82,081 training and 40,137 val images, all stages
    python benchmarks/coco_scale.py --train 2000 --val 500 --only dag tables

Photos, labels and masks are those of $WSSS_TEST_DATA/coco_mini (noise of the usual size where that is unset), linked
under as many ids as COCO has. Times are CPU seconds of one core, which other programs on the machine do not lengthen
much. Memory is what a process takes beyond its libraries (with PyTorch 540 to 710 MB, the dataset stage 80 MB).
Networks have random weights: their time does not depend on values. CAMs and probabilities, which the CRF's time does
depend on, are made from the masks. Everything is measured in a process of its own; a stage gets the whole manifest
and a shard of a few images, and its start (the same job once more, with all of them done) is taken off.
The ratio is reading an index of all ids against asking for file after file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "workflow/scripts")]
os.environ["OMP_NUM_THREADS"] = "1"

from _coco_links import SPLITS, World  # noqa: E402
from _coco_stages import measure_stages  # noqa: E402
from _timing import measured, report_ratio  # noqa: E402
from wsss.data.coco_instances import read_instances  # noqa: E402
from wsss.data.coco_labels import COCO_CLASSES  # noqa: E402
from wsss.data.files import file_problems  # noqa: E402
from wsss.data.inference import equal_size_batches  # noqa: E402
from wsss.data.manifest import load_manifest, write_manifest  # noqa: E402
from wsss.data.user_files import folder_stamp  # noqa: E402
from wsss.digest import sha256_file  # noqa: E402
from wsss.engine.index import read_index, write_index  # noqa: E402
from wsss.engine.journal import Journal  # noqa: E402

PARTS = ("dag", "json", "tables", "stages")
ANNOTATIONS_AN_IMAGE = {"train": 604_907 / 82_081, "val": 291_875 / 40_137}  # of instances_{split}2014.json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=82_081, help="training images")
    parser.add_argument("--val", type=int, default=40_137, help="val images")
    parser.add_argument("--shards", type=int, default=64, help="jobs a stage is split into")
    parser.add_argument("--methods", nargs="+", default=["cam", "irn", "amn", "eps"], help="what is planned and timed")
    parser.add_argument("--images", type=int, default=4, help="images of cheap networks and CRFs; dear ones take one")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", help="where to link files, by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        world = World(Path(folder), options)
        parts = {"dag": measure_dag, "json": measure_json, "tables": measure_tables, "stages": stages_of}
        for part in options.only:
            parts[part](world)
        ratio_of_index(world)


def show(what: str, seconds: float, peak_mb: float | None = None, more: str = "") -> None:
    memory = f", {peak_mb:.0f} MB" if peak_mb else ""
    print(f"{what}: {seconds:.3g} s{memory}{', ' + more if more else ''}", flush=True)


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# --- planning, instances JSON, tables


def measure_dag(world: World) -> None:
    """`snakemake -n` for coco14, downloads and all."""
    weights = world.folder / "resnet38d.params"
    weights.touch()
    for shards in (1, world.options.shards):
        changes = ["datasets=[coco14]", f"methods=[{','.join(world.options.methods)}]", f"runtime={{shards: {shards}}}"]
        place = ["-s", ROOT / "Snakefile", "--directory", world.folder / f"dag{shards}"]
        command = [sys.executable, "-m", "snakemake", "-n", *place, "--config", *changes, f"weights={{resnet38d: {weights}}}"]
        start = children_seconds()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = children_seconds() - start
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
        jobs = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("total "))
        show(f"snakemake -n, {shards} shard(s), {' '.join(world.options.methods)}", seconds, more=f"{jobs} jobs")


def measure_json(world: World) -> None:
    """Reading an instances file with as many annotations as COCO's, those of coco_mini over and over."""
    if "WSSS_TEST_DATA" not in os.environ:
        return
    for split in SPLITS:
        path = world.folder / f"instances_{split}2014.json"
        grow_json(path, world.sizes[split], round(ANNOTATIONS_AN_IMAGE[split] * world.sizes[split]))
        count, seconds, peak = measured(read_json_file, path)
        show(f"instances JSON of {split}, {path.stat().st_size / 1e6:.0f} MB", seconds, peak, f"{count} images")
        path.unlink()


def grow_json(path: Path, images: int, annotations: int) -> None:
    source = Path(os.environ["WSSS_TEST_DATA"]) / "coco_mini/annotations/instances_train2017.json"
    small = json.loads(source.read_text())
    with open(path, "w") as handle:
        entries = (json.dumps({**small["images"][n % len(small["images"])], "id": n, "file_name": f"{n}.jpg"}) for n in range(images))
        handle.write('{"images": [' + ", ".join(entries) + '], "annotations": [')
        for n in range(annotations):
            entry = {**small["annotations"][n % len(small["annotations"])], "id": n, "image_id": n % images}
            handle.write((", " if n else "") + json.dumps(entry))
        handle.write('], "categories": ' + json.dumps(small["categories"]) + "}")


def read_json_file(path: Path) -> int:
    return len(read_instances(path).images)


def measure_tables(world: World) -> None:
    """Manifest, index, journal, batches: what is as long as the list of images."""
    start = time.process_time()
    world.link()
    show("(linking files)", time.process_time() - start)
    rows, total = world.rows(), world.sizes["both"]
    _, seconds, peak = measured(write_manifest_of, world)
    show(f"manifest written, {total} rows and {2 * total} files hashed", seconds, peak)
    count = min(200, total)
    start = time.process_time()
    assert not file_problems(rows[:count], 80, Path())
    each = (time.process_time() - start) / count
    show("validation, photo and mask decoded", each, more=f"an image: {each * total / 60:.0f} min for all")
    for what, function in {
        "manifest loaded": load_manifest_of,
        "its stamp at planning, where the dataset's `path` is yours": stamp_of,
        "batches of equal size, from the headers of the training photos": batches_of,
        "index written": write_index_of,
        "index read and its folder checked": read_index_of,
        "journal opened, all CAMs hashed again": open_journal_of,
        "journal lines added, 1000 of them": add_lines_of,
    }.items():
        result, seconds, peak = measured(function, world)
        show(what, seconds, peak, result or "")


def stages_of(world: World) -> None:
    world.link()
    if not (world.results / "manifest.csv").exists():
        write_manifest_of(world)
    measure_stages(world)


def write_manifest_of(world: World) -> None:
    facts = {"name": "coco14", "classes": COCO_CLASSES, "allow_unlabelled": True}
    write_manifest(world.results, root=world.folder, rows=world.rows(), **facts)


def load_manifest_of(world: World) -> str:
    size = (world.results / "manifest.csv").stat().st_size
    return f"{len(load_manifest(world.results / 'manifest.csv').records)} records of a table of {size / 1e6:.0f} MB"


def stamp_of(world: World) -> None:
    folder_stamp([world.folder / "train2014", world.folder / "val2014"])


def batches_of(world: World) -> str:
    records = load_manifest(world.results / "manifest.csv").split("train")
    return f"{len(equal_size_batches(records, 4))} batches of at most 4"


def write_index_of(world: World) -> str:
    write_index(world.folder / "index", {i: ["0" * 64] for i in world.ids("train")}, [".npy"], fingerprint="0" * 64)
    return f"{(world.folder / 'index/index.json').stat().st_size / 1e6:.1f} MB"


def read_index_of(world: World) -> None:
    read_index(world.results / "cam/cam/index.json", world.ids("train"))


def open_journal_of(world: World) -> str:
    folder, ids = world.results / "cam/cam", world.ids("train")
    digests = [sha256_file(path.with_suffix(".npz")) for path, _ in world.templates]
    lines = [json.dumps({"fingerprint": "f"})]
    lines += [json.dumps({"id": i, "sha256": [digests[n % len(digests)]]}) for n, i in enumerate(ids)]
    path = folder / "journal.jsonl"
    path.write_text("\n".join(lines) + "\n")
    start = time.process_time()
    assert len(Journal(folder, "f", [".npz"]).done) == len(ids)
    each = (time.process_time() - start) / len(ids)
    path.unlink()
    return f"{each * 1e6:.0f} us an image"


def add_lines_of(world: World) -> None:
    journal = Journal(world.results / "cam/cam", "f", [".npz"], (), world.folder / "journal.jsonl")
    for item_id in world.ids("train")[:1000]:
        journal.add(item_id)


def ratio_of_index(world: World) -> None:
    """Ours lists the folder once."""
    world.link()
    folder, ids = world.results / "cam/cam", world.ids("train")
    start = time.process_time()
    known = set(json.loads((folder / "index.json").read_text())["ids"])
    assert all(i in known and (folder / f"{i}.npz").is_file() for i in ids)
    plain = time.process_time() - start
    start = time.process_time()
    read_index(folder / "index.json", ids)
    report_ratio(plain, time.process_time() - start)


if __name__ == "__main__":
    main()
