"""Rule script. Stage `merge`: of the shards of a per-image stage, its index."""

from wsss.engine.entry import start
from wsss.stages import merge

if __name__ == "__main__":
    start(merge.run, snakemake)
