"""Rule script. Stage `merge`: of the shards of a per-image stage, its index."""

from wsss.stages import merge
from wsss.stages.task import start

if __name__ == "__main__":
    start(merge.run, snakemake)
