"""Rule script. Stage `merge`: of the shards of a per-image stage, its index."""

from wsss.engine.entry import start

if __name__ == "__main__":
    start("merge", snakemake)
