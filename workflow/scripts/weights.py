"""Rule script. Stage `weights`: ImageNet weights of a backbone, downloaded or local, checked and converted."""

from wsss.engine.entry import start
from wsss.stages import weights

if __name__ == "__main__":
    start(weights.run, snakemake)
