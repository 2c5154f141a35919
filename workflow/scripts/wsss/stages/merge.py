"""Stage `merge`: of the shards of a per-image stage, the index that one job for all images would have written."""

from wsss.engine.atomic import drop_temporaries, read_json
from wsss.engine.index import merge_shards
from wsss.engine.shards import drop_leftovers, index_paths
from wsss.engine.task import Task

FACTS = ("device", "images", "peak_memory_mb", "wall_seconds")


def run(task: Task) -> None:
    """Write index.json, and a run record that says how each shard was run."""
    total = task.params["shards"]
    paths = index_paths(task.folder, total)
    images = merge_shards(paths, task.folder)
    drop_leftovers(task.folder, total)
    drop_temporaries(task.folder)
    records = {path.stem: read_json(path.with_suffix(".run.json")) for path in paths}
    shards = {name: {fact: record[fact] for fact in FACTS} for name, record in records.items()}
    known = [record["classes"] for record in records.values() if "classes" in record]
    task.write_record(images=images, shards=shards, **({"classes": known[0]} if known else {}))
