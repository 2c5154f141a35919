"""Rule script. Stage `affinity`: train IRN on IR labels; its boundary map says where the random walk may not pass."""

from wsss.engine.entry import start
from wsss.stages import affinity

if __name__ == "__main__":
    start(affinity.run, snakemake)
