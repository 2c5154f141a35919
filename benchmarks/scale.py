"""A manifest of very many rows: written, read, and dealt out to shards, as a million is and ten million would be.

    python benchmarks/scale.py --rows 1000000 --shards 1000 --target 10000000

Rows are as a manifest of one object class in 1,000 has them; files are not made. Reading and sharding go row by row, as `csv`
and `Shard.holds` do them; records are kept in memory, as every stage keeps them. Figures grow linearly with rows.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow" / "scripts")]
from _timing import measured  # noqa: E402
from wsss.data.manifest import COLUMNS, Record  # noqa: E402
from wsss.digest import stable_hash  # noqa: E402


def write(path: Path, rows: int) -> int:
    """Write the table; its bytes."""
    with open(path, "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(COLUMNS)
        for i in range(rows):
            name = f"{i:09d}"
            table.writerow([name, "trainaug", f"photos/{name[:6]}/{name}.jpg", f"class{i % 1000:03d}", "", "", ""])
    return path.stat().st_size


def load(path: Path) -> list[Record]:
    with open(path, newline="") as handle:
        return [
            Record(row["id"], tuple(row["split"].split(";")), (int(row["labels"][5:]),), "/data", (row["image"], "", "", ""))
            for row in csv.DictReader(handle)
        ]


def loaded(path: Path) -> int:
    return len(load(path))


def dealt(path: Path, shards: int) -> tuple[int, int]:
    """Rows of the smallest and of the largest shard."""
    with open(path, newline="") as handle:
        sizes = Counter(stable_hash(row["id"]) % shards for row in csv.DictReader(handle))
    return min(sizes.values()), max(sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--target", type=int, default=10_000_000, help="rows that the figures are scaled to")
    args = parser.parse_args()
    factor = args.target / args.rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifest.csv")
        start = time.process_time()
        size = write(path, args.rows)
        took: dict[str, list[float]] = {"written": [time.process_time() - start, 0.0]}
        count, *took["loaded as records"] = measured(loaded, path)
        (least, most), *took["dealt to shards"] = measured(dealt, path, args.shards)
    assert count == args.rows
    print(f"{args.rows} rows, {size / 1e6:.0f} MB; {args.shards} shards of {least} to {most} rows")
    for name, (seconds, mb) in took.items():
        print(f"    {name}: {seconds:.2f} CPU s, {mb:.0f} MB; {args.target} rows: {seconds * factor:.0f} s, {mb * factor / 1000:.1f} GB")


if __name__ == "__main__":
    main()
