"""Rule script. Stage `affinity`: train IRN on IR labels; its boundary map says where the random walk may not pass."""

from wsss.stages import affinity
from wsss.stages.task import start

if __name__ == "__main__":
    start(affinity.run, snakemake)
